"""Tasks that ask a model, through the gateway: its queue, breakers, placement and failover count for them as for every
request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from orchestrator.domain.access import Principal
from orchestrator.domain.dialects import ENDPOINTS, Endpoint
from orchestrator.domain.task.task import MAX_RESULT, Task
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.tasks.local import failure
from orchestrator.services.tasks.report import Report

TYPES = ("inference", "ai_inference")
CHAT = ENDPOINTS["/v1/chat/completions"]
BROKEN_OFF = 502
AGAIN = frozenset({408, 409, 425, 429})  # client errors after which another attempt may do better
_OURS = frozenset({"prompt", "stream", "stream_options"})
_CALLER = "127.0.0.1"  # the service itself


class Inference:
    """`Handler`."""

    def __init__(self, gateway: Gateway, principal: Callable[[str], Principal | None], model: str = "") -> None:
        """`principal` finds who submitted a task by id; `model` is for tasks that name none."""
        self.model = model
        self._gateway = gateway
        self._principal = principal

    def wanted(self, task_type: str, others: bool) -> bool:
        return not others and bool(self._gateway.fleet.nodes)

    @property
    def ready(self) -> bool:
        return True

    async def run(self, task: Task) -> Report:
        principal = self._principal(task.spec.principal)
        if principal is None:
            return failure(f"the key '{task.spec.principal}', which submitted this task, opens nothing now", final=True)
        body = _body(msgspec.json.decode(task.spec.input), self.model)
        if isinstance(body, str):
            return failure(body, final=True)
        status, answer = await self._ask(CHAT, body, {b"x-request-id": f"{task.id}.{task.attempt}".encode()}, principal)
        if status < 300:
            return Report(True, answer)
        return failure(_error(status, answer), final=400 <= status < 500 and status not in AGAIN)

    async def _ask(
        self, endpoint: Endpoint, body: bytes, headers: Mapping[bytes, bytes], principal: Principal
    ) -> tuple[int, bytes]:
        client = Collected()
        exchange = self._gateway.handle(client, endpoint, body, headers, principal, _CALLER)
        try:
            return await client.done
        finally:
            exchange.client_gone()  # does nothing to one that is over


class Collected:
    """`ClientSide` of somebody who wants the answer whole."""

    def __init__(self) -> None:
        self.done: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._status = 0
        self._body = bytearray()

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        self._finish(status, body)

    def begin(self, status: int, headers: bytes) -> None:
        self._status = status

    def relay(self, raw: bytes, body: bytes) -> None:
        self.write(body)

    def write(self, body: bytes) -> None:
        if len(self._body) <= MAX_RESULT:  # more is too large in any case
            self._body += body

    def end(self) -> None:
        self._finish(self._status, bytes(self._body))

    def abort(self) -> None:
        self._finish(BROKEN_OFF, b"")

    def _finish(self, status: int, body: bytes) -> None:
        if not self.done.done():
            self.done.set_result((status, body))


def _body(given: Any, model: str) -> bytes | str:
    """The body of a chat request, or what is wrong with what was given."""
    if not isinstance(given, dict):
        return "input_data: an object with `model` and `messages` or `prompt`"
    body = {name: value for name, value in given.items() if name not in _OURS}
    body.setdefault("model", model)
    if not isinstance(body["model"], str) or not body["model"]:
        return "input_data.model: the name of a model (tasks.model is used where a task names none)"
    if "messages" not in body:
        prompt = given.get("prompt")
        if not isinstance(prompt, str) or not prompt:
            return "input_data: `messages` or `prompt`"
        body["messages"] = [{"role": "user", "content": prompt}]
    return msgspec.json.encode(body)


def _error(status: int, answer: bytes) -> str:
    try:
        told: Any = msgspec.json.decode(answer)
        text = str(told["error"]["message"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        text = "the answer broke off" if status == BROKEN_OFF else answer[:300].decode("utf-8", "replace")
    return f"HTTP {status}: {text}"
