"""Options that many commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter, Token

from orchestrator.settings.section import seconds

API_KEY_VARIABLE = "ORCHESTRATOR_API_KEY"
URL_VARIABLE = "ORCHESTRATOR_URL"
DEFAULT_URL = "http://127.0.0.1:9000"


def duration(kind: Any, tokens: Sequence[Token]) -> float:
    """`30s`, `10m`, `1h30m`, `250ms` or a number of seconds, in seconds. Raises ValueError."""
    value = seconds(tokens[0].value)
    if not isinstance(value, float) or value <= 0:
        raise ValueError(f"'{tokens[0].value}' is not a time above 0")
    return value


Seconds = Annotated[float, Parameter(converter=duration, metavar="TIME")]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], negative=(), show_default=False)]

_COMMON = Group("Common options", sort_key=100)


@Parameter(name="*", group=_COMMON)
@dataclass(frozen=True, slots=True)
class Format:
    """How a command prints."""

    json: Flag = False
    """Print JSON on standard output, errors too."""


@Parameter(name="*", group=_COMMON)
@dataclass(frozen=True, slots=True)
class Remote:
    """Which service a command talks to, and how it prints."""

    json: Flag = False
    """Print JSON on standard output, errors too."""

    url: Annotated[str, Parameter(env_var=URL_VARIABLE)] = DEFAULT_URL
    """The service's URL."""

    api_key_file: Path | None = None
    """File with the API key; otherwise the key is taken from $ORCHESTRATOR_API_KEY."""

    timeout: Seconds = 10.0
    """How long to wait for the service, in seconds or as in 500ms."""


# The defaults of parameters: one value each, made once.
PLAIN = Format()
HERE = Remote()
