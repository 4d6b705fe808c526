"""Takes secrets out of what is logged: those that we were given, and whatever looks like one."""

from __future__ import annotations

import re
from math import isfinite
from typing import Any

MASK = "***"
LONGEST = 16_384  # characters of one text; the rest is cut off, which also bounds the time spent here
_SHORTEST = 6  # shorter secrets would mask ordinary words; the patterns still catch them where they are named

# Fields whose value is a secret whatever it looks like.
_NAMED = re.compile(
    r"(?:.*[_-])?(?:authorization|api[_-]?key|password|passwd|secret|token|cookie|credentials?)\Z", re.IGNORECASE
)
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # scheme://user:password@host
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,15}://[^\s/:@'\"]*):[^\s/'\"]*@"), rf"\1:{MASK}@"),
    (
        re.compile(r"((?:proxy-)?authorization\\?[\"']?\s*[:=]\s*\\?[b\"']{0,2})[^\"'\r\n]+", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    (re.compile(r"\b(bearer)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), rf"\1 {MASK}"),
    # api_key=..., "password": "...", ?apiKey=...
    (
        re.compile(
            r"(?<![A-Za-z])((?:api[_-]?key|access[_-]?token|refresh[_-]?token|client[_-]?secret|token|secret|password"
            r"|passwd|cookie)\\?[\"']?\s*[:=]\s*\\?[b\"']{0,2})[^\s\"'\\,;&)}\]]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    # Keys of ours keep the part that may be shown.
    (re.compile(r"\b(orc_[A-Za-z0-9]{8}_)[A-Za-z0-9_-]{8,}"), rf"\1{MASK}"),
    (re.compile(r"\b((?:sk|pk|rk|hf|gsk|xai|ghp|gho|ghs|glpat|nvapi|r8)[-_])[A-Za-z0-9_-]{10,}"), rf"\1{MASK}"),
    (re.compile(r"\bAKIA[A-Z0-9]{12,}"), MASK),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), MASK),  # a JSON web token
)


class Redactor:
    """Masks secrets in text and in fields."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._known: re.Pattern[str] | None = None

    def hide(self, secret: str | None) -> str | None:
        """From now on this text never appears. Returns it."""
        if secret is not None and len(secret) >= _SHORTEST and secret not in self._secrets:
            self._secrets.add(secret)
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._known = re.compile("|".join(re.escape(one) for one in longest_first))
        return secret

    def text(self, text: str) -> str:
        if len(text) > LONGEST:
            text = text[:LONGEST] + "..."
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A copy without secrets; what is neither plain data nor text becomes text."""
        return {name: self._value(value, bool(_NAMED.match(name))) for name, value in fields.items()}

    def _value(self, value: Any, secret: bool = False) -> Any:
        if isinstance(value, bool | int | float) or value is None:
            return value if not isinstance(value, float) or isfinite(value) else str(value)  # JSON has no other
        if secret:
            return MASK
        if isinstance(value, dict):
            return self.fields({str(name): inner for name, inner in value.items()})
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value(inner) for inner in value]
        return self.text(str(value))
