"""Finds model servers that run on this machine already."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.node import NodeKind, NodeReport, NodeSource, NodeSpec
from orchestrator.ports.probe import Probe
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.guests import Guests
from orchestrator.services.fleet.node import target_of

# What calls itself by which name in `owned_by`; LM Studio does not.
_OWNERS = {"llamacpp": "llama-server", "vllm": "vllm"}
_USUAL_PORTS = {11434: "ollama", 1234: "lmstudio", 8000: "vllm", 8080: "llama-server"}
_ANY_PORT = {NodeKind.OLLAMA: "ollama", NodeKind.OPENAI: "openai", NodeKind.ANTHROPIC: "anthropic"}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place to look at. `url` in its normal form."""

    url: str
    kind: NodeKind


@dataclass(frozen=True, slots=True)
class DiscoveryRules:
    """`timeout` and `interval` in seconds; an `interval` of 0 looks only once."""

    candidates: Sequence[Candidate]
    timeout: float
    interval: float
    max_concurrency: int


class Discovery:
    """Looks at the candidates, and takes in those that answer like what they are expected to be."""

    def __init__(
        self,
        fleet: Fleet,
        guests: Guests,
        probes: Mapping[NodeKind, Probe],
        rules: DiscoveryRules,
        own: Collection[tuple[str, int]],
    ) -> None:
        """`own` are the addresses on which this service listens."""
        self._fleet = fleet
        self._guests = guests
        self._probes = probes
        self._rules = rules
        self._own = own

    async def run(self, sleep: Callable[[float], Awaitable[None]], failed: Callable[[OrchestratorError], None]) -> None:
        """Looks again and again, until cancelled. A database that is away is told to `failed`."""
        while self._rules.interval:
            await sleep(self._rules.interval)
            try:
                await self.look()
            except OrchestratorError as error:
                failed(error)

    async def look(self, within: float | None = None) -> list[NodeSpec]:
        """One look at all candidates at once; returns the nodes that are new. `within` shortens the wait for those that
        are slow to answer."""
        seconds = self._rules.timeout if within is None else min(within, self._rules.timeout)
        places = [one for one in self._rules.candidates if not self._known(one.url)]
        reports = await asyncio.gather(*(self._probe(one, seconds) for one in places))
        removed = await self._guests.removed()
        found: list[NodeSpec] = []
        for place, report in zip(places, reports, strict=True):
            if report is None or self._known(place.url):
                continue
            identity = self._free_id(_name(place, report))
            if identity not in removed:
                found.append(self._guests.take(self._spec(identity, place)).spec)
        return found

    async def _probe(self, place: Candidate, seconds: float) -> NodeReport | None:
        spec = self._spec("candidate", place)
        try:
            async with asyncio.timeout(seconds):
                report = await self._probes[place.kind].look(spec, target_of(spec), None, seconds)
        except TimeoutError:
            return None
        # Our own lists name the servers of a model: a gateway must not become a node of its own fleet by a detour.
        gateway = any("servers" in entry.raw for entry in report.models)
        return report if report.healthy and not gateway else None

    def _spec(self, identity: str, place: Candidate) -> NodeSpec:
        return NodeSpec(
            id=identity,
            url=place.url,
            kind=place.kind,
            max_concurrency=self._rules.max_concurrency,
            source=NodeSource.DISCOVERY,
        )

    def _known(self, url: str) -> bool:
        """Whether this is one of our own addresses, or that of a node."""
        place = _address(url)
        if any(_address(node.spec.url) == place for node in self._fleet.nodes.values()):
            return True
        host, port = place
        return any(port == own_port and _same_host(host, own_host) for own_host, own_port in self._own)

    def _free_id(self, name: str) -> str:
        number = 1
        identity = name
        while identity in self._fleet.nodes:
            number += 1
            identity = f"{name}-{number}"
        return identity


def _name(place: Candidate, report: NodeReport) -> str:
    owners = {str(entry.raw.get("owned_by", "")).lower() for entry in report.models}
    told = next((name for owner, name in _OWNERS.items() if owner in owners), None)
    usual = _USUAL_PORTS.get(_address(place.url)[1])
    if usual == "ollama" and place.kind is not NodeKind.OLLAMA:
        usual = None
    return told or usual or _ANY_PORT.get(place.kind, place.kind.value)


def _address(url: str) -> tuple[str, int]:
    """Host and port, by which two spellings of one URL are told to be the same."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    return ("127.0.0.1" if _loopback(host) else host), parts.port or (443 if parts.scheme == "https" else 80)


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _same_host(host: str, own: str) -> bool:
    """A listener on every address is one on loopback, too."""
    return host == own or own in ("0.0.0.0", "::") or (_loopback(host) and _loopback(own))  # noqa: S104 - compared
