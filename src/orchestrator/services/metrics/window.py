"""What happened lately, from the records of finished requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from orchestrator.ports.telemetry import Family
from orchestrator.services.gateway.record import RequestRecord
from orchestrator.services.metrics.catalogue import METRICS, WINDOWS
from orchestrator.services.metrics.tally import failed

Key = tuple[str, str]  # server, model
MINUTE, RECENT, LONGEST = WINDOWS["1m"], WINDOWS["5m"], WINDOWS["1h"]


class Lately:
    """One node and model, or all of them together, within one window."""

    __slots__ = ("answered", "errors", "latency", "requests", "tokens")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.answered = 0
        self.latency = 0.0  # seconds
        self.tokens = 0


class Windows:
    """The windows over a history that is in the order in which requests ended."""

    def __init__(
        self, history: Sequence[RequestRecord], now: float, since: float, label: Callable[[str], str], *, whole: bool
    ) -> None:
        """Times in seconds since the epoch; `since` is the start of the service. `label` names a model in metrics.
        `whole`: the history holds everything since then, because it never was full."""
        self.windows: dict[str, dict[Key, Lately]] = {name: {} for name in WINDOWS}
        self.overall: dict[str, Lately] = {name: Lately() for name in WINDOWS}
        self.durations: dict[Key, list[float]] = {}  # seconds, of the longest window
        oldest = since if whole or not history else history[0].at + history[0].duration
        self.reach = max(now - oldest, 0.0)
        for record in reversed(history):
            age = now - record.at - record.duration
            if age > LONGEST:
                break
            # Without a node there is no row: the model may then be anything that a client wrote.
            self._add(record, age, (record.node, label(record.model)) if record.node else None)

    def _add(self, record: RequestRecord, age: float, key: Key | None) -> None:
        error = failed(record)
        answered = record.outcome == "ok"
        for name, seconds in WINDOWS.items():
            if age > seconds:
                continue
            pair = self.windows[name].setdefault(key, Lately()) if key is not None else None
            for one in (self.overall[name], pair):
                if one is None:
                    continue
                one.requests += 1
                one.errors += error
                if answered:
                    one.answered += 1
                    one.latency += record.duration
                    one.tokens += record.completion_tokens
        if answered and key is not None:
            self.durations.setdefault(key, []).append(record.duration)

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


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _plain(name: str, value: float) -> Family:
    return Family(name, METRICS[name], [((), value)])


def _pairs(name: str, values: dict[Key, float]) -> Family:
    return Family(name, METRICS[name], list(values.items()))
