"""Nodes with little memory on a virtual clock: models are loaded, wait for room, and put others out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush

from orchestrator.domain.placement import (
    CandidateSet,
    NodeState,
    Outcome,
    Placement,
    PlacementRequest,
    Residency,
    Roster,
)

SIZE = 4_000_000_000


@dataclass(eq=False)
class Task:
    """One request. `begun` is when a node took it, `first` when its first token came."""

    model: str
    at: float
    begun: float = 0.0
    first: float = 0.0


@dataclass(eq=False)
class Server:
    """A node's memory, as Ollama keeps it: the least recently used idle model goes; if none is idle, a load waits."""

    state: NodeState
    room: int
    held: dict[str, int] = field(default_factory=dict)  # model -> users, the least recently used first
    loading: dict[str, list[Task]] = field(default_factory=dict)
    blocked: deque[str] = field(default_factory=deque)  # loads for which there is no room yet
    loads: int = 0

    def make_room(self) -> bool:
        while len(self.held) + len(self.loading) - len(self.blocked) > self.room:
            idle = next((model for model, users in self.held.items() if not users), None)
            if idle is None:
                return False
            del self.held[idle]
        return True

    def use(self, model: str, users: int) -> None:
        self.held[model] = self.held.pop(model) + users


class MemoryFleet:
    """`load_s`, `ttft_s` and `total_s` are what a load and an answer take; probes tell the truth every `probe_s`."""

    def __init__(
        self,
        policy: str,
        rand: object,
        *,
        nodes: int = 3,
        room: int = 2,
        slots: int = 4,
        load_s: float = 4.0,
        ttft_s: float = 0.2,
        total_s: float = 1.5,
        probe_s: float = 5.0,
    ) -> None:
        roster = Roster()
        self.servers = [Server(roster.join(f"n{i}", slots), room) for i in range(nodes)]
        self.by_state = {server.state: server for server in self.servers}
        for server in self.servers:
            server.state.set_loaded({})
        self.placement = Placement(policy, rand=rand)  # type: ignore[arg-type]
        self.load_s, self.ttft_s, self.total_s, self.probe_s = load_s, ttft_s, total_s, probe_s
        self.now = 0.0
        self.done: list[Task] = []
        self._sets: dict[str, CandidateSet] = {}
        self._waiting: dict[str, deque[Task]] = {}
        self._events: list[tuple[float, int, str, Server | None, Task | str]] = []
        self._serial = 0

    @property
    def loads(self) -> int:
        return sum(server.loads for server in self.servers)

    def ttft(self, share: float) -> float:
        """A quantile of the time from arrival to the first token."""
        times = sorted(task.first - task.at for task in self.done)
        return times[min(int(len(times) * share), len(times) - 1)]

    def run(self, arrivals: list[tuple[float, str]]) -> None:
        for at, model in arrivals:
            self._at(at, "arrive", None, Task(model, at))
        tick = 0.1
        while tick < arrivals[-1][0] + 60:
            self._at(tick, "tick", None, "")
            tick += 0.1
        probe = self.probe_s
        while probe < arrivals[-1][0] + 60:
            for server in self.servers:
                self._at(probe, "probe", server, "")
            probe += self.probe_s
        while self._events:
            self.now, _, kind, server, what = heappop(self._events)
            getattr(self, f"_{kind}")(server, what)
        assert len(self.done) == len(arrivals)

    def _at(self, when: float, kind: str, server: Server | None, what: Task | str) -> None:
        self._serial += 1
        heappush(self._events, (when, self._serial, kind, server, what))

    def _arrive(self, _: Server | None, task: Task) -> None:
        queue = self._waiting.setdefault(task.model, deque())
        queue.append(task)
        if len(queue) == 1:
            self._dispatch(task.model)

    def _tick(self, *_: object) -> None:
        for model in self._waiting:
            self._dispatch(model)

    def _probe(self, server: Server, _: object) -> None:
        server.state.set_loaded({model: Residency(float(SIZE)) for model in server.held})

    def _dispatch(self, model: str) -> None:
        queue = self._waiting[model]
        candidates = self._sets.get(model)
        if candidates is None:
            candidates = self._sets[model] = CandidateSet([one.state for one in self.servers], model, size=SIZE)
        while queue:
            task = queue[0]
            asked = PlacementRequest(model, waiting=len(queue) - 1, waited_s=self.now - task.at)
            state = self.placement.choose(candidates, asked, self.now)
            if state is None:
                return
            queue.popleft()
            state.begin(model)
            task.begun = self.now
            self._serve(self.by_state[state], task)

    def _serve(self, server: Server, task: Task) -> None:
        if task.model in server.held:
            self._answer(server, task)
        elif task.model in server.loading:
            server.loading[task.model].append(task)
        else:
            server.loading[task.model] = [task]
            self._load(server, task.model)

    def _load(self, server: Server, model: str) -> None:
        if server.make_room():
            self._at(self.now + self.load_s, "loaded", server, model)
        else:
            server.blocked.append(model)

    def _loaded(self, server: Server, model: str) -> None:
        server.loads += 1
        server.held[model] = 0
        for task in server.loading.pop(model):
            self._answer(server, task)

    def _answer(self, server: Server, task: Task) -> None:
        server.use(task.model, 1)
        task.first = self.now + self.ttft_s
        self._at(self.now + self.total_s, "finish", server, task)

    def _finish(self, server: Server, task: Task) -> None:
        server.use(task.model, -1)
        self.done.append(task)
        outcome = Outcome(True, self.now - task.begun, task.first - task.begun, 50, 200)
        server.state.finish(task.model, outcome, self.now)
        if server.blocked:
            self._load(server, server.blocked.popleft())
        self._tick()
