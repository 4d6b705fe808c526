"""Tools of the kind `http`: one request to an allowed URL, or to the node that the tool is on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import msgspec

from orchestrator.domain.errors import Forbidden, InvalidRequest, NotFound, ToolCrashed, ToolFailed, UpstreamStatus
from orchestrator.domain.failure import parse_retry_after
from orchestrator.domain.registry_node import RegistryNode, RegistryStatus
from orchestrator.domain.tool import Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome, Produced
from orchestrator.domain.worker_hosts import WorkerHosts, read_address
from orchestrator.services.egress import Egress, Fetched, read_url
from orchestrator.services.tool_calls.hosts import ToolHosts
from orchestrator.services.tool_calls.http_binding import SECRET, HttpBinding, HttpRequest, read_binding, request_of

IDEMPOTENCY = "Idempotency-Key"
AGAIN = frozenset({408, 425, 429})
SHOWN = 500  # characters of an answer in an error
_FILE_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,8})\Z")
_JSON = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class HttpSecret:
    """A secret of the operator, and the hosts that may see it."""

    value: str = field(repr=False)
    hosts: WorkerHosts


class Nodes(Protocol):
    async def get(self, node_id: str) -> RegistryNode:
        """By its UUID. Raises NotFound."""


class HttpTool:
    """`ToolRunner`. Every request has `Idempotency-Key`, the call's id: the same for each attempt."""

    def __init__(self, egress: Egress, nodes: Nodes, hosts: ToolHosts, wall: Callable[[], float]) -> None:
        """`wall` tells seconds since the epoch."""
        self.secrets: Mapping[str, HttpSecret] = {}  # what the operator has set; may be replaced at any time
        self.max_answer = 32 << 20  # bytes
        self._egress = egress
        self._nodes = nodes
        self._hosts = hosts
        self._wall = wall

    def check(self, tool: Tool) -> None:
        """Raises InvalidRequest. Whether the URL is allowed is judged with each call."""
        if tool.execution is not None:
            binding = read_binding(tool.execution.binding)
            if binding.path and tool.target_node_id is None:
                raise InvalidRequest(
                    "execution.binding: a path needs a target_node_id", details={"field": "execution.binding"}
                )

    async def run(self, order: CallOrder) -> CallOutcome:
        assert order.tool.execution is not None
        binding = read_binding(order.tool.execution.binding)
        base = await self._base(order.tool) if binding.path else ""
        request = request_of(binding, base, order.arguments)
        place = read_url(request.url)
        headers = {name: self._revealed(value, place.host) for name, value in request.headers.items()}
        headers = {name: value for name, value in headers.items() if name.lower() != IDEMPOTENCY.lower()}
        with self._hosts.judged(f"{place.host}:{place.port}"):
            answer = await self._answer(request, {**headers, IDEMPOTENCY: order.call_id}, order.timeout)
            good = 200 <= answer.status <= 299 if binding.ok is None else answer.status in binding.ok
            if not good and (answer.status >= 500 or answer.status in AGAIN):
                wait = parse_retry_after(answer.headers.get("retry-after", ""), self._wall())
                raise UpstreamStatus(_told(answer), retry_after=wait, details={"status": answer.status})
        if not good:
            raise ToolFailed(_told(answer), details={"status": answer.status})
        return _outcome(binding, answer)

    async def _base(self, tool: Tool) -> str:
        if tool.target_node_id is None:
            raise InvalidRequest(f"Tool '{tool.name}' is on no node")
        try:
            node = await self._nodes.get(tool.target_node_id)
        except NotFound:
            raise ToolCrashed(f"The node of tool '{tool.name}' is gone") from None
        if node.status is not RegistryStatus.ACTIVE:
            raise ToolCrashed(f"Node '{node.id}' is {node.status.value}")
        if node.address.startswith("pull:"):
            raise InvalidRequest(f"Node '{node.id}' takes no connections: it fetches its work")
        address = node.address if "://" in node.address else f"http://{node.address}"
        read_url(address)
        if urlsplit(address).query or "#" in address:
            raise InvalidRequest(f"The address of node '{node.id}' has a query or fragment")
        return address

    def _revealed(self, value: str, host: str) -> str:
        """A header with the secrets that it names. Raises Forbidden where the host may not see one."""

        def reveal(found: re.Match[str]) -> str:
            secret = self.secrets.get(found[1])
            if secret is None:
                raise InvalidRequest(f"There is no secret '{found[1]}' (tools.secrets)")
            address = read_address(host)
            literal = address is not None and any(address in network for network in secret.hosts.networks)
            if not literal and not secret.hosts.named(host):
                raise Forbidden(f"The secret '{found[1]}' may not go to '{host}' (tools.secrets)")
            return secret.value

        return SECRET.sub(reveal, value)

    async def _answer(self, request: HttpRequest, headers: Mapping[str, str], timeout: float) -> Fetched:
        # A little less than the call's own time, so that a breaker hears of a timeout before the call is cancelled.
        return await self._egress.fetch(
            request.method,
            request.url,
            headers=headers,
            body=request.body,
            timeout=timeout * 0.98,
            max_body=self.max_answer,
        )


def _outcome(binding: HttpBinding, answer: Fetched) -> CallOutcome:
    if binding.response == "binary":
        kind = answer.headers.get("content-type", "application/octet-stream").partition(";")[0].strip()[:100]
        return CallOutcome(
            {"status": answer.status, "mime_type": kind, "bytes": len(answer.body)},
            files=(Produced(_file_name(answer.url), kind or "application/octet-stream", answer.body),),
        )
    if binding.response == "text":
        return CallOutcome(answer.body.decode("utf-8", "replace"))
    if not answer.body:
        return CallOutcome(None)
    try:
        value = _JSON.decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        raise ToolFailed(f"The answer is not JSON: {_start(answer)}") from None
    return CallOutcome(_pointed(value, binding.result))


def _pointed(value: Any, pointer: str) -> Any:
    """What a JSON Pointer (RFC 6901) names. Raises ToolFailed."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and _INDEX.match(name) and int(name) < len(value):
            value = value[int(name)]
        else:
            raise ToolFailed(f"The answer has nothing at '{pointer}'")
    return value


def _told(answer: Fetched) -> str:
    return f"HTTP {answer.status}: {_start(answer)}".rstrip(": ")


def _start(answer: Fetched) -> str:
    text = answer.body[: SHOWN * 4].decode("utf-8", "replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:SHOWN]


def _file_name(url: str) -> str:
    """The last part of the path as a file may be called."""
    last = unquote(urlsplit(url).path.rpartition("/")[2])
    return _FILE_NAME.sub("_", last).strip("._")[:100] or "answer"
