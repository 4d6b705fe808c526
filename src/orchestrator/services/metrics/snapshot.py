"""The numbers of one moment, copied from where they are counted. Costs the event loop a copy and nothing more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from orchestrator.domain.breaker import Breaker
from orchestrator.domain.breaker_policy import BreakerState
from orchestrator.domain.histogram import Histogram
from orchestrator.domain.node import AdminState
from orchestrator.ports.telemetry import Distribution, Family
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.services.fleet.node import FleetNode
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.metrics.catalogue import METRICS
from orchestrator.services.metrics.tally import Tally

MOST_MODELS = 500
OTHER = "other"
Samples = list[tuple[tuple[str, ...], float | Distribution]]


class ModelLabels:
    """Names for the model label: the first `limit` models keep theirs for good, the rest share `other`. A counter
    must never lose what it had, so the choice is never made anew."""

    def __init__(self, limit: int = MOST_MODELS) -> None:
        self._limit = limit
        self._names: set[str] = set()

    def __call__(self, model: str) -> str:
        names = self._names
        if model in names:
            return model
        if len(names) >= self._limit:
            return OTHER
        names.add(model)
        return model


class Traffics:
    """The traffic of one model on one node; more than one model where they share the label `other`."""

    __slots__ = ("duration", "numbers", "ttft")

    def __init__(self) -> None:
        self.numbers: Counter[str] = Counter()
        self.duration = Histogram()
        self.ttft = Histogram()


_OF_PAIR = {
    "orchestrator_server_requests_total": "requests",
    "orchestrator_server_errors_total": "errors",
    "orchestrator_server_cancelled_total": "cancelled",
    "orchestrator_prompt_tokens_total": "prompt_tokens",
    "orchestrator_completion_tokens_total": "completion_tokens",
    "orchestrator_estimated_tokens_total": "estimated_tokens",
    "orchestrator_streams_total": "streams",
    "orchestrator_stream_chunks_total": "chunks",
}


def snapshot(fleet: Fleet, gateway: Gateway, tally: Tally, label: ModelLabels) -> list[Family]:
    """Everything but the windows and the process."""
    return [
        *_requests(gateway, tally),
        *_queue(gateway, tally),
        *_fleet(fleet, tally, label),
        *_traffic(fleet, label),
    ]


def _requests(gateway: Gateway, tally: Tally) -> Iterable[Family]:
    yield single("orchestrator_requests_total", tally.requests)
    yield single("orchestrator_errors_total", tally.errors)
    yield single("orchestrator_tokens_generated_total", tally.tokens)
    yield single("orchestrator_cancelled_total", tally.cancelled)
    yield single("orchestrator_retries_total", tally.retries)
    yield single("orchestrator_failovers_total", tally.failovers)
    yield single("orchestrator_continuations_total", tally.continuations)
    yield single("orchestrator_active_requests", len(gateway.active))
    classes: Counter[tuple[str, ...]] = Counter()
    for (endpoint, status), count in gateway.outcomes.items():
        classes[endpoint, f"{status // 100}xx"] += count
    yield family("orchestrator_responses_total", list(classes.items()))
    yield family("orchestrator_request_errors_total", [((code,), count) for code, count in tally.codes.items()])
    yield family("orchestrator_attempt_failures_total", list(tally.failures.items()))


def _queue(gateway: Gateway, tally: Tally) -> Iterable[Family]:
    queue = gateway.queue
    yield single("orchestrator_queue_size", len(queue))
    yield single("orchestrator_queue_max_size", queue.policy.max_size)
    yield single("orchestrator_queue_paused", queue.paused)
    yield single("orchestrator_queue_queued_total", queue.total_queued)
    yield single("orchestrator_queue_served_total", queue.total_popped)
    yield single("orchestrator_queue_dropped_total", queue.total_dropped)
    yield family("orchestrator_queue_wait_seconds", [((), distribution(tally.queue_wait))])


def _fleet(fleet: Fleet, tally: Tally, label: ModelLabels) -> Iterable[Family]:
    nodes = fleet.nodes.values()
    yield single("orchestrator_servers", len(nodes))
    yield single("orchestrator_servers_healthy", sum(node.healthy for node in nodes))
    yield single("orchestrator_models", len(fleet.catalogue.by_model()))
    yield single("orchestrator_bans", len(fleet.bans))
    yield family("orchestrator_server_up", [((node.id,), float(node.healthy)) for node in nodes])
    yield family(
        "orchestrator_server_max_concurrency", [((node.id,), float(node.spec.max_concurrency)) for node in nodes]
    )
    yield family(
        "orchestrator_server_admin_state",
        [((node.id, state.value), float(state is node.spec.admin_state)) for node in nodes for state in AdminState],
    )
    yield family("orchestrator_in_flight_requests", _in_flight(nodes, label))
    yield family("orchestrator_circuit_breaker_state", _states(fleet.breakers().values(), label))
    changes: Counter[tuple[str, ...]] = Counter()
    for (node_id, model, state), count in tally.transitions.items():
        changes[node_id, label(model) if model else "", state] += count
    yield family("orchestrator_circuit_breaker_transitions_total", list(changes.items()))


def _in_flight(nodes: Iterable[FleetNode], label: ModelLabels) -> Samples:
    """A model that is idle on a node counts 0 there, so that a graph falls to 0 and does not just end."""
    counts: Counter[tuple[str, ...]] = Counter()
    for node in nodes:
        for model in node.pairs:
            counts[node.id, label(model)] += node.state.in_flight_by_model.get(model, 0)
    return list(counts.items())


def _states(breakers: Iterable[Breaker], label: ModelLabels) -> Samples:
    """Breakers of models without a label of their own are left out: their states cannot be added up."""
    samples: Samples = []
    for breaker in breakers:
        model = label(breaker.model) if breaker.model else ""
        if model == OTHER and breaker.model != OTHER:
            continue
        samples += [((breaker.node, model, state.value), float(state is breaker.state)) for state in BreakerState]
    return samples


def _traffic(fleet: Fleet, label: ModelLabels) -> Iterable[Family]:
    pairs: dict[tuple[str, ...], Traffics] = {}
    for node in fleet.nodes.values():
        for model, pair in node.pairs.items():
            known = pairs.setdefault((node.id, label(model)), Traffics())
            for name in _OF_PAIR.values():
                known.numbers[name] += getattr(pair.traffic, name)
            _merge(known.duration, pair.traffic.duration)
            _merge(known.ttft, pair.traffic.ttft)
    for metric, name in _OF_PAIR.items():
        yield family(metric, [(key, float(one.numbers[name])) for key, one in pairs.items()])
    yield family(
        "orchestrator_request_duration_seconds", [(key, distribution(one.duration)) for key, one in pairs.items()]
    )
    yield family(
        "orchestrator_time_to_first_token_seconds", [(key, distribution(one.ttft)) for key, one in pairs.items()]
    )


def _merge(into: Histogram, other: Histogram) -> None:
    into.counts = [a + b for a, b in zip(into.counts, other.counts, strict=True)]
    into.total += other.total


def distribution(histogram: Histogram) -> Distribution:
    return Distribution(histogram.bounds, tuple(histogram.counts), histogram.total)


def family(name: str, samples: Samples) -> Family:
    return Family(name, METRICS[name], samples)


def single(name: str, value: float) -> Family:
    """A family without labels."""
    return family(name, [((), float(value))])
