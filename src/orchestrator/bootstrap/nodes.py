"""Nodes that this process brings itself: embedded engines, servers found on this machine, demo nodes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from orchestrator.adapters.llamacpp.llama_server import LlamaOptions, LlamaServer, llama_servers
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.node import NodeKind, NodeSource
from orchestrator.ports.probe import Probe
from orchestrator.services.fleet.discovery import Candidate, Discovery, DiscoveryRules
from orchestrator.services.fleet.embedded import Embedded
from orchestrator.services.fleet.guests import Guests
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from orchestrator.bootstrap.service import Service

FIRST_LOOK = 2.0  # seconds that a start waits for the first probes
DISCOVERY = 1.0  # seconds that a start waits for servers to be discovered
AT_ONCE = 32  # probes at a time while starting
OF_THIS_PROCESS = (NodeSource.EMBEDDED, NodeSource.DISCOVERY, NodeSource.DEMO)
_log = logging.getLogger("orchestrator.fleet")


def embedded_servers(settings: Settings) -> list[LlamaServer]:
    """The engines that the settings ask for. Raises ConfigurationError for a file that cannot be served."""
    engine = settings.models.engine
    options = LlamaOptions(engine.context, engine.parallel, engine.threads or 0, _layers(engine.gpu_layers))
    return llama_servers(settings.models.embedded, options, settings.data_dir / "logs")


def _layers(given: int | None) -> int:
    return -1 if given is None else given


async def bring_nodes(
    service: Service, probes: Mapping[NodeKind, Probe], found: Sequence[LlamaServer], stack: AsyncExitStack
) -> None:
    """Starts all of them, and waits a moment until the fleet is known. `stack` ends what runs."""
    settings, fleet = service.settings, service.fleet
    guests = Guests(fleet, service.registry, service.storage.nodes)
    await guests.load()
    served = [Embedded(server, fleet, guests, service.health) for server in found]
    for one in served:
        keep(stack, one.run())
    rules = discovery_rules(settings)
    discovery = Discovery(fleet, guests, probes, rules, own_addresses(settings))
    if settings.discovery.enabled:
        await _discover(discovery)
        keep(stack, discovery.run(asyncio.sleep, _failed))
    for one in served:
        await one.joined.wait()
    if settings.demo.enabled and not fleet.nodes:
        await _demonstrate(settings.demo.nodes, guests, stack)
    records = await service.storage.breakers.load()
    guest_ids = {node.id for node in fleet.nodes.values() if node.spec.source in OF_THIS_PROCESS}
    fleet.restore(record for record in records.values() if record.node in guest_ids)
    await _first_look(service, served)


def keep(stack: AsyncExitStack, running: Awaitable[None]) -> None:
    """Lets it run until the stack is closed. Its end before that is a mistake of ours, which is logged."""
    task = asyncio.ensure_future(running)
    task.add_done_callback(_ended)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)


def _ended(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("a background loop ended", exc_info=error)


async def _discover(discovery: Discovery) -> None:
    for spec in await discovery.look(DISCOVERY):
        _log.info("found %s (%s) at %s", spec.id, spec.kind.value, spec.url)


def _failed(error: OrchestratorError) -> None:
    _log.warning("discovery: %s", error.message)


async def _demonstrate(count: int, guests: Guests, stack: AsyncExitStack) -> None:
    from orchestrator.adapters.demo.nodes import DemoServer  # a server of its own, which hardly any start needs

    removed = await guests.removed()
    for number in range(1, count + 1):
        server = DemoServer(number)
        await stack.enter_async_context(server)
        if server.node.id not in removed:
            guests.take(server.node)
    _log.warning(
        "no model server is registered and none was found on this machine: %d demo nodes answer canned text until the "
        "next start; see `orchestrator nodes add` and --gguf",
        count,
    )


async def _first_look(service: Service, served: Sequence[Embedded]) -> None:
    """So that the service is ready, with its catalogue, when it says that it listens."""
    places = asyncio.Semaphore(AT_ONCE)
    health, nodes = service.health, list(service.fleet.nodes.values())

    async def look(node_id: str) -> None:
        async with places:
            node = service.fleet.get(node_id)
            if node is not None:
                await health.check(node)

    async def loaded(one: Embedded) -> None:
        await one.loaded.wait()
        await look(one.server.node.id)

    engines = {one.server.node.id for one in served}
    looks = [loaded(one) for one in served]
    looks += [look(node.id) for node in nodes if node.id not in engines]
    tasks = [asyncio.create_task(one) for one in looks]
    if tasks and service.health.rules.enabled:
        _, late = await asyncio.wait(tasks, timeout=FIRST_LOOK)
        for task in late:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def discovery_rules(settings: Settings) -> DiscoveryRules:
    return DiscoveryRules(
        candidates=[Candidate(str(one.url), one.kind) for one in settings.discovery.candidates],
        timeout=settings.discovery.timeout,
        interval=settings.discovery.interval,
        max_concurrency=settings.load_balancer.default_max_concurrency,
    )


def own_addresses(settings: Settings) -> list[tuple[str, int]]:
    server = settings.server
    return [(server.host, server.port), *((one.host or server.host, one.port) for one in server.listeners)]
