"""The places that worker nodes have for tasks, and which node gets which task.

Two of the policies' names mean something of their own for workers: `resource_aware` takes the node with most of its
processor, memory and GPU free, `latency_optimized` the one that answers fastest. All others are the gateway's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from orchestrator.domain.placement import Placement, PlacementRequest, Roster
from orchestrator.domain.placement.node_state import NodeState
from orchestrator.domain.placement.record import Outcome
from orchestrator.domain.placement.request import CandidateSet
from orchestrator.domain.task.requirements import MAX_LOAD, TaskClass, never, not_now
from orchestrator.domain.worker import LOCAL_WORKER, Worker, WorkerMode

RESOURCE_AWARE = "resource_aware"
LATENCY_OPTIMIZED = "latency_optimized"
LEAST_WEIGHT = 0.05
HERE = "the service itself runs tasks of this type"
MOST_SETS = 5_000  # classes whose candidates are remembered


@dataclass(slots=True)
class Seat:
    """One worker node and its places. `credit` is what a node that pulls has asked for and not got yet."""

    worker: Worker
    state: NodeState
    running: dict[str, int]  # task -> attempt
    credit: int = 0

    @property
    def most(self) -> int:
        slots = self.worker.slots
        return min(slots, len(self.running) + self.credit) if self.worker.mode is WorkerMode.PULL else slots

    @property
    def weight(self) -> float:
        """Its share in turns by weight: what is free of it, times how reliable it is."""
        return max((1.0 - self.worker.load_score) * self.worker.reliability, LEAST_WEIGHT)


class Seats:
    """Who has room. Not shared between threads."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement
        self.by_id: dict[str, Seat] = {}
        self._strays: dict[str, str] = {}  # tasks of nodes that are not known here, and their nodes
        self._roster = Roster()
        self._sets: dict[TaskClass, CandidateSet | None] = {}
        self._orders: dict[str, list[NodeState]] = {}
        self._by_usage = False  # some class asks for a free processor, free memory or another load

    # Nodes

    def put(self, worker: Worker) -> None:
        """A node came, or what is known of it changed."""
        seat = self.by_id.get(worker.id)
        if seat is None:
            state = self._roster.join(worker.id, max(worker.slots, 1))
            seat = self.by_id[worker.id] = Seat(worker, state, {})
            self._forget_sets()
        elif _static(seat.worker) != _static(worker) or (self._by_usage and _usage(seat.worker) != _usage(worker)):
            self._forget_sets()
        seat.worker = worker
        self._orders.clear()
        self._resize(seat)

    def remove(self, worker_id: str) -> Seat | None:
        """A node left."""
        seat = self.by_id.pop(worker_id, None)
        if seat is not None:
            self._roster.leave(seat.state)
            self.placement.forget(worker_id)
            self._forget_sets()
        return seat

    def offer(self, worker_id: str, credit: int) -> None:
        """A node that pulls has asked for so many tasks; 0 when it no longer waits."""
        seat = self.by_id[worker_id]
        seat.credit = credit
        self._resize(seat)

    # Tasks

    def has_room(self, of: TaskClass) -> bool:
        """Whether some node could take a task of this class now."""
        found = self._candidates(of)
        return found is not None and bool(found.mask & self._roster.room)

    def choose(self, of: TaskClass, now: float) -> Seat | None:
        """The node for a task of this class at `now` (monotonic seconds); None when none has room."""
        found = self._candidates(of)
        if found is None:
            return None
        pool = found.mask & self._roster.room
        if not pool:
            return None
        preferred = of.requirements.preferred_nodes
        if preferred:
            for worker_id in sorted(preferred):
                seat = self.by_id.get(worker_id)
                if seat is not None and seat.state.bit & pool:
                    return seat
        state = self._best(found, pool, now) or self.placement.choose(found, _request(of.type), now)
        return self.by_id[state.id] if state is not None else None

    def take(self, seat: Seat, task_id: str, attempt: int, task_type: str) -> None:
        seat.running[task_id] = attempt
        seat.credit = max(seat.credit - 1, 0)
        seat.state.begin(task_type)

    def stray(self, worker_id: str, task_id: str) -> None:
        """The task runs on a node that is not known here."""
        self._strays[task_id] = worker_id

    def given(self, worker_id: str) -> list[str]:
        """The tasks that a node has."""
        seat = self.by_id.get(worker_id)
        strays = [task_id for task_id, node in self._strays.items() if node == worker_id]
        return [*seat.running, *strays] if seat is not None else strays

    def all_given(self) -> list[str]:
        """The tasks that nodes have."""
        return [*(task_id for seat in self.by_id.values() for task_id in seat.running), *self._strays]

    def leave(self, worker_id: str, task_id: str, task_type: str, outcome: Outcome, now: float) -> bool:
        """The task is over on this node, in whatever way. False when it did not run there."""
        seat = self.by_id.get(worker_id)
        if seat is None or seat.running.pop(task_id, None) is None:
            self._strays.pop(task_id, None)
            return False
        seat.state.finish(task_type, outcome, now)
        if seat.worker.mode is WorkerMode.PULL:
            self._resize(seat)
        return True

    def reasons(self, of: TaskClass) -> Mapping[str, str]:
        """For each node why it cannot take a task of this class now; '' where it can."""
        reasons = {worker_id: self._reason(of, seat) for worker_id, seat in self.by_id.items()}
        own = self.by_id.get(LOCAL_WORKER)
        if own is not None and not (own.worker.active and own.worker.takes(of.type)):
            del reasons[LOCAL_WORKER]
        elif own is not None and _suits(of, own.worker):
            reasons = {one: reason or (one != LOCAL_WORKER and HERE) or "" for one, reason in reasons.items()}
        return reasons

    def _reason(self, of: TaskClass, seat: Seat) -> str:
        worker = seat.worker
        if not worker.active:
            return f"is {worker.status}"
        if not worker.takes(of.type):
            return f"does not serve the type {of.type}"
        static = never(of.requirements, worker) or not_now(of.requirements, worker)
        if static:
            return static
        if len(seat.running) >= worker.slots:
            return f"all {worker.slots} places are taken"
        if worker.mode is WorkerMode.PULL and not seat.credit:
            return "has not asked for tasks just now"
        return ""

    def _best(self, found: CandidateSet, pool: int, now: float) -> NodeState | None:
        name = self.placement.policy
        if name not in (RESOURCE_AWARE, LATENCY_OPTIMIZED):
            return None
        self._roster.settle(now)
        open_pool = pool & ~self._roster.unavailable(found.model) or pool
        order = self._orders.get(name)
        if order is None:
            key = _free if name == RESOURCE_AWARE else _latency
            seats = sorted(self.by_id.values(), key=lambda seat: key(seat.worker))
            order = self._orders[name] = [seat.state for seat in seats]
        return next((state for state in order if state.bit & open_pool), None)

    def _candidates(self, of: TaskClass) -> CandidateSet | None:
        if of not in self._sets:
            if len(self._sets) >= MOST_SETS:
                self._sets.clear()
            seats = [seat for seat in self.by_id.values() if _suits(of, seat.worker)]
            own = [seat for seat in seats if seat.worker.mode is WorkerMode.LOCAL]
            nodes = [seat.state for seat in own or seats]
            self._sets[of] = CandidateSet(nodes, of.type) if nodes else None
            wanted = of.requirements
            self._by_usage |= bool(wanted.min_cpu or wanted.min_memory) or wanted.max_load != MAX_LOAD
        return self._sets[of]

    def _forget_sets(self) -> None:
        self._sets.clear()
        self._orders.clear()

    def _resize(self, seat: Seat) -> None:
        seat.state.resize(seat.most, seat.weight)


@lru_cache(1_000)
def _request(task_type: str) -> PlacementRequest:
    return PlacementRequest(task_type, may_wait=False)


def _suits(of: TaskClass, worker: Worker) -> bool:
    return (
        worker.active
        and worker.takes(of.type)
        and not never(of.requirements, worker)
        and not not_now(of.requirements, worker)
    )


def _static(worker: Worker) -> tuple[object, ...]:
    """What decides about most classes."""
    crowded = worker.load_score > MAX_LOAD
    return worker.active, worker.task_types, worker.capabilities, worker.labels, crowded


def _usage(worker: Worker) -> tuple[float, ...]:
    return worker.cpu_usage, worker.memory_usage, worker.load_score


def _free(worker: Worker) -> float:
    """Lower is freer: the mean part of processor, memory and GPU that is in use."""
    return worker.cpu_usage + worker.memory_usage + worker.gpu_usage


def _latency(worker: Worker) -> float:
    return worker.network_latency
