"""Vectors of texts, from an embedding model of the fleet and through the gateway: its queue, breakers and failover
count for them as for every request."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from orchestrator.domain.access import Principal, Role
from orchestrator.domain.dialects.endpoint import OPENAI_EMBEDDINGS
from orchestrator.domain.errors import Conflict, InvalidRequest, MalformedAnswer, ModelNotFound, UpstreamError
from orchestrator.domain.node import NodeKind
from orchestrator.domain.tool import Tool
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.tasks.local_inference import Collected

AUTO, OFF = "auto", "off"
PRINCIPAL = Principal("service:search", "search", Role.DEVELOPER)
CAPABILITY = "embedding"
BATCH = 16  # texts in one request
TEXT_LIMIT = 2_000  # characters of a text that are read
_CALLER = "127.0.0.1"  # the service itself


class Embedder:
    """`wanted` is the operator's choice: a model, `auto` for the first one that is known to embed, `off` for none."""

    def __init__(self, gateway: Gateway, wanted: Callable[[], str]) -> None:
        self._gateway = gateway
        self._wanted = wanted

    @property
    def fixed(self) -> bool:
        """Whether the operator has chosen."""
        return self._wanted() != AUTO

    def model(self, usual: str = "") -> str:
        """The model to use, empty when there is none. `usual` is what has been used so far: `auto` keeps to it while
        any node has it."""
        wanted, catalogue = self._wanted(), self._gateway.fleet.catalogue
        if wanted != AUTO:
            return "" if wanted == OFF else wanted
        able = sorted((name for name in catalogue.names() if self._embeds(name)), key=self._generates)
        return usual if usual in able else next(iter(able), "")

    def _embeds(self, name: str) -> bool:
        """Vectors of demo nodes mean nothing."""
        fleet = self._gateway.fleet
        return any(
            CAPABILITY in entry.capabilities and fleet.nodes[node].spec.kind is not NodeKind.DEMO
            for node, entry in fleet.catalogue.nodes(name).items()
            if node in fleet.nodes
        )

    def _generates(self, name: str) -> tuple[bool, str]:
        """Models that do nothing else come first."""
        entries = self._gateway.fleet.catalogue.nodes(name).values()
        return any("completion" in entry.capabilities for entry in entries), name

    async def embed(self, model: str, texts: Sequence[str]) -> list[bytes]:
        """32-bit floats, little-endian, for each text. Raises InvalidRequest when the model refuses the texts, Conflict
        when no node has it, UpstreamError when it cannot be had now."""
        body = msgspec.json.encode({"model": model, "input": list(texts), "encoding_format": "float"})
        client = Collected()
        exchange = self._gateway.handle(client, OPENAI_EMBEDDINGS, body, _NO_HEADERS, PRINCIPAL, _CALLER)
        try:
            status, answer = await client.done
        finally:
            exchange.client_gone()  # does nothing to one that is over
        if status >= 300:
            raise _refusal(model, status, answer)
        return _vectors(answer, len(texts))

    async def each(self, model: str, texts: Sequence[str]) -> list[bytes | None]:
        """The same; None for a text that the model refuses."""
        try:
            return list(await self.embed(model, texts))
        except InvalidRequest:
            if len(texts) == 1:
                return [None]
        return [one for text in texts for one in await self.each(model, [text])]


def meaning_text(tool: Tool) -> str:
    """What of a tool gets a vector."""
    parts = (tool.name, tool.description or "", ", ".join(tool.tags))
    return "\n".join(part for part in parts if part)[:TEXT_LIMIT]


_NO_HEADERS: Mapping[bytes, bytes] = {}


def _refusal(model: str, status: int, answer: bytes) -> Conflict | InvalidRequest | UpstreamError:
    try:
        told: Any = msgspec.json.decode(answer)
        text = str(told["error"]["message"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        text = answer[:200].decode("utf-8", "replace")
    if status == ModelNotFound.status:
        return Conflict(f"The embedding model '{model}' is on no node.", details={"code": "NO_EMBEDDING_MODEL"})
    kind = InvalidRequest if status in (400, 413, 422) else UpstreamError
    return kind(f"The embedding model '{model}' did not answer: HTTP {status}: {text[:300]}")


def _vectors(answer: bytes, count: int) -> list[bytes]:
    try:
        items = sorted(msgspec.json.decode(answer)["data"], key=lambda item: item.get("index") or 0)
        found = [item["embedding"] for item in items]
        packed = [struct.pack(f"<{len(one)}f", *one) for one in found]
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, struct.error, OverflowError) as error:
        raise MalformedAnswer("the embedding model's answer has no vectors") from error
    if len(packed) != count or not all(packed):
        raise MalformedAnswer("the embedding model answered with another number of vectors")
    return packed
