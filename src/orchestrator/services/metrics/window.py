"""What happened lately, from the records of finished requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from time import sleep

from orchestrator.ports.record import RequestRecord
from orchestrator.ports.telemetry import Family
from orchestrator.services.metrics.catalogue import METRICS, WINDOWS
from orchestrator.services.metrics.tally import failed

Key = tuple[str, str]  # server, model
NOWHERE: Key = ("", "")  # requests that no node had
MINUTE, RECENT = WINDOWS["1m"], WINDOWS["5m"]
BREATH = 256  # records


class _Walk:
    """Goes through the history once, newest first."""

    def __init__(self, history: Sequence[RequestRecord], now: float, label: Callable[[str], str]) -> None:
        self._history = history
        self._now = now
        self._label = label
        self._next = len(history) - 1

    def until(self, seconds: float, durations: dict[Key, list[float]]) -> dict[Key, Lately]:
        """What ended within so many seconds, and was not told before."""
        found: dict[Key, Lately] = {}
        history, limit, index = self._history, self._now - seconds, self._next
        while index >= 0 and (record := history[index]).at + record.duration >= limit:
            # Without a node there is no row: the model may then be anything that a client wrote.
            key = (record.node, self._label(record.model)) if record.node else NOWHERE
            one = found.get(key)
            if one is None:
                one = found[key] = Lately()
            one.requests += 1
            if record.outcome == "ok":
                one.answered += 1
                one.latency += record.duration
                one.tokens += record.completion_tokens
                durations.setdefault(key, []).append(record.duration)
            elif failed(record):
                one.errors += 1
            index -= 1
            if not index % BREATH:
                sleep(0)  # this runs beside the event loop, which gets its turn at the interpreter here
        self._next = index
        return found


class Lately:
    """One node and model, or all of them together, within one window."""

    __slots__ = ("answered", "errors", "latency", "requests", "tokens")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.answered = 0
        self.latency = 0.0  # seconds
        self.tokens = 0

    def take(self, other: Lately) -> None:
        self.requests += other.requests
        self.errors += other.errors
        self.answered += other.answered
        self.latency += other.latency
        self.tokens += other.tokens


class Windows:
    """The windows over a history that is in the order in which requests ended."""

    def __init__(
        self, history: Sequence[RequestRecord], now: float, since: float, label: Callable[[str], str], *, whole: bool
    ) -> None:
        """Times in seconds since the epoch; `since` is the start of the service. `label` names a model in metrics.
        `whole`: the history holds everything since then, because it never was full."""
        self.windows: dict[str, dict[Key, Lately]] = {}
        self.overall: dict[str, Lately] = {}
        self.durations: dict[Key, list[float]] = {}  # seconds, of the longest window
        oldest = since if whole or not history else history[0].at + history[0].duration
        self.reach = max(now - oldest, 0.0)
        walk = _Walk(history, now, label)
        pairs: dict[Key, Lately] = {}
        overall = Lately()
        for name, seconds in WINDOWS.items():  # the shortest first; each holds the one before
            for key, found in walk.until(seconds, self.durations).items():
                overall.take(found)
                if key != NOWHERE:
                    pairs.setdefault(key, Lately()).take(found)
            self.windows[name] = {key: _copy(one) for key, one in pairs.items()}
            self.overall[name] = _copy(overall)

    def covered(self, seconds: float) -> float:
        return min(seconds, self.reach)

    def families(self) -> list[Family]:
        """The contract's windowed numbers."""
        minute, recent = self.overall["1m"], self.overall["5m"]
        found = [
            _plain("orchestrator_requests_per_second", _ratio(minute.requests, self.covered(MINUTE))),
            _plain("orchestrator_avg_latency_ms", 1000 * _ratio(recent.latency, recent.answered)),
            _plain("orchestrator_error_rate", _ratio(recent.errors, recent.requests)),
        ]
        longest = self.windows["1h"]
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            found.append(_pairs(f"orchestrator_latency_{name}_ms", self._quantiles(q)))
        rates = {key: 1 - _ratio(one.errors, one.requests) for key, one in longest.items()}
        per_minute = {
            key: _ratio(60.0 * self.windows["5m"].get(key, Lately()).requests, self.covered(RECENT)) for key in longest
        }
        tokens = {key: one.tokens / one.answered for key, one in longest.items() if one.answered}
        found.append(_pairs("orchestrator_success_rate", rates))
        found.append(_pairs("orchestrator_throughput_per_min", per_minute))
        found.append(_pairs("orchestrator_avg_tokens_per_request", tokens))
        return found + self._per_window()

    def _quantiles(self, q: float) -> dict[Key, float]:
        """The nearest rank; nothing is invented between two observations."""
        found = {}
        for key, values in self.durations.items():
            if key == NOWHERE:
                continue
            values.sort()
            found[key] = 1000 * values[ceil(q * len(values)) - 1]
        return found

    def _per_window(self) -> list[Family]:
        rows: dict[str, list[tuple[tuple[str, ...], float]]] = {
            "requests": [], "errors": [], "latency_sum_ms": [], "latency_count": []
        }  # fmt: skip
        for name, pairs in self.windows.items():
            for key, one in pairs.items():
                labels = (*key, name)
                rows["requests"].append((labels, one.requests))
                rows["errors"].append((labels, one.errors))
                rows["latency_sum_ms"].append((labels, 1000 * one.latency))
                rows["latency_count"].append((labels, one.answered))
        covered = [((name,), self.covered(seconds)) for name, seconds in WINDOWS.items()]
        families = [
            Family(name, METRICS[name], samples)
            for name, samples in ((f"orchestrator_window_{row}", samples) for row, samples in rows.items())
        ]
        name = "orchestrator_window_covered_seconds"
        return [*families, Family(name, METRICS[name], covered)]


def _copy(one: Lately) -> Lately:
    fresh = Lately()
    fresh.take(one)
    return fresh


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _plain(name: str, value: float) -> Family:
    return Family(name, METRICS[name], [((), value)])


def _pairs(name: str, values: dict[Key, float]) -> Family:
    return Family(name, METRICS[name], list(values.items()))
