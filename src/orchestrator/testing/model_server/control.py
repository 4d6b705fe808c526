"""The control plane under `/_control`, for whoever drives the server from another process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from orchestrator.domain.errors import InvalidRequest, NotFound, OrchestratorError
from orchestrator.testing.model_server import wire
from orchestrator.testing.model_server.behaviour import Mode, Rule
from orchestrator.testing.model_server.model import Model
from orchestrator.testing.model_server.plan import JSON
from orchestrator.testing.model_server.request import Request
from orchestrator.testing.model_server.service import Service
from orchestrator.testing.model_server.settings import Settings

SHOWN = 100
_SELECTORS = ("path", "model", "routes", "times")


class Control:
    """Routes that look at the server and change it. Errors are `{"error": text}` with 400 or 404."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._first_models = tuple(service.catalogue)
        self._first_settings = msgspec.structs.asdict(service.settings)
        self._routes: dict[tuple[str, str], Callable[[Any], Any]] = {
            ("GET", "/_control"): lambda _: self.state(),
            ("GET", "/_control/state"): lambda _: self.state(),
            ("GET", "/_control/mode"): lambda _: self._rules(),
            ("POST", "/_control/mode"): self._add_mode,
            ("DELETE", "/_control/mode"): self._clear_modes,
            ("POST", "/_control/release"): lambda _: {"released": service.release()},
            ("POST", "/_control/reset"): self._reset,
            ("GET", "/_control/models"): lambda _: {"models": service.catalogue.names},
            ("POST", "/_control/models"): self._set_models,
            ("GET", "/_control/settings"): lambda _: self._public_settings(),
            ("POST", "/_control/settings"): self._set_settings,
        }

    def answer(self, request: Request) -> bytes:
        """The whole answer to a request of the control plane."""
        try:
            handle = self._routes.get((request.method, request.path.rstrip("/")))
            if handle is None:
                raise NotFound(f"no {request.method} {request.path}; there are {self._known()}")
            body = msgspec.json.decode(request.body) if request.body else {}
            status, answer = 200, handle(body)
        except OrchestratorError as error:
            status, answer = error.status, {"error": error.message}
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            status, answer = 400, {"error": str(error)}
        data = msgspec.json.encode(answer)
        return wire.head(status, JSON, length=len(data), close=not request.keep_alive) + data

    def state(self) -> dict[str, Any]:
        """Counters, faults, models in memory and the last 100 requests."""
        service, state, memory = self._service, self._service.state, self._service.memory
        return {
            "total": state.total,
            "in_flight": state.in_flight,
            "peak_in_flight": state.peak_in_flight,
            "hanging": service.hanging,
            "disconnects": state.disconnects,
            "connections": state.connections,
            "by_path": dict(state.by_path),
            "by_model": dict(state.by_model),
            "by_status": {str(status): count for status, count in state.by_status.items()},
            "loads": memory.loads,
            "evictions": memory.evictions,
            "loaded": [resident.model.tagged for resident in memory.resident],
            "models": service.catalogue.names,
            "modes": self._rules()["modes"],
            "requests": [record.summary() for record in list(state.received)[-SHOWN:]],
        }

    def reset(self) -> None:
        """As it was at the start; requests that hang go on."""
        service = self._service
        service.behaviour.clear()
        service.catalogue.replace(self._first_models)
        service.catalogue.blobs.clear()
        for name, value in self._first_settings.items():
            setattr(service.settings, name, value)
        service.memory.clear()
        service.memory.loads = service.memory.evictions = 0
        service.release()
        service.state.forget()

    def _known(self) -> str:
        return ", ".join(f"{method} {path}" for method, path in self._routes)

    def _rules(self) -> dict[str, Any]:
        rules = [msgspec.to_builtins(rule) for rule in self._service.behaviour]
        return {"modes": [{**rule.pop("mode"), **rule} for rule in rules]}

    def _add_mode(self, body: Any) -> Any:
        if not isinstance(body, dict):
            raise InvalidRequest("a mode is an object")
        given = {("kind" if name == "mode" else name): value for name, value in body.items()}
        selectors = {name: given.pop(name) for name in _SELECTORS if name in given}
        mode = msgspec.convert(given, Mode)
        self._service.behaviour.add(msgspec.convert({**selectors, "mode": mode}, Rule))
        return self._rules()

    def _clear_modes(self, _body: Any) -> Any:
        self._service.behaviour.clear()
        return self._rules()

    def _reset(self, _body: Any) -> Any:
        self.reset()
        return {"reset": True}

    def _set_models(self, body: Any) -> Any:
        given = body.get("models") if isinstance(body, dict) else None
        if not isinstance(given, list):
            raise InvalidRequest('give {"models": [name or {"name", "size", ...}, ...]}')
        self._service.catalogue.replace([msgspec.convert(item, Model | str) for item in given])
        return {"models": self._service.catalogue.names}

    def _public_settings(self) -> dict[str, Any]:
        """All settings but the key."""
        return {
            name: value for name, value in msgspec.to_builtins(self._service.settings).items() if name != "required_key"
        }

    def _set_settings(self, body: Any) -> Any:
        merged = {**msgspec.to_builtins(self._service.settings), **(body if isinstance(body, dict) else {})}
        for name, value in msgspec.structs.asdict(msgspec.convert(merged, Settings)).items():
            setattr(self._service.settings, name, value)
        return self._public_settings()
