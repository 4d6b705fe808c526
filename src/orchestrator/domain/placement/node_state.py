"""The live numbers of one node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from orchestrator.domain.placement.bits import only
from orchestrator.domain.placement.record import Outcome, Record

if TYPE_CHECKING:
    from orchestrator.domain.placement.roster import Roster

LOAD_COST_SMOOTHING = 0.5


@dataclass(frozen=True, slots=True)
class Residency:
    """One model in a node's memory: bytes of VRAM (0 unknown) and when it leaves (monotonic seconds, None: stays)."""

    vram: float = 0.0
    expires: float | None = None


class NodeState:
    """What one node does now and how it did lately. Made by `Roster.join`; changed only through its methods.

    `loaded` None means that the server does not tell. `rests` maps a model ("" for all) to the end of its rest;
    `trials` are the models that must show one success before they get more than one request at a time.
    """

    __slots__ = (
        "bit",
        "capacity",
        "cold_starts",
        "crowded",
        "held",
        "id",
        "in_flight",
        "in_flight_by_model",
        "index",
        "last_failure",
        "load_cost",
        "loaded",
        "loading",
        "max_concurrency",
        "most_held",
        "records",
        "reported",
        "reserved_tokens",
        "rests",
        "roster",
        "streak",
        "trials",
        "vram_free",
        "vram_total",
        "weight",
    )

    def __init__(self, roster: Roster, index: int, id: str, max_concurrency: int, weight: float) -> None:
        self.roster = roster
        self.index = index
        self.bit = only(index)
        self.id = id
        self.max_concurrency = max_concurrency
        self.capacity = max(max_concurrency, 1)  # what shares are of: a node may have no slot for the moment
        self.weight = weight
        self.in_flight = 0
        self.in_flight_by_model: dict[str, int] = {}
        self.reserved_tokens = 0
        self.loaded: dict[str, Residency] | None = None
        self.loading: set[str] = set()
        self.reported = 0  # models in the last report, and their bytes; what began to load since is in `loaded` only
        self.held = 0.0
        self.most_held = 0.0  # bytes that were in memory at once some time: so much room there is, told or not
        self.crowded = False  # it was seen to put out one model for another
        self.load_cost: dict[str, float] = {}  # s, measured
        self.cold_starts: dict[str, int] = {}  # requests that came when the model was not in memory
        self.vram_total: float | None = None  # bytes
        self.vram_free: float | None = None
        self.records: dict[str, Record] = {}
        self.streak = 0  # unanswered attempts in a row, of any model
        self.last_failure: float | None = None
        self.rests: dict[str, float] = {}
        self.trials: set[str] = set()

    def __repr__(self) -> str:
        return f"NodeState({self.id!r}, in_flight={self.in_flight}/{self.max_concurrency})"

    def begin(self, model: str, tokens: int = 0) -> None:
        """Take a slot. `tokens` is what the request is expected to use; give the same number to `finish`."""
        count = self.in_flight + 1
        self.in_flight = count
        by_model = self.in_flight_by_model
        by_model[model] = by_model.get(model, 0) + 1
        self.reserved_tokens += tokens
        roster = self.roster
        if self.bit:
            roster.in_flight[model] = roster.in_flight.get(model, 0) + 1
        if count == self.max_concurrency:
            roster.room &= ~self.bit
        if self.loaded is not None and model not in self.loaded:
            self.loading.add(model)
            self.cold_starts[model] = self.cold_starts.get(model, 0) + 1
            self.loaded[model] = Residency()
            roster.warm[model] = roster.warm.get(model, 0) | self.bit
            roster.empty &= ~self.bit
        if self.trials:
            self._take_trial(model)
        roster.sequence += 1
        roster.changes.append(self.index)

    def finish(self, model: str, outcome: Outcome, now: float, tokens: int = 0) -> None:
        """Give the slot back and learn from the outcome. A finish without its begin changes nothing."""
        by_model = self.in_flight_by_model
        count = by_model.get(model, 0)
        if not count:
            return
        if count == 1:
            del by_model[model]
        else:
            by_model[model] = count - 1
        roster = self.roster
        if self.bit:
            roster.in_flight[model] -= 1
        busy = self.in_flight
        self.in_flight = busy - 1
        if busy == self.max_concurrency:
            roster.room |= self.bit
        left = self.reserved_tokens - tokens
        self.reserved_tokens = left if left > 0 else 0
        if self.trials:
            self._end_trial(model)
        if outcome.ok is False:
            self._fail(model, outcome, now)
        elif outcome.ok and outcome.status < 400:
            record = self.records.get(model)
            if record is None:
                record = self.records[model] = Record()
            record.succeed(now, outcome, busy / self.capacity, tokens)
            self.streak = 0
            if self.trials or self.rests:
                self._recover(model)
            if model in self.loading:
                self.loading.discard(model)
                self.learn_load(model, outcome.duration_s if outcome.ttft_s is None else outcome.ttft_s)
        roster.sequence += 1
        roster.changes.append(self.index)

    def record(self, model: str) -> Record:
        """The model's figures here, made when first asked for."""
        return self.records.setdefault(model, Record())

    def resize(self, max_concurrency: int, weight: float | None = None) -> None:
        """Change the limits of a running node. Lists of candidates that use weights must be built anew."""
        self.max_concurrency = max_concurrency
        self.capacity = max(max_concurrency, 1)
        if weight is not None:
            self.weight = weight
        if self.in_flight < max_concurrency:
            self.roster.room |= self.bit
        else:
            self.roster.room &= ~self.bit
        self.roster.touch(self.index)

    def set_loaded(self, loaded: Mapping[str, Residency] | None, asked: float = inf) -> None:
        """Take over a probe's report. Models with running requests stay: the report may be older than they are. So do
        those that have answered since the probe `asked` (monotonic seconds)."""
        roster = self.roster
        before = self.loaded or {}
        for model in before:
            left = roster.warm.get(model, 0) & ~self.bit
            if left:
                roster.warm[model] = left
            else:
                roster.warm.pop(model, None)
        if loaded is None:
            self.loaded = None
            roster.untold |= self.bit
            roster.empty &= ~self.bit
        else:
            held = dict(loaded)
            self.reported = len(held)
            self.held = sum(residency.vram for residency in held.values())
            self.most_held = max(self.most_held, self.held)
            if not self.crowded and not before.keys() <= held.keys():
                # A model left. If one that was not there at the last report came, it had to.
                self.crowded = any(model not in before or not before[model].vram for model in loaded)
            for model in self.in_flight_by_model:
                held.setdefault(model, Residency())
            for model in before.keys() - held.keys():
                record = self.records.get(model)
                if record is not None and record.at >= asked:
                    held[model] = before[model]
            self.loading.intersection_update(self.in_flight_by_model)  # who asked for the others has left
            self.loaded = held
            roster.untold &= ~self.bit
            roster.empty = roster.empty & ~self.bit if held else roster.empty | self.bit
            for model in held:
                roster.warm[model] = roster.warm.get(model, 0) | self.bit
        roster.touch(self.index)

    def set_memory(self, total: float | None, free: float | None) -> None:
        """VRAM in bytes, None where unknown."""
        self.vram_total = total
        self.vram_free = free
        self.roster.touch(self.index)

    def learn_load(self, model: str, seconds: float) -> None:
        """A load of the model took this long; a server that reports its own time (Ollama's `load_duration`) is best."""
        known = self.load_cost.get(model)
        seconds = seconds if known is None else known + (seconds - known) * LOAD_COST_SMOOTHING
        self.load_cost[model] = self.roster.load_cost[model] = seconds

    def forgive(self, model: str = "") -> None:
        """End the rest of one model, or of all: an operator reset a breaker, or a probe saw the node come back."""
        for name in [model] if model else list({*self.rests, *self.trials}):
            self.rests.pop(name, None)
            self.trials.discard(name)
            self.roster.resume(self, name)
        for record in [self.record(model)] if model else list(self.records.values()):
            record.streak = 0
            record.failure = 0.0
        self.streak = 0

    def _fail(self, model: str, outcome: Outcome, now: float) -> None:
        roster = self.roster
        record = self.record(model)
        record.fail(now)
        self.last_failure = now
        if record.streak >= 2:
            roster.rest(self, model, record.streak, now)
        if outcome.status == 0:
            self.streak += 1
            if self.streak >= 2:
                roster.rest(self, "", self.streak, now)
        if model in self.loading and model not in self.in_flight_by_model:
            self.loading.discard(model)
            if self.loaded is not None:
                self.loaded.pop(model, None)
            roster.warm[model] = roster.warm.get(model, 0) & ~self.bit

    def _take_trial(self, model: str) -> None:
        for name in (model, ""):
            if name in self.trials:
                self.roster.pause(self, name)

    def _end_trial(self, model: str) -> None:
        for name in (model, ""):
            if name in self.trials and name not in self.rests:
                self.roster.resume(self, name)

    def _recover(self, model: str) -> None:
        for name in (model, ""):
            self.trials.discard(name)
            if self.rests.pop(name, None) is not None:
                self.roster.resume(self, name)
