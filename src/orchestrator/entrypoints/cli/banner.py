"""What `orchestrator start` says when it listens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from orchestrator import __version__
from orchestrator.domain.model_name import key_of
from orchestrator.domain.node import NodeKind
from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.options import API_KEY_VARIABLE
from orchestrator.entrypoints.cli.runtime import RunningService
from orchestrator.entrypoints.cli.warnings import operator_warnings
from orchestrator.settings import Loaded

if TYPE_CHECKING:
    from orchestrator.services.fleet.node import FleetNode

FIRST_LOOK = 3.0  # seconds that the list of nodes waits for the first probes
_STEP = 0.05
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - where a client on this machine finds such a listener


class Banner:
    """Says at once where the service listens, and what it found as soon as every node has been looked at."""

    def __init__(self, loaded: Loaded, json: bool) -> None:
        self._loaded = loaded
        self._json = json
        self._looking: asyncio.Task[None] | None = None

    def show(self, service: RunningService, port: int) -> None:
        """Called in the service's event loop when it listens."""
        url = address(service.settings.server.host, port)
        if not self._json:
            output.say(f"Orchestrator {__version__} listens on {url}")
        self._looking = asyncio.create_task(self._nodes(service, url))

    async def _nodes(self, service: RunningService, url: str) -> None:
        deadline = asyncio.get_running_loop().time() + FIRST_LOOK
        while asyncio.get_running_loop().time() < deadline and not looked_at(service):  # noqa: ASYNC110 - no event says it
            await asyncio.sleep(_STEP)
        if self._json:
            output.print_json(facts(service, self._loaded, url))
        else:
            for line in lines(service, self._loaded, url):
                output.say(line)


def looked_at(service: RunningService) -> bool:
    nodes = service.fleet.nodes.values()
    return bool(nodes) and all(node.probed_at for node in nodes)


def address(host: str, port: int) -> str:
    host = _ANY_ADDRESS.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}"


def facts(service: RunningService, loaded: Loaded, url: str) -> dict[str, Any]:
    """The greeting as data."""
    return {
        "url": url,
        "version": __version__,
        "config": str(loaded.file) if loaded.file is not None else None,
        "auth": service.settings.auth.enabled,
        "nodes": [
            {"id": node.id, "kind": node.spec.kind.value, "url": node.spec.url, "healthy": node.healthy}
            for node in service.fleet.nodes.values()
        ],
        "model": first_model(service),
        "warnings": operator_warnings(loaded),
    }


def lines(service: RunningService, loaded: Loaded, url: str) -> list[str]:
    nodes = list(service.fleet.nodes.values())
    auth = service.settings.auth.enabled
    found = [f"Configuration   {loaded.file or 'defaults, no file'}"]
    found += [
        f"Authentication  {'on: clients send Authorization: Bearer <key>' if auth else 'off, for this machine only'}"
    ]
    found += node_lines(nodes)
    model = first_model(service)
    if model:
        found += ["", f"Try it with `orchestrator chat {output.printable(model)}`, or:", *curl_lines(url, model, auth)]
    return found


def node_lines(nodes: Sequence[FleetNode]) -> list[str]:
    if not nodes:
        return [
            "Nodes           none: requests are refused until there is one.",
            "                Add one with `orchestrator nodes add ID URL`, or serve a file with --gguf FILE.",
        ]
    found = [f"Nodes           {len(nodes)}"]
    for node in nodes:
        state = "" if node.healthy else f"  (not healthy: {node.error})"
        found.append(f"  {node.id}  {node.spec.kind.value}  {node.spec.url}{state}")
    demos = [node for node in nodes if node.spec.kind is NodeKind.DEMO]
    if demos and len(demos) == len(nodes):
        found.append("  These are demo nodes: no model runs there, they answer with canned text.")
    elif demos:
        found.append(f"  {', '.join(node.id for node in demos)}: demo, answers with canned text.")
    return [output.printable(line) for line in found]


def first_model(service: RunningService) -> str:
    """A model that a healthy node serves and that can chat, as far as is known."""
    for node in service.fleet.nodes.values():
        if not node.healthy:
            continue
        for entry in node.entries():
            if not entry.capabilities or "completion" in entry.capabilities:
                return key_of(entry.name)
    return ""


def curl_lines(url: str, model: str, auth: bool) -> list[str]:
    """One request in each dialect."""
    messages = [{"role": "user", "content": "Hello"}]
    requests: dict[str, dict[str, Any]] = {
        "/v1/chat/completions": {"model": model, "messages": messages},
        "/v1/messages": {"model": model, "max_tokens": 64, "messages": messages},
        "/api/chat": {"model": model, "stream": False, "messages": messages},
    }
    head = f' -H "Authorization: Bearer ${API_KEY_VARIABLE}"' if auth else ""
    head += " -H 'Content-Type: application/json'"
    return [f"  curl {url}{path}{head} -d '{quoted(json.dumps(body))}'" for path, body in requests.items()]


def quoted(text: str) -> str:
    """For use between single quotes of a shell."""
    return output.printable(text).replace("'", "'\\''")
