"""Changes to the fleet that must outlive the process: written to the database first, then in force."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote, urlsplit

from orchestrator.domain.alias import Alias
from orchestrator.domain.ban import Ban
from orchestrator.domain.breaker import Breaker
from orchestrator.domain.breaker_policy import BreakerState
from orchestrator.domain.errors import Conflict, InvalidRequest, NotFound
from orchestrator.domain.model_name import key_of
from orchestrator.domain.node import MAX_CONCURRENCY_RANGE, NODE_ID, AdminState, NodeSource, NodeSpec
from orchestrator.ports.store import Storage
from orchestrator.ports.upstream import Upstream
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.health import Health
from orchestrator.services.fleet.node import FleetNode

_log = logging.getLogger("orchestrator.fleet")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\Z")


def normalise_url(url: str) -> str:
    """The form in which URLs are kept and compared: decoded, no trailing slash. Raises InvalidRequest."""
    text = url.strip()
    while (decoded := unquote(text)) != text:
        text = decoded
    text = text.rstrip("/")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidRequest(f"'{url}' is not a URL: {error}.") from None
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not (_HOST.match(host) or _is_address(host)):
        raise InvalidRequest(f"'{url}' is not an http or https URL.")
    if parts.username or parts.password or parts.query or parts.fragment or port == 0:
        raise InvalidRequest("A node's URL has no user, password, query or fragment; a key goes into api_key.")
    if not text.isprintable() or " " in text:
        raise InvalidRequest(f"'{url}' has a character that a URL does not allow.")
    return text


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def validate(spec: NodeSpec) -> NodeSpec:
    """The specification in its normal form. Raises InvalidRequest naming the field."""
    low, high = MAX_CONCURRENCY_RANGE
    if not NODE_ID.match(spec.id) or "--" in spec.id:
        raise InvalidRequest("id must be 1 to 100 letters, digits, '.', '_' or '-', without '--', starting with one.")
    if not low <= spec.max_concurrency <= high:
        raise InvalidRequest(f"maxConcurrency must be between {low} and {high}.")
    if not 0 < spec.weight <= 1000:
        raise InvalidRequest("weight must be above 0 and at most 1000.")
    if spec.api_key is not None and not spec.api_key.isprintable():
        raise InvalidRequest("api_key has a character that a header does not allow.")
    return replace(spec, url=normalise_url(spec.url))


class Registry:
    """Registers nodes, bans and aliases, and keeps breakers over a restart."""

    def __init__(self, fleet: Fleet, health: Health, upstream: Upstream, storage: Storage) -> None:
        self._fleet = fleet
        self._health = health
        self._upstream = upstream
        self._storage = storage
        self._changing = asyncio.Lock()
        self.taken: Callable[[str], bool] = lambda node_id: False  # whether another kind of node has this id

    async def load(self, configured: Sequence[NodeSpec], aliases: Sequence[Alias]) -> None:
        """Brings back what the last process knew. A configured node's definition wins over the stored one, unless it
        was changed through the API since; an operator's drain or maintenance stays. Configured aliases win."""
        stored = {spec.id: spec for spec in await self._storage.nodes.list()}
        for spec in configured:
            known = stored.pop(spec.id, None)
            if known is not None and known.source is NodeSource.API:
                spec = known  # changed while the service ran: the last word counts
            elif known is not None:
                spec = replace(
                    spec,
                    admin_state=known.admin_state,
                    admin_reason=known.admin_reason,
                    admin_since=known.admin_since,
                )
            self._fleet.add(validate(spec))
        for spec in stored.values():
            if spec.source is NodeSource.API:
                self._fleet.add(spec)
        known_aliases = {alias.name: alias for alias in await self._storage.aliases.list()}
        self._fleet.set_aliases((known_aliases | {alias.name: alias for alias in aliases}).values())
        now = self._fleet.clock.epoch
        self._fleet.set_bans(ban for ban in await self._storage.bans.list() if ban.until is None or ban.until > now)
        self._fleet.restore((await self._storage.breakers.load()).values())

    async def tombstones(self) -> frozenset[str]:
        """Nodes that an operator removed and that discovery must not bring back."""
        return await self._storage.nodes.tombstones()

    # Nodes

    async def register(self, spec: NodeSpec) -> FleetNode:
        """Adds a node and has it probed at once. Raises InvalidRequest, and Conflict for an id or URL that is taken."""
        spec = validate(spec)
        async with self._changing:
            if spec.id in self._fleet.nodes:
                raise Conflict(f"Server '{spec.id}' already exists")
            if self.taken(spec.id):
                raise Conflict(f"'{spec.id}' is the name of a worker")
            self._check_url(spec)
            await self._storage.nodes.put(spec)
            node = self._fleet.add(spec)
        _log.info("node_registered", extra={"node": spec.id, "url": spec.url, "kind": spec.kind.value})
        self._health.soon(node.id)
        return node

    def _check_url(self, spec: NodeSpec) -> None:
        for node in self._fleet.nodes.values():
            if node.spec.url == spec.url and node.id != spec.id:
                raise Conflict(
                    f"Server with URL '{spec.url}' already exists as '{node.id}'",
                    details={"existingServerId": node.id, "existingUrl": node.spec.url, "normalizedUrl": spec.url},
                )

    def adopt(self, spec: NodeSpec) -> FleetNode:
        """Adds a node that lives only as long as this process: discovered, embedded, demo."""
        node = self._fleet.add(validate(spec))
        self._health.soon(node.id)
        return node

    async def update(self, node_id: str, **changes: Any) -> FleetNode:
        """Changes a registration. Raises NotFound, InvalidRequest, and Conflict for a URL that is taken."""
        async with self._changing:
            node = self.node(node_id)
            own = node.spec.source in (NodeSource.EMBEDDED, NodeSource.DEMO)  # no node without what this process runs
            if not own and not changes.keys() <= {"admin_state", "admin_reason", "admin_since"}:
                changes["source"] = NodeSource.API
            spec = validate(replace(node.spec, **changes))
            self._check_url(spec)
            await self._storage.nodes.put(spec)
            node = self._fleet.add(spec)
        self._health.soon(node.id)
        return node

    async def unregister(self, node_id: str) -> None:
        """Removes a node for good; requests that it serves now may finish. Raises NotFound."""
        async with self._changing:
            node = self.node(node_id)
            await self._storage.nodes.delete(node_id)
            await self._storage.breakers.delete(_keys(node))
            self._fleet.remove(node_id)
        _log.info("node_removed", extra={"node": node_id})
        self._upstream.forget(node.target)

    async def set_state(self, node_id: str, state: AdminState, reason: str = "") -> FleetNode:
        """Drains a node, takes it into maintenance or back. Raises NotFound."""
        since = self._fleet.clock.epoch
        node = await self.update(node_id, admin_state=state, admin_reason=reason, admin_since=since)
        _log.info("node_state_changed", extra={"node": node_id, "state": state.value, "reason": reason})
        return node

    def node(self, node_id: str) -> FleetNode:
        """Raises NotFound."""
        node = self._fleet.get(node_id)
        if node is None:
            raise NotFound(f"Server '{node_id}' not found")
        return node

    # Bans and aliases

    async def ban(self, ban: Ban) -> None:
        """Raises InvalidRequest for a ban of nothing."""
        if not ban.node and not ban.model:
            raise InvalidRequest("A ban names a server, a model, or both.")
        await self._storage.bans.put(ban)
        self._fleet.set_bans([*self._fleet.bans.values(), ban])

    async def lift(self, covers: Callable[[Ban], bool]) -> int:
        """Lifts the bans for which `covers` is true; returns how many."""
        lifted = [ban for ban in self._fleet.bans.values() if covers(ban)]
        for ban in lifted:
            await self._storage.bans.delete(ban.node, ban.model)
        self._fleet.set_bans([ban for ban in self._fleet.bans.values() if ban not in lifted])
        return len(lifted)

    async def set_alias(self, alias: Alias) -> None:
        await self._storage.aliases.put(alias)
        self._fleet.set_aliases([*self._fleet.aliases.values(), alias])

    async def drop_alias(self, name: str) -> None:
        """Raises NotFound."""
        if name not in self._fleet.aliases:
            raise NotFound(f"Alias '{name}' not found")
        await self._storage.aliases.delete(name)
        self._fleet.set_aliases(alias for alias in self._fleet.aliases.values() if alias.name != name)

    # Breakers

    async def force(self, node_id: str, model: str, state: BreakerState, seconds: float | None = None) -> Breaker:
        """Puts a breaker into a state. Raises NotFound for an unknown node."""
        breaker = self.breaker(node_id, model)
        breaker.force(state, self._fleet.clock.epoch, seconds, "forced by an operator")
        await self.flush()
        return breaker

    async def reset(self, node_id: str, model: str) -> tuple[BreakerState, int]:
        """Closes a breaker and forgets its counts; returns the state before and how many trials were called off."""
        breaker = self.breaker(node_id, model)
        before = breaker.state
        cancelled = breaker.reset(self._fleet.clock.epoch, "reset by an operator")
        self.node(node_id).state.forgive(model)
        await self.flush()
        return before, cancelled

    def breaker(self, node_id: str, model: str) -> Breaker:
        """A node's own breaker (`model` empty) or that of one of its models. Raises NotFound for an unknown node."""
        node = self.node(node_id)
        return self._fleet.pair(node, model).breaker if model else node.breaker

    async def forget_model(self, node_id: str, model: str) -> None:
        """Drops the breaker of a model that a node no longer has, and what its errors taught. Raises NotFound."""
        node = self.node(node_id)
        name = next((name for name in node.pairs if key_of(name) == key_of(model)), None)
        if name is None:
            return
        await self._storage.breakers.delete([f"{node_id}:{name}"])
        node.pairs.pop(name, None)
        node.state.forgive(name)

    async def flush(self) -> None:
        """Writes down the breakers that changed."""
        dirty, self._fleet.dirty = self._fleet.dirty, set()
        records = [breaker.record() for key in dirty if (breaker := self._fleet.breaker(*key)) is not None]
        if records:
            try:
                await self._storage.breakers.save(records)
            except BaseException:
                self._fleet.dirty |= dirty
                raise


def _keys(node: FleetNode) -> list[str]:
    return [node.id, *(f"{node.id}:{model}" for model in node.pairs)]
