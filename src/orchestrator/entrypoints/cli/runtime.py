"""What the commands are given by whoever knows the whole service."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

from cyclopts import Parameter

from orchestrator.services.fleet.fleet import Fleet
from orchestrator.settings import Loaded, Settings


class RunningService(Protocol):
    """`bootstrap.Service`, as far as the greeting needs it."""

    @property
    def settings(self) -> Settings: ...

    fleet: Fleet


Started = Callable[[RunningService, int], None]


@dataclass(frozen=True, slots=True)
class Runtime:
    """`serve(loaded, started)` runs the service until it is told to stop and calls `started(service, port)` when it
    listens; `check_storage(settings)` opens the database once. Both raise ConfigurationError and StorageUnavailable."""

    serve: Callable[[Loaded, Started], None]
    check_storage: Callable[[Settings], None]


# A parameter of this type is filled in by `application.main`, not from the command line.
Given = Annotated[Runtime, Parameter(parse=False)]
