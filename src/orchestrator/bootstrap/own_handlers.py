"""Puts together what runs the task types of the service itself."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.adapters.callables import CallProcesses
from orchestrator.bootstrap import values
from orchestrator.domain.worker import LOST
from orchestrator.ports.upstream import Upstream
from orchestrator.services.egress import Egress
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.keys import Keyring
from orchestrator.services.tasks.local import Handler
from orchestrator.services.tasks.local_functions import Function
from orchestrator.services.tasks.local_http import TYPE, HttpRequests
from orchestrator.services.tasks.local_inference import TYPES, Inference
from orchestrator.services.tasks.local_tool import TYPE as TOOL
from orchestrator.services.tasks.local_tool import ToolTasks
from orchestrator.services.tool_calls import Calls
from orchestrator.services.workers import Workers
from orchestrator.settings import Settings


class OwnHandlers:
    """The handlers, and what of them follows the settings."""

    def __init__(
        self, settings: Settings, gateway: Gateway, keyring: Keyring, upstream: Upstream, workers: Workers
    ) -> None:
        def taken(task_type: str) -> bool:
            return any(one.takes(task_type) and one.status not in LOST for one in workers.all().values())

        self._inference = Inference(gateway, keyring.known)
        self._egress = Egress(upstream, values.http_hosts(settings), "tasks.http_hosts")
        self._http = HttpRequests(self._egress, taken)
        self.processes = CallProcesses()
        self.by_type: dict[str, Handler] = dict.fromkeys(TYPES, self._inference)
        self.by_type[TYPE] = self._http
        for task_type, function in settings.tasks.handlers.items():
            self.by_type[task_type] = Function(self.processes, function)
        self(settings)

    def add_tools(self, calls: Calls, keyring: Keyring, stopping: Callable[[], bool]) -> None:
        """Before the first task: tasks may call tools. `stopping` tells whether the service is leaving."""
        self.by_type[TOOL] = ToolTasks(calls, keyring.known, stopping)

    def __call__(self, settings: Settings) -> None:
        """Settings that may change are in force from now on."""
        self._inference.model = settings.tasks.model
        self._egress.hosts = values.http_hosts(settings)
