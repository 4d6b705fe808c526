"""Questions about models that nodes answer: what is in memory, what a model is; and changes to their disks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

from orchestrator.domain.errors import (
    InvalidRequest,
    MalformedAnswer,
    NoNode,
    NotFound,
    OrchestratorError,
    UpstreamError,
    UpstreamStatus,
    UpstreamTimeout,
)
from orchestrator.domain.node import Dialect, LoadedModel, ModelEntry, NodeKind
from orchestrator.ports.upstream import FetchResponse, Upstream
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.health import Health
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.fleet.node_stream import NodeStream

SHOW_SECONDS = 10.0
CHANGE_SECONDS = 30.0
ACT_SECONDS = 600.0  # until the head of an answer: without progress lines Ollama sends it when all is done
# Clients check the version to know what they may send; this is the least whose API our /api/* is.
OLLAMA_VERSION = "0.12.6"


def told(answer: FetchResponse) -> str:
    """Why a node refused, in its own words where it has any."""
    try:
        text = json.loads(answer.body)["error"]
    except (ValueError, KeyError, TypeError):
        text = ""
    return f"HTTP {answer.status}: {text}"[:300] if isinstance(text, str) and text else f"HTTP {answer.status}"


class Library:
    """Asks nodes."""

    def __init__(self, fleet: Fleet, health: Health, upstream: Upstream) -> None:
        self._fleet = fleet
        self._health = health
        self._upstream = upstream
        self._places = asyncio.Semaphore(32)

    # What is in memory

    async def loaded(self, timeout: float) -> list[tuple[FleetNode, LoadedModel]]:
        """The models that nodes hold in memory now. Of a node that does not answer within `timeout` seconds, what its
        last probe saw. An embedded engine holds its model as long as it runs."""
        nodes = [node for node in self._fleet.nodes.values() if node.healthy]
        asked = [node for node in nodes if Dialect.OLLAMA in node.dialects]
        tasks = {node.id: asyncio.create_task(self._ps(node, timeout)) for node in asked}
        if tasks:
            await asyncio.wait(tasks.values(), timeout=timeout)
        found: list[tuple[FleetNode, LoadedModel]] = []
        for node in nodes:
            task = tasks.get(node.id)
            if task is not None and not task.done():
                task.cancel()
            rows = task.result() if task is not None and task.done() and not task.cancelled() else None
            found += [(node, one) for one in (rows if rows is not None else _last_seen(node))]
        return found

    async def _ps(self, node: FleetNode, timeout: float) -> list[LoadedModel] | None:
        async with self._places:
            try:
                answer = await self._upstream.fetch(
                    node.target, "GET", "/api/ps", headers=_headers(node), timeout=timeout
                )
                rows = json.loads(answer.body)["models"] if answer.status == 200 else None
            except (OrchestratorError, ValueError, KeyError, TypeError):
                return None
        if not isinstance(rows, list):
            return None
        return [LoadedModel(str(row["name"]), raw=row) for row in rows if isinstance(row, dict) and row.get("name")]

    # What a model is

    async def show(self, model: str, request: dict[str, Any]) -> FetchResponse:
        """The answer of `POST /api/show` from a node that has the model: the first that answers, Ollama first. For a
        model that no Ollama server has, what the other servers say of it. `request` is the client's body; `model` one
        of the catalogue's names.

        Raises ModelNotFound, NoNode, and the error of the last node.
        """
        nodes = [node for node in self._fleet.nodes.values() if node.healthy and self._fleet.name_on(node, model)]
        if not nodes:
            raise NoNode(f"All servers with model '{model}' are unhealthy", details={"model": model})
        asked = [node for node in nodes if Dialect.OLLAMA in node.dialects]
        error: OrchestratorError | None = None
        for node in sorted(asked, key=lambda one: one.state.in_flight):
            body = {key: value for key, value in request.items() if key != "name"}
            body["model"] = self._fleet.name_on(node, model)
            try:
                return await self._upstream.fetch(
                    node.target,
                    "POST",
                    "/api/show",
                    headers={**_headers(node), "Content-Type": "application/json"},
                    body=json.dumps(body).encode(),
                    timeout=SHOW_SECONDS,
                )
            except UpstreamError as failed:
                error = failed
        if error is not None:
            raise error
        entry = self._fleet.catalogue.entry(model, nodes[0].id)
        assert entry is not None  # a node with a name for it has an entry
        return FetchResponse(
            200, {"content-type": "application/json"}, json.dumps(_described(nodes[0], entry)).encode()
        )

    def version(self) -> str:
        """The newest version of the fleet's Ollama servers, and never an older one than `OLLAMA_VERSION`."""
        told = [
            node.report.version
            for node in self._fleet.nodes.values()
            if node.healthy and node.report is not None and node.spec.kind is NodeKind.OLLAMA
        ]
        return max([OLLAMA_VERSION, *told], key=_comparable)

    # What is on a node's disk

    def keeper(self, node_id: str) -> FleetNode:
        """The node on whose disk to act. Raises NotFound, and NoNode for one that is down or has no such thing."""
        node = self._fleet.get(node_id)
        if node is None:
            raise NotFound(f"Server '{node_id}' not found")
        if not node.healthy or Dialect.OLLAMA not in node.dialects:
            reason = "is not an Ollama server" if node.healthy else "is not healthy"
            raise NoNode(f"Server '{node_id}' {reason}", details={"serverId": node_id})
        return node

    async def tags(self, node: FleetNode) -> list[dict[str, Any]]:
        """The rows of a node's `GET /api/tags`, as they are now. Raises UpstreamError."""
        answer = await self._upstream.fetch(
            node.target, "GET", "/api/tags", headers=_headers(node), timeout=SHOW_SECONDS
        )
        try:
            rows = json.loads(answer.body)["models"] if answer.status == 200 else None
        except (ValueError, KeyError, TypeError):
            rows = None
        if not isinstance(rows, list):
            raise MalformedAnswer(f"'{node.id}' answered GET /api/tags with {answer.status}, and with no list.")
        return [row for row in rows if isinstance(row, dict)]

    async def change(self, node: FleetNode, method: str, path: str, body: dict[str, Any]) -> None:
        """A short change of what is on a node's disk; the node is looked at again when it is done. Raises NotFound and
        InvalidRequest with the node's words, and UpstreamError."""
        answer = await self._upstream.fetch(
            node.target,
            method,
            path,
            headers={**_headers(node), "Content-Type": "application/json"},
            body=json.dumps(body).encode(),
            timeout=CHANGE_SECONDS,
        )
        if answer.status >= 300:
            reason = told(answer)
            if answer.status == 404:
                raise NotFound(reason, details={"serverId": node.id})
            if answer.status < 500:
                raise InvalidRequest(reason, details={"serverId": node.id})
            raise UpstreamStatus(f"'{node.id}': {reason}")
        await self._health.check(node)

    async def act(
        self, node: FleetNode, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, str, AsyncIterator[bytes]]:
        """Passes a request on to a node: status, content type, and the body as it comes. The node is looked at again
        when it ends. Raises UpstreamError before the answer begins."""
        if method == "HEAD":
            told = await self._upstream.fetch(
                node.target, method, path, headers={**headers, **_headers(node)}, timeout=SHOW_SECONDS
            )
            return told.status, told.headers.get("content-type", ""), _nothing()
        stream = NodeStream()
        lines = [f"{method} {node.target.base_path}{path} HTTP/1.1", f"Host: {node.target.host_header}"]
        lines += [f"{name}: {value}" for name, value in {**headers, **_headers(node)}.items()]
        lines.append(f"Content-Length: {len(body)}")
        if any(not line.isprintable() for line in lines) or " " in path:
            raise InvalidRequest("A path or header for the node has a character that HTTP does not allow.")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        stream.call = self._upstream.send(node.target, head, body, stream, SHOW_SECONDS)
        try:
            async with asyncio.timeout(ACT_SECONDS):
                answer = await stream.begun()
        except TimeoutError:
            stream.cancel()
            raise UpstreamTimeout(f"No answer from '{node.id}' within {ACT_SECONDS:g} s.") from None
        except asyncio.CancelledError:
            stream.cancel()
            raise

        async def content() -> AsyncIterator[bytes]:
            try:
                async for piece in stream.pieces():
                    yield piece
            finally:
                stream.cancel()
                self._health.soon(node.id)

        return answer.status, answer.content_type.decode("latin-1") or "application/json", content()


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""  # what makes it an iterator


def _headers(node: FleetNode) -> dict[str, str]:
    pairs = (line.partition(": ") for line in node.auth_headers())
    return {name: value for name, _, value in pairs}


def _last_seen(node: FleetNode) -> Iterable[LoadedModel]:
    if node.report is None:
        return ()
    if node.report.loaded is None and node.spec.kind is NodeKind.LLAMACPP:
        return [LoadedModel(entry.name, raw=_running(entry)) for entry in node.report.models]
    return node.report.loaded or ()


def _running(entry: ModelEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "model": entry.name,
        "size": entry.size,
        "digest": entry.digest,
        "details": _details(entry),
    }


def _details(entry: ModelEntry) -> dict[str, Any]:
    """Ollama's `details`; empty is what is not known."""
    given = entry.raw.get("details")
    meta = entry.raw.get("meta")
    told = meta if isinstance(meta, dict) else {}  # llama.cpp's
    return {
        "parent_model": "",
        "format": "gguf" if told else "",
        "family": "",
        "families": [],
        "parameter_size": _short(told.get("n_params")),
        "quantization_level": str(told.get("ftype", "")),
        **(given if isinstance(given, dict) else {}),
    }


def _short(parameters: object) -> str:
    """3212749888 -> 3.2B, as Ollama writes it."""
    if not isinstance(parameters, int):
        return ""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if parameters >= unit:
            return f"{parameters / unit:.1f}{letter}"
    return str(parameters)


def _described(node: FleetNode, entry: ModelEntry) -> dict[str, Any]:
    """What can be said of a model on a server that has no /api/show. Nothing is made up: unknown fields stay empty."""
    meta = entry.raw.get("meta")
    known = meta if isinstance(meta, dict) else {}
    context = known.get("n_ctx_train") or entry.raw.get("max_model_len") or entry.raw.get("max_context_length")
    info = {
        "general.parameter_count": known.get("n_params"),
        "general.context_length": context,
        "general.embedding_length": known.get("n_embd"),
    }
    body: dict[str, Any] = {
        "modelfile": f"# {entry.name} on {node.id} ({node.spec.kind}): not an Ollama model, it has no modelfile\n",
        "parameters": "",
        "template": "",
        "details": _details(entry),
        "model_info": {name: value for name, value in info.items() if value is not None},
    }
    if entry.capabilities:
        body["capabilities"] = sorted(entry.capabilities)
    return body


def _comparable(version: str) -> tuple[int, ...]:
    """0.12.6-rc1 -> (0, 12, 6); (-1,) for what is no version."""
    numbers = version.partition("-")[0].split(".")
    return tuple(map(int, numbers)) if all(number.isdecimal() for number in numbers) else (-1,)
