"""A request on its way through a dialect, and what a dialect is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from orchestrator.domain.errors import InvalidRequest
from orchestrator.testing.model_server.answer import Style
from orchestrator.testing.model_server.behaviour import Family
from orchestrator.testing.model_server.catalogue import Catalogue
from orchestrator.testing.model_server.memory import KEEP_ALIVE, Memory
from orchestrator.testing.model_server.plan import Plan
from orchestrator.testing.model_server.request import Request
from orchestrator.testing.model_server.settings import Settings

_LARGEST = 1_000_000


@dataclass(slots=True)
class Exchange:
    """All that a handler needs to answer one request. `load_seconds` is what loading the model took just now."""

    request: Request
    number: int
    body: dict[str, Any]
    model: str
    style: Style
    settings: Settings
    catalogue: Catalogue
    memory: Memory
    now: datetime
    load_seconds: float = 0.0

    @property
    def created(self) -> int:
        """Unix time in seconds."""
        return int(self.now.timestamp())

    @property
    def stamp(self) -> str:
        """RFC 3339 time in UTC."""
        return self.now.astimezone(UTC).isoformat().replace("+00:00", "Z")

    def text(self, name: str, default: str | None = None) -> str:
        """A string of the body; without `default` it must be there."""
        value = self.body.get(name, default)
        if not isinstance(value, str):
            raise InvalidRequest(f"'{name}' must be a string" if name in self.body else f"'{name}' is required")
        return value

    def items(self, name: str) -> list[Any]:
        """A list of the body that must be there and not be empty."""
        value = self.body.get(name)
        if not isinstance(value, list) or not value:
            raise InvalidRequest(f"'{name}' must be a list that is not empty")
        return value

    def whole_number(self, name: str) -> int | None:
        """A positive integer of the body, if it is there."""
        value = self.body.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _LARGEST:
            raise InvalidRequest(f"'{name}' must be an integer from 1 to {_LARGEST}")
        return value


@dataclass(frozen=True, slots=True)
class Residency:
    """Whether the request needs its model in memory and for how long it stays after (seconds; `None` for ever)."""

    load: bool = True
    keep_alive: float | None = KEEP_ALIVE


Handler: TypeAlias = Callable[[Exchange], Plan]


def always_loaded(_request: Request, _body: Mapping[str, Any]) -> Residency:
    """The residency of dialects that cannot say anything about it."""
    return Residency()


@dataclass(frozen=True, slots=True)
class Route:
    """What answers a method and path; a method and path ending in `*` answer everything below.

    `needs_model` routes get 404 in the dialect's form for an unknown model; `loads` ones need it in memory.
    """

    handle: Handler
    family: Family
    needs_model: bool = False
    loads: bool = False


@dataclass(frozen=True, slots=True)
class Dialect:
    """A dialect: its routes and the form of its errors.

    `error` gives the body for a status, message and code (`model_not_found`: the message is the name); `error_frame`
    an error in the middle of a stream; `broken_frame` is a frame of a stream whose JSON is cut off.
    """

    name: str
    routes: Mapping[tuple[str, str], Route]
    error: Callable[[int, str, str | None], bytes]
    error_frame: Callable[[str], bytes]
    broken_frame: bytes
    residency: Callable[[Request, Mapping[str, Any]], Residency] = always_loaded


@dataclass(frozen=True, slots=True)
class Spoken:
    """The text of a message and the tokens of the whole conversation."""

    text: str
    tokens: int
    by_user: bool = True


def image_mark(data: str) -> str:
    """How a base64 image shows in the echo: its size tells that it arrived whole, whatever the dialect."""
    size = len(data.rstrip("=")) * 3 // 4
    return f"[image {size} bytes]"
