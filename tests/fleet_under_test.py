"""A service in front of fake model servers, and what a client of each dialect sees of an answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from orchestrator.domain.breaker import Breaker
from orchestrator.ports.record import RequestRecord
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.testing.model_server import ModelServer
from service import RunningService, merged, running_service

PLANES = ("protocol", "asgi")
LIMIT = 20.0  # seconds after which a test that waits has failed
# Faults must show in tests within moments; nothing here changes what is decided, only how long it takes.
IMPATIENT: dict[str, Any] = {
    "gateway": {"timeout": 20, "first_byte_timeout": 10, "connect_timeout": 2, "policy": "round_robin"},
    "retry": {"backoff_base": 0.02, "backoff_max": 0.1},
    "server": {"grace": 1},
}


@dataclass(frozen=True)
class Form:
    """One inference endpoint as a client of its dialect knows it."""

    name: str
    path: str
    prompt: str  # the field that carries the text
    extra: Mapping[str, Any] = field(default_factory=dict)

    def body(self, text: str = "one two three four", *, stream: bool, **more: Any) -> dict[str, Any]:
        content: Any = [{"role": "user", "content": text}] if self.prompt == "messages" else text
        return {"model": "demo", self.prompt: content, "stream": stream, **self.extra, **more}

    def text(self, answer: Mapping[str, Any]) -> str:
        """The text of a whole answer."""
        if self.name == "openai":
            return str(answer["choices"][0]["message"]["content"])
        if self.name == "anthropic":
            return "".join(block.get("text", "") for block in answer["content"])
        return str(answer["message"]["content"])

    def error(self, answer: Mapping[str, Any]) -> str:
        """The message of an error body; fails when the body has not this dialect's form."""
        if self.name == "openai":
            outlook = {"queuePosition", "expectedWaitMs"}  # of who waited
            assert set(answer["error"]) - outlook == {"message", "type", "param", "code"}, answer
            return str(answer["error"]["message"])
        if self.name == "anthropic":
            assert answer["type"] == "error", answer
            assert set(answer["error"]) == {"type", "message"}, answer
            return str(answer["error"]["message"])
        assert isinstance(answer["error"], str), answer
        return str(answer["error"])


OPENAI = Form("openai", "/v1/chat/completions", "messages")
ANTHROPIC = Form("anthropic", "/v1/messages", "messages", {"max_tokens": 1000})
OLLAMA = Form("ollama", "/api/chat", "messages")
FORMS = (OPENAI, ANTHROPIC, OLLAMA)


@dataclass
class Seen:
    """What a client reads out of a stream."""

    text: str = ""
    errors: list[str] = field(default_factory=list)
    ended: int = 0  # how often the dialect's own end came
    after_error: int = 0  # events behind the first error

    @property
    def broken(self) -> bool:
        """One explicit error, nothing behind it, and no end that looks like a good one."""
        return len(self.errors) == 1 and not self.ended and not self.after_error


def read_stream(form: Form, body: bytes) -> Seen:
    """Reads a stream as a strict client does: a half-written event is an assertion error."""
    seen = Seen()
    boundary = b"\n" if form is OLLAMA else b"\n\n"
    assert not body or body.endswith(boundary), f"the stream ends within an event: {body[-200:]!r}"
    for event in body.split(boundary):
        if event.strip():
            _read_event(form, event, seen)
    return seen


def _read_event(form: Form, event: bytes, seen: Seen) -> None:
    data = event
    if form is not OLLAMA:
        data = b"".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
    seen.after_error += bool(seen.errors)
    if data == b"[DONE]":
        seen.ended += 1
        return
    value = json.loads(data)
    if value.get("error"):
        seen.errors.append(form.error(value))
        return
    if form is OPENAI:
        seen.text += "".join(choice["delta"].get("content") or "" for choice in value["choices"])
    elif form is ANTHROPIC:
        seen.text += value.get("delta", {}).get("text", "") if value["type"] == "content_block_delta" else ""
        seen.ended += value["type"] == "message_stop"
    else:
        seen.text += value["message"]["content"]
        seen.ended += bool(value["done"])


@dataclass
class FleetUnderTest:
    """A running service and its nodes by id."""

    running: RunningService
    nodes: dict[str, Any]  # of ModelServer, or ScriptedNode
    client: httpx2.AsyncClient

    @property
    def gateway(self) -> Gateway:
        return self.running.service.gateway

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.running.url.removeprefix("http://").partition(":")
        return host, int(port)

    @property
    def last(self) -> RequestRecord:
        """The request that ended last."""
        return self.gateway.history[-1]

    @property
    def in_flight(self) -> int:
        return sum(node.state.in_flight for node in self.running.service.fleet.nodes.values())

    def node(self, node_id: str) -> FleetNode:
        return self.running.service.fleet.nodes[node_id]

    def inference(self, node_id: str) -> list[str]:
        """The paths of the inference requests that a node received."""
        return [one.path for one in self.received(node_id)]

    def received(self, node_id: str) -> list[Any]:
        """The inference requests that a node received; probes come at any time."""
        all_requests = self.nodes[node_id].requests
        return [one for one in all_requests if one.method == "POST" and one.path != "/api/show"]

    async def post(self, form: Form, *, query: str = "", headers: Any = None, **body: Any) -> Any:
        return await self.client.post(
            form.path + query, json=form.body(**{"stream": False, **body}), headers=headers or {}
        )

    async def stream(self, form: Form, *, headers: Mapping[str, str] | None = None, **body: Any) -> Seen:
        answer = await self.client.post(form.path, json=form.body(stream=True, **body), headers=dict(headers or {}))
        assert answer.status_code == 200, answer.text
        return read_stream(form, answer.content)

    def breaker(self, node_id: str, model: str = "demo:latest") -> Breaker:
        """The breaker of a model on a node."""
        found = self.running.service.fleet.breaker(node_id, model)
        assert found is not None, f"{node_id} has had no traffic for {model}: {list(self.node(node_id).pairs)}"
        return found

    async def settled(self, timeout: float = 5.0) -> None:
        """Nothing is under way any more: no slot taken, nobody waiting, no principal counted."""

        def idle() -> bool:
            gateway = self.gateway
            return not self.in_flight and not gateway.active and not len(gateway.queue)

        await self.running.until(idle, timeout)
        assert all(not node.state.in_flight_by_model for node in self.running.service.fleet.nodes.values())
        assert self.gateway.concurrency.running("anonymous") == 0


@asynccontextmanager
async def fleet(
    tmp_path: Path,
    nodes: Mapping[str, Any] | Sequence[str] = ("a", "b"),
    *,
    plane: str = "protocol",
    config: Mapping[str, Any] | None = None,
    kinds: Mapping[str, str] | None = None,
    max_concurrency: int = 64,
) -> AsyncIterator[FleetUnderTest]:
    """Starts the nodes (fake servers that speak every dialect, unless given) and a service that knows them all."""
    servers = dict(nodes) if isinstance(nodes, Mapping) else {name: ModelServer() for name in nodes}
    async with contextlib.AsyncExitStack() as stack:
        for server in servers.values():
            await stack.enter_async_context(server)
        entries = [
            {
                "id": name,
                "url": server.url,
                "kind": (kinds or {}).get(name, "demo"),
                "max_concurrency": max_concurrency,
            }
            for name, server in servers.items()
        ]
        whole = merged(IMPATIENT, {"nodes": entries, "server": {"data_plane": plane}}, config or {})
        running = await stack.enter_async_context(running_service(whole, tmp_path))
        client = await stack.enter_async_context(
            httpx2.AsyncClient(
                base_url=running.url, timeout=LIMIT, limits=httpx2.Limits(max_connections=None), trust_env=False
            )
        )
        await running.healthy(len(servers))
        yield FleetUnderTest(running, servers, client)


class Wire:
    """A client that says exactly what it is told to, byte by byte, and sees how its connection ended."""

    def __init__(self, address: tuple[str, int], *, receive_buffer: int = 0) -> None:
        self._address = address
        self.socket = socket.socket()
        self.socket.setblocking(False)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.buffer = b""

    async def __aenter__(self) -> Wire:
        await asyncio.get_running_loop().sock_connect(self.socket, self._address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.socket.close()

    async def send(self, data: bytes) -> None:
        async with asyncio.timeout(LIMIT):
            await asyncio.get_running_loop().sock_sendall(self.socket, data)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    async def more(self, timeout: float = LIMIT) -> bool:
        """Reads some more; False at the end of the connection."""
        async with asyncio.timeout(timeout):
            data = await asyncio.get_running_loop().sock_recv(self.socket, 1 << 18)
        self.buffer += data
        return bool(data)

    async def until(self, mark: bytes, timeout: float = LIMIT) -> bytes:
        """Everything up to and with `mark`; what is behind it stays."""
        while mark not in self.buffer:
            assert await self.more(timeout), f"the connection ended before {mark!r}: {self.buffer[-500:]!r}"
        got, _, self.buffer = self.buffer.partition(mark)
        return got + mark

    async def to_end(self, timeout: float = LIMIT) -> bytes:
        """Everything up to the end of the connection, however it ends."""
        with contextlib.suppress(ConnectionResetError):
            while await self.more(timeout):
                continue
        return self.buffer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer, by its own framing."""
        first, *lines = (await self.until(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            assert name.lower() not in headers, f"repeated header in {lines}"
            headers[name.lower()] = value.strip()
        assert ("content-length" in headers) != ("transfer-encoding" in headers), lines
        if "content-length" in headers:
            size = int(headers["content-length"])
            while len(self.buffer) < size:
                assert await self.more()
            body, self.buffer = self.buffer[:size], self.buffer[size:]
            return int(first.split()[1]), headers, body
        body = b""
        while size := int(await self.until(b"\r\n"), 16):
            while len(self.buffer) < size + 2:
                assert await self.more()
            body, self.buffer = body + self.buffer[:size], self.buffer[size + 2 :]
        await self.until(b"\r\n")
        return int(first.split()[1]), headers, body


def request(path: str, body: Any, *headers: str, method: str = "POST", host: str = "localhost") -> bytes:
    """A whole request as bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(data)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data
