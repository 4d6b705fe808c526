"""Watches what models are asked for, and acts on it: idle models leave memory, expected ones are loaded ahead.

Everything is read from numbers that traffic leaves behind anyway; no request does anything for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import islice

from orchestrator.domain.demand import Advice, Demand, Sums, advise
from orchestrator.domain.dialects import ENDPOINTS, Endpoint
from orchestrator.domain.errors import StorageUnavailable
from orchestrator.domain.node import Dialect
from orchestrator.domain.placement import PlacementRequest
from orchestrator.ports.history import HistoryStore
from orchestrator.ports.record import RequestRecord
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.models.residency import FleetMemory
from orchestrator.services.models.usual import usual_demand
from orchestrator.services.models.warmup import Warmups

EVERY = 5.0  # seconds between two looks
AHEAD = 600.0  # seconds that a load should be ahead of an hour that is usually busy
LOOKED_AT = 2000  # finished requests at most in one look: beyond it waits are counted too low, and nothing stalls
CALM = 300.0  # s; where it is not known what fits, a model that was used within them is not put at risk
FITS, MAY_FIT = 0.0, 0.25  # placement's "eviction_harm": the model fits, or it may
PATIENCE = 30.0  # s that the history is given to tell what was usual
RETRY = 300.0  # s until a warm-up that failed is tried again
POLICY = "warm_first"
_log = logging.getLogger("orchestrator.models")


@dataclass(frozen=True, slots=True)
class DemandRules:
    """`unload_after` in seconds, None for never; `prewarm_rate` in requests per minute."""

    unload_after: float | None = None
    prewarm: bool = False
    prewarm_rate: float = 0.2


class DemandWatch:
    """The demand for every model of the catalogue."""

    def __init__(
        self, gateway: Gateway, memory: FleetMemory, warmups: Warmups, rules: DemandRules, history: HistoryStore
    ) -> None:
        """`history` tells what was usual before this process."""
        self.rules = rules
        self.models: dict[str, Demand] = {}
        self._gateway = gateway
        self._fleet = gateway.fleet
        self._memory = memory
        self._warmups = warmups
        self._history = history
        self._usual: dict[str, dict[int, float]] = {}  # as the history tells
        self._requests: dict[tuple[str, str], int] = {}  # as counted by the last look
        self._cold: dict[tuple[str, str], int] = {}
        self._newest: RequestRecord | None = None

    async def run(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.remember())  # a slow database delays nothing
            await self._watch(sleep)

    async def _watch(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        while True:
            self.look()
            try:
                await self.unload_idle()
                self.prewarm()
            except Exception as error:  # noqa: BLE001 - process edge: logged whole, and the next look may go well
                _log.error("bug", exc_info=error)
            await sleep(EVERY)

    # What is asked for

    async def remember(self) -> None:
        """Takes what was usual from the history. Where that cannot answer, the forecast begins with nothing."""
        try:
            async with asyncio.timeout(PATIENCE):
                self._usual = await usual_demand(self._history, self._fleet.clock.wall())
        except (StorageUnavailable, TimeoutError) as error:
            _log.warning("forecast_not_restored", extra={"error": str(error) or type(error).__name__})
        except Exception as error:  # noqa: BLE001 - process edge: logged whole, and watching goes on
            _log.error("bug", exc_info=error)
        for model, demand in self.models.items():
            demand.hours = self._usual.get(model, {}) | demand.hours

    def look(self) -> None:
        """Counts what has happened since the last look."""
        now = self._fleet.clock.wall()
        self._memory.look()
        found = self._counted()
        known = self._fleet.catalogue.by_model()
        for model in [model for model in self.models if model not in known]:
            del self.models[model]
        for model in known:
            demand = self.models.get(model)
            if demand is None:
                demand = self.models[model] = Demand(now, hours=dict(self._usual.get(model, {})))
            demand.count(found[model], now)

    def _counted(self) -> defaultdict[str, Sums]:
        found: defaultdict[str, Sums] = defaultdict(Sums)
        requests: dict[tuple[str, str], int] = {}
        cold: dict[tuple[str, str], int] = {}
        for node in self._fleet.nodes.values():
            for model, pair in node.pairs.items():
                traffic, key = pair.traffic, (node.id, model)
                requests[key] = traffic.requests + traffic.errors + traffic.cancelled
                found[model].requests += max(0, requests[key] - self._requests.get(key, 0))
            for model, count in node.state.cold_starts.items():
                cold[node.id, model] = count
                found[model].cold += max(0, count - self._cold.get((node.id, model), 0))
        self._requests, self._cold = requests, cold
        self._count_waits(found)
        return found

    def _count_waits(self, found: defaultdict[str, Sums]) -> None:
        history = self._gateway.history
        newest = history[-1] if history else None
        for record in islice(reversed(history), LOOKED_AT):
            if record is self._newest:
                break
            if record.queue_wait:
                sums = found[record.model]
                sums.waited += 1
                sums.wait += record.queue_wait
                sums.requests += not record.node  # it never came to a node, whose traffic it would be counted in
        self._newest = newest

    # What that says

    async def advice(self) -> list[Advice]:
        """Nothing where too little was measured."""
        self.look()
        now = self._fleet.clock.epoch
        table = await self._memory.table()
        found: list[Advice] = []
        for model, demand in self.models.items():
            places = table.get(model, {})
            found += advise(
                model,
                demand,
                now,
                load=self._fleet.roster.load_cost.get(model),
                loaded_on=sum(bool(place.loaded) for place in places.values()),
                present_on=len(places),
            )
        return found

    # What is done about it

    async def unload_idle(self) -> None:
        """Takes out of memory what nobody has used for `unload_after`."""
        limit = self.rules.unload_after
        if limit is None:
            return
        waiting = self._gateway.queue
        for idle in await self._memory.idle(limit):
            node = self._fleet.get(idle.node)
            if node is None or self._memory.busy(node, idle.model) or waiting.waiting(idle.model):
                continue
            error = await self._warmups.unload(node, idle.model)
            if error:
                _log.warning("model_not_unloaded", extra={"node": node.id, "model": idle.model, "error": error})

    def prewarm(self) -> None:
        """Loads models that are expected to be asked for and that no node has in memory, where there is room."""
        rules = self.rules
        if not rules.prewarm:
            return
        now = self._fleet.clock.wall()
        expected = [(demand.expected(now, AHEAD), model) for model, demand in self.models.items()]
        for rate, model in sorted(expected, reverse=True):
            if rate >= rules.prewarm_rate and not self._at_hand(model):
                node_id = self._roomy(model)
                if node_id is not None and not self._failed_lately(node_id, model, now):
                    self._warmups.start(model, [node_id])

    def _at_hand(self, model: str) -> bool:
        """Whether some node has it in memory, or is about to."""
        running = any(job.model == model and job.status.running for job in self._warmups.jobs.values())
        return running or any(
            node.state.loaded is None or model in node.state.loaded  # who does not tell serves what it lists
            for node in self._fleet.nodes.values()
            if node.healthy and self._fleet.name_on(node, model)
        )

    def _roomy(self, model: str) -> str | None:
        """The node that placement would have load the model, if that puts out no model that is in use."""
        fleet, placement = self._fleet, self._gateway.placement
        candidates = fleet.candidates(model, self._endpoint(model))
        if not candidates.mask:
            return None
        for one in placement.explain(candidates, PlacementRequest(model), fleet.clock.now, POLICY):
            node = fleet.nodes[one.node]
            if one.reason is not None or Dialect.OLLAMA not in node.dialects:
                continue
            if any(job.node == node.id and job.status.running for job in self._warmups.jobs.values()):
                continue  # what it loads now is not in its figures yet
            harm = one.parts.get("eviction_harm", FITS)
            if harm <= FITS or (harm <= MAY_FIT and self._calm(one.node)):
                return one.node
        return None

    def _calm(self, node_id: str) -> bool:
        node, now = self._fleet.nodes[node_id], self._fleet.clock.epoch
        uses = [self._memory.last_used(node, model) for model in node.state.loaded or ()]
        return all(used is None or now - used > CALM for used in uses)

    def _endpoint(self, model: str) -> Endpoint:
        entries = self._fleet.catalogue.nodes(model).values()
        told = {name for entry in entries for name in entry.capabilities}
        return ENDPOINTS["/api/embed" if "embedding" in told and "completion" not in told else "/api/chat"]

    def _failed_lately(self, node_id: str, model: str, now: float) -> bool:
        job = self._warmups.jobs.get((node_id, model))
        return job is not None and bool(job.reason) and now - job.ended < RETRY
