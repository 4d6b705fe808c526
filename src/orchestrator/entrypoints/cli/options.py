"""Options that many commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

API_KEY_VARIABLE = "ORCHESTRATOR_API_KEY"
URL_VARIABLE = "ORCHESTRATOR_URL"
DEFAULT_URL = "http://127.0.0.1:9000"

_COMMON = Group("Common options", sort_key=100)


@Parameter(name="*", group=_COMMON)
@dataclass(frozen=True, slots=True)
class Format:
    """How a command prints."""

    json: Annotated[bool, Parameter(negative=())] = False
    """Print JSON on standard output, errors too."""


@Parameter(name="*", group=_COMMON)
@dataclass(frozen=True, slots=True)
class Remote:
    """Which service a command talks to, and how it prints."""

    json: Annotated[bool, Parameter(negative=())] = False
    """Print JSON on standard output, errors too."""

    url: Annotated[str, Parameter(env_var=URL_VARIABLE)] = DEFAULT_URL
    """The service's URL."""

    api_key_file: Path | None = None
    """File with the API key; otherwise the key is taken from $ORCHESTRATOR_API_KEY."""

    timeout: float = 10.0
    """How long to wait for the service, in seconds."""


# The defaults of parameters: one value each, made once.
PLAIN = Format()
HERE = Remote()
