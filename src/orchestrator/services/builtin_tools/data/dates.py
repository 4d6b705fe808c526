"""Dates in tables: texts in ISO 8601, and a few other forms that are read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

_FORMS = ("%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%Y%m%d", "%Y/%m/%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S")
_PARTS: dict[str, Callable[[datetime], str]] = {
    "Y": lambda at: f"{at.year:04}",
    "y": lambda at: f"{at.year % 100:02}",
    "m": lambda at: f"{at.month:02}",
    "d": lambda at: f"{at.day:02}",
    "H": lambda at: f"{at.hour:02}",
    "M": lambda at: f"{at.minute:02}",
    "S": lambda at: f"{at.second:02}",
    "f": lambda at: f"{at.microsecond:06}",
    "j": lambda at: f"{at.timetuple().tm_yday:03}",
    "u": lambda at: str(at.isoweekday()),
    "V": lambda at: f"{at.isocalendar().week:02}",
    "G": lambda at: f"{at.isocalendar().year:04}",
    "F": lambda at: f"{at.date()}",
    "T": lambda at: f"{at.time():%H:%M:%S}",
    "q": lambda at: str((at.month + 2) // 3),
    "%": lambda at: "%",
}


def read_moment(text: str) -> datetime:
    """Raises ValueError."""
    text = text.strip()
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    for form in _FORMS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    raise ValueError(f"{text[:100]!r} is not a date")


def iso(moment: datetime) -> str:
    return moment.isoformat()


def iso_day(moment: datetime) -> str:
    return date(moment.year, moment.month, moment.day).isoformat()


def formatted(value: Any, form: Any) -> str | None:
    """`DATE_FORMAT(value, '%Y-%m')`: the parts Y y m d H M S f j u V G F T q, and %%. Null stays null."""
    if value is None:
        return None
    if not isinstance(value, str) or not isinstance(form, str):
        raise TypeError("DATE_FORMAT takes a date and a form, as texts")
    moment, parts, done = read_moment(value), iter(form), ""
    for letter in parts:
        if letter != "%":
            done += letter
            continue
        part = next(parts, "")
        if part not in _PARTS:
            raise ValueError(f"DATE_FORMAT does not know %{part}")
        done += _PARTS[part](moment)
    return done


# What expressions over rows may call beside the language's own functions.
FUNCTIONS: dict[str, Callable[..., Any]] = {"DATE_FORMAT": formatted, "date_format": formatted}
