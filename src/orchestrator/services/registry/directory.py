"""All nodes in one list with a UUID for each: workers, model servers, MCP servers, and those that only the registry
knows.

Workers and servers are registered elsewhere, live in memory and change all the time. What the registry shows of them
(address, status) is written down when somebody asks and it has changed since, so that the database can join tools with
nodes. What a client says here of such a node is said to the worker or the model server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from orchestrator.domain.errors import Conflict, NotFound, StorageUnavailable
from orchestrator.domain.node import AdminState, NodeKind
from orchestrator.domain.registry_node import (
    TO_WORKER,
    RegistryNode,
    RegistryNodeType,
    RegistrySource,
    RegistryStatus,
    SeenNode,
    changed,
    seen_worker,
)
from orchestrator.ports.registry_nodes import RegistryNodeStore
from orchestrator.services.clock import Clock
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.fleet.registry import Registry
from orchestrator.services.workers import Workers

MOST = 10_000  # nodes that only the registry knows
_WHERE = {
    RegistrySource.WORKER: "registers itself",
    RegistrySource.SERVER: "is a model server",
    RegistrySource.MCP: "is an MCP server",
}
_TO_SERVER = {RegistryStatus.ACTIVE: AdminState.ACTIVE, RegistryStatus.MAINTENANCE: AdminState.MAINTENANCE}


class Directory:
    """Keeps the list. Every method raises StorageUnavailable."""

    def __init__(
        self,
        store: RegistryNodeStore,
        workers: Workers,
        registry: Registry,
        fleet: Fleet,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._workers = workers
        self._registry = registry
        self._fleet = fleet
        self._clock = clock
        self._new_id = new_id
        self.guests: Callable[[], Iterable[SeenNode]] = tuple  # MCP servers
        self._own: tuple[RegistryNode, ...] = ()
        self._written: dict[str, SeenNode] = {}
        self._looked = False  # at what earlier processes left
        self._turn = asyncio.Lock()

    async def sync(self) -> None:
        """Brings the list up to date with the workers and model servers of this process."""
        async with self._turn:
            seen = {node.id: node for node in self._seen()}
            news = {self._new_id(): node for node in seen.values() if self._written.get(node.id) != node}
            gone = self._written.keys() - seen.keys()
            if news:
                await self._store.see(news, self._clock.wall())
            if gone or not self._looked:
                await self._store.forget(seen, self._clock.wall())
            self._written, self._looked = seen, True

    async def page(
        self, limit: int, skip: int, *, node_type: str | None = None, status: RegistryStatus | None = None
    ) -> tuple[RegistryNode, ...]:
        """Nodes in the order in which they came; of an unknown type there are none."""
        await self.sync()
        if node_type is not None and node_type not in RegistryNodeType.__members__:
            return ()
        kind = RegistryNodeType(node_type) if node_type is not None else None
        return await self._store.page(limit, skip, node_type=kind, status=status)

    async def get(self, node_id: str) -> RegistryNode:
        """By its UUID. Raises NotFound."""
        await self.sync()
        return await self._known(node_id)

    async def own(self) -> tuple[RegistryNode, ...]:
        """Those that only the registry knows, which other surfaces show, too; while the database is away, as they last
        were."""
        with suppress(StorageUnavailable):
            self._own = await self._store.own()
        return self._own

    async def add(self, node_type: RegistryNodeType, address: str, status: RegistryStatus) -> RegistryNode:
        """Registers a node here. A worker that registers itself with the UUID as its id is this node from then on.
        Raises InvalidRequest, and Conflict when there are too many."""
        if len(await self._store.own()) >= MOST:
            raise Conflict(f"There are {MOST} nodes already that only the registry knows.")
        now, node_id = self._clock.wall(), self._new_id()
        node = RegistryNode(node_id, node_type, address, status, node_id, created_at=now, updated_at=now)
        await self._store.put(node)
        return node

    async def change(
        self,
        node_id: str,
        *,
        node_type: RegistryNodeType | None = None,
        address: str | None = None,
        status: RegistryStatus | None = None,
    ) -> RegistryNode:
        """Changes what is given. Raises NotFound, InvalidRequest, and Conflict for what of a worker or model server is
        only changed where it is registered."""
        node = await self.get(node_id)
        followed = node.source is not RegistrySource.REGISTRY
        if followed and address is not None and address != node.address:
            raise Conflict(
                f"'{node.id}' {_WHERE[node.source]}: its address is changed there.", details={"field": "address"}
            )
        if followed and status is not None and status is not node.status:
            await self._set_status(node, status)
            await self.sync()
            node = await self._known(node_id)
            status = None
        new = changed(node, self._clock.wall(), node_type=node_type, address=address, status=status)
        await self._store.put(new)
        return new

    async def remove(self, node_id: str) -> RegistryNode:
        """Forgets a node, on all surfaces; its tools stay, on no node. Raises NotFound."""
        node = await self.get(node_id)
        if node.source is RegistrySource.MCP and any(node.id == guest.id for guest in self.guests()):
            raise Conflict(f"'{node.id}' is an MCP server: it is removed there.", details={"field": "node_id"})
        with suppress(NotFound):  # it has gone meanwhile, or was not there since the start
            if node.source is RegistrySource.WORKER:
                await self._workers.remove(node.id)
            elif node.source is RegistrySource.SERVER:
                await self._registry.unregister(node.id)
        await self._store.delete(node_id)
        self._written.pop(node.id, None)
        return node

    async def drop(self, own_id: str) -> None:
        """Forgets a node by its own id, once what it stood for has been removed elsewhere."""
        await self.sync()
        for node in await self._store.page(MOST, 0, node_type=RegistryNodeType.TOOL_EXECUTOR):
            if node.id == own_id and all(own_id != seen.id for seen in self._seen()):
                await self._store.delete(node.node_id)

    async def _set_status(self, node: RegistryNode, status: RegistryStatus) -> None:
        if node.source is RegistrySource.WORKER:
            await self._workers.set_status(node.id, TO_WORKER[status])
            return
        if node.source is RegistrySource.MCP:
            raise Conflict(
                f"'{node.id}' is an MCP server: its status is that of its connection.", details={"field": "status"}
            )
        state = _TO_SERVER.get(status)
        if state is None:
            raise Conflict(
                f"'{node.id}' is a model server: whether it is {status.value} is measured by probes.",
                details={"field": "status"},
            )
        await self._registry.set_state(node.id, state, "set in the registry of tools")

    async def _known(self, node_id: str) -> RegistryNode:
        node = await self._store.get(node_id)
        if node is None:
            raise NotFound(f"Node '{node_id}' not found")
        return node

    def _seen(self) -> Iterator[SeenNode]:
        for worker in self._workers.all().values():
            yield seen_worker(worker)
        for server in self._fleet.nodes.values():
            if server.spec.kind is not NodeKind.DEMO:  # nobody registered those
                yield _seen_server(server)
        yield from self.guests()


def _seen_server(node: FleetNode) -> SeenNode:
    if node.spec.admin_state is not AdminState.ACTIVE:
        status = RegistryStatus.MAINTENANCE
    else:
        status = RegistryStatus.ACTIVE if node.healthy else RegistryStatus.INACTIVE
    return SeenNode(node.id, RegistrySource.SERVER, RegistryNodeType.ANALYSIS_NODE, node.spec.url, status)
