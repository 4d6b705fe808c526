"""Logs of the process: everything that Python's `logging` hears, as structured entries.

The rest of the code logs with `logging.getLogger("orchestrator...")`: the message is the name of the event, `extra` its
fields. Each entry is cleared of secrets, kept in a ring for the API, and written as a line for people or as JSON.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from orchestrator.adapters.logging.output import LogFile, Output, Stream
from orchestrator.adapters.logging.redact import Redactor
from orchestrator.adapters.logging.ring import Ring
from orchestrator.adapters.logging.writer import Writer

# Whose entries of a lower level than warning are of use to an operator. SQL statements, for one, are not.
TALKATIVE = ("orchestrator",)
Entry = dict[str, Any]


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def set_level(level: str) -> None:
    """debug, info, warning or error; from now on. Libraries are only heard from warning up."""
    number = logging.getLevelNamesMapping()[level.upper()]
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(number)
    logging.getLogger().setLevel(max(number, logging.WARNING))


class Logs(logging.Handler):
    """Configures `logging` for as long as it is open."""

    def __init__(
        self,
        *,
        level: str,
        json: bool,
        keep: int,
        file: Path | None = None,
        stderr: int = 2,
        colors: bool = False,
    ) -> None:
        """`keep`: entries held in memory. The file, besides `stderr`, always gets JSON. Raises ConfigurationError."""
        super().__init__()
        self.redactor = Redactor()
        self.entries = Ring(keep)
        self._stream: Output = Stream(stderr)
        self._file: Output | None = LogFile(file) if file is not None else None
        self._json = json
        self._as_json = structlog.processors.JSONRenderer(default=repr)
        self._for_people = structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
        self._chain = (
            structlog.stdlib.ExtraAdder(),
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.format_exc_info,
        )
        self.writer = Writer(self._lost)
        self._before = {name: logging.getLogger(name).level for name in ("", *TALKATIVE)}
        set_level(level)
        logging.getLogger().addHandler(self)

    @property
    def request_outputs(self) -> Sequence[Output]:
        """Where lines of requests go: the file, without one standard error."""
        return (self._file or self._stream,)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            entry = self._entry(record)
            self.entries.add(record.created, entry)
            line = self._line(entry) if self._json else self._readable(entry)
            self.writer.put(lambda: line, (self._stream,))
            if self._file is not None:
                json_line = line if self._json else self._line(entry)
                self.writer.put(lambda: json_line, (self._file,))
        except Exception:  # noqa: BLE001 - the contract of a Handler: a log call never fails
            self.handleError(record)

    def close(self) -> None:
        """Writes what waits and gives `logging` back as it was."""
        logging.getLogger().removeHandler(self)
        for name, level in self._before.items():
            logging.getLogger(name).setLevel(level)
        self.writer.close()
        if self._file is not None:
            self._file.close()
        super().close()

    def _entry(self, record: logging.LogRecord) -> Entry:
        found: structlog.typing.EventDict = {"event": record.getMessage(), "_record": record}
        if record.exc_info:
            found["exc_info"] = record.exc_info
        logger, method = logging.getLogger(record.name), record.levelname.lower()
        for processor in self._chain:
            found = processor(logger, method, found)
        for name in ("_record", "message", "asctime"):  # the last two are what another handler's formatter left
            found.pop(name, None)
        known = {name: found.pop(name) for name in ("level", "logger", "event")}
        return {"timestamp": timestamp(record.created), **self.redactor.fields({**known, **found})}

    def _line(self, entry: Entry) -> bytes:
        return str(self._as_json(None, "", dict(entry))).encode() + b"\n"

    def _readable(self, entry: Entry) -> bytes:
        """Control characters are escaped, so that what a client sent can neither forge a line nor steer a terminal."""
        shown = {name: _printable(value) if isinstance(value, str) else value for name, value in entry.items()}
        if "exception" in shown:
            shown["exception"] = "\n".join(map(_printable, str(entry["exception"]).split("\n")))
        return str(self._for_people(None, "", shown)).encode("utf-8", "backslashreplace") + b"\n"

    def _lost(self, count: int) -> bytes:
        now = datetime.now(UTC).timestamp()
        entry = {"timestamp": timestamp(now), "level": "warning", "logger": "orchestrator.logging"}
        return self._line({**entry, "event": "log_lines_lost", "count": count})


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
