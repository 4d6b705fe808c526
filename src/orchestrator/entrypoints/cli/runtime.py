"""What the commands are given by whoever knows the whole service."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from cyclopts import App, Parameter

from orchestrator.settings import Loaded, Settings

if TYPE_CHECKING:  # a tenth of a second for every command otherwise
    from orchestrator.services.fleet.fleet import Fleet


class RunningService(Protocol):
    """`bootstrap.Service`, as far as the greeting needs it."""

    @property
    def settings(self) -> Settings: ...

    fleet: Fleet


Started = Callable[[RunningService, int], None]
Told = Callable[[str], None]
Serve = Callable[[Loaded, Started, Told | None], None]
LookAtStorage = Callable[[Settings], str]
SchemaWork = Callable[[Settings, str, str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Runtime:
    """`serve(loaded, started, told)` runs the service until it is told to stop and calls `started(service, port)` when
    it listens; with `told` a process that dies is followed by another, and `told(sentence)` hears of it;
    `look_at_storage(settings)` says in what state the database is, and changes nothing;
    `schema(settings, action, revision)` is `orchestrator.database.work`. All raise ConfigurationError and
    StorageUnavailable. `app` is the command line itself."""

    serve: Serve
    look_at_storage: LookAtStorage
    schema: SchemaWork
    app: App


# A parameter of this type is filled in by `application.main`, not from the command line.
Given = Annotated[Runtime, Parameter(parse=False)]
