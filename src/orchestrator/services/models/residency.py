"""Which model is in which node's memory, as the nodes themselves say, and since when nobody has used it."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.node import Dialect, LoadedModel, NodeKind
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.library import Library
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.models.warmup import Warmups, WarmupStatus

ASK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Place:
    """One model on one node that has it. `loaded` None: this server does not tell.

    Times in seconds: `last_used` since the epoch, None before the first use by this process; `load_time` None before
    the first load was measured. `vram` in bytes. `failure` is why the last warm-up failed.
    """

    node: str
    loaded: bool | None
    loading: bool = False
    always: bool = False  # an embedded engine holds its model as long as it runs
    in_use: int = 0
    last_used: float | None = None
    load_time: float | None = None
    vram: int | None = None
    expires_at: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Idle:
    """A model in memory that nobody uses. `seconds` since its last use, or since it was first seen there."""

    node: str
    model: str
    seconds: float
    used: bool  # whether this process ever saw a request for it there
    vram: int | None = None


class FleetMemory:
    """Asks nodes what they hold."""

    def __init__(self, fleet: Fleet, library: Library, warmups: Warmups) -> None:
        self._fleet = fleet
        self._library = library
        self._warmups = warmups
        self._seen: dict[tuple[str, str], float] = {}  # node and model -> when first seen in memory

    async def table(self) -> dict[str, dict[str, Place]]:
        """Every model of the catalogue with the nodes that have it, as they are now."""
        held = await self._held()
        nodes = self._fleet.nodes
        return {
            model: {
                node_id: self._place(nodes[node_id], model, held.get((node_id, model)))
                for node_id in node_ids
                if node_id in nodes
            }
            for model, node_ids in sorted(self._fleet.catalogue.by_model().items())
        }

    async def idle(self, least: float) -> list[Idle]:
        """Models in memory that nobody has used for `least` seconds, longest first. Embedded engines are not among
        them: their models cannot leave."""
        held = await self._held()
        now = self._fleet.clock.wall()
        found = []
        for (node_id, model), row in held.items():
            node = self._fleet.get(node_id)
            if node is None or Dialect.OLLAMA not in node.dialects or self.busy(node, model):
                continue
            used = self.last_used(node, model)
            since = max(used or 0.0, self._loaded_at(node_id, model), self._seen.get((node_id, model), 0.0))
            since = since or self._seen.setdefault((node_id, model), now)
            if now - since >= least:
                found.append(Idle(node_id, model, now - since, used is not None, _vram(row)))
        return sorted(found, key=lambda one: -one.seconds)

    def busy(self, node: FleetNode, model: str) -> bool:
        """Whether requests use it now, or it is being loaded."""
        job = self._warmups.jobs.get((node.id, model))
        return model in node.state.in_flight_by_model or (job is not None and job.status.running)

    def last_used(self, node: FleetNode, model: str) -> float | None:
        """Seconds since the epoch: now while requests run, otherwise the end of the last answer."""
        clock = self._fleet.clock
        if model in node.state.in_flight_by_model:
            return clock.epoch
        record = node.state.records.get(model)
        return clock.epoch - (clock.now - record.at) if record is not None and record.at else None

    def look(self) -> None:
        """Notes what probes have seen in memory, so that a model that nobody asks for has an idle time too."""
        now = self._fleet.clock.wall()
        held = {(node.id, model) for node in self._fleet.nodes.values() for model in node.state.loaded or ()}
        self._seen = {key: self._seen.get(key, now) for key in held}

    async def _held(self) -> dict[tuple[str, str], LoadedModel]:
        held: dict[tuple[str, str], LoadedModel] = {}
        for node, row in await self._library.loaded(ASK_SECONDS):
            name = self._fleet.catalogue.name_at(row.name, node.id) or row.name
            held[node.id, name] = row
        self._fleet.clock.tick()
        return held

    def _loaded_at(self, node_id: str, model: str) -> float:
        job = self._warmups.jobs.get((node_id, model))
        return job.ended if job is not None and job.status is WarmupStatus.LOADED else 0.0

    def _place(self, node: FleetNode, model: str, row: LoadedModel | None) -> Place:
        job = self._warmups.jobs.get((node.id, model))
        tells = Dialect.OLLAMA in node.dialects or node.spec.kind is NodeKind.LLAMACPP
        # A server that is down holds nothing that anybody could use.
        loaded = (row is not None and node.healthy) if tells or row is not None else None
        return Place(
            node.id,
            loaded,
            loading=(job is not None and job.status.running) or (not loaded and model in node.state.loading),
            always=node.spec.kind is NodeKind.LLAMACPP,
            in_use=node.state.in_flight_by_model.get(model, 0),
            last_used=self.last_used(node, model),
            load_time=node.state.load_cost.get(model),
            vram=_vram(row) if row is not None else None,
            expires_at=str(row.raw.get("expires_at") or "") if row is not None else "",
            failure=job.reason if job is not None and job.status is WarmupStatus.FAILED and not loaded else "",
        )


def _vram(row: LoadedModel) -> int | None:
    told = row.raw.get("size_vram", row.size_vram or None)
    return told if isinstance(told, int) else None
