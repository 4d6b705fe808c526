"""What the sampled decisions say of the policy. A thousand of them are decoded and gone through beside the event
loop; the newest `MOST` of a window count, and every answer says how many that were."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from orchestrator.domain.placement import PolicyOptions
from orchestrator.domain.regression import correlation
from orchestrator.ports.history import MINUTE, Candidate, Decision
from orchestrator.services.gateway.score import PARTS, POLICY
from orchestrator.services.history.analytics import Analytics
from orchestrator.services.history.window import Window

T = TypeVar("T")
MOST = 1_000
_TREND = ("latencyScore", "successRateScore", "loadScore", "capacityScore")
_MEASURED = frozenset({"p95Latency", "successRate", "inFlight", "throughput"})
_SCORES = frozenset(PARTS.values())
_IMPACT = {"success_rate": "successRate", "circuit_breaker": "circuitBreaker"}


@dataclass(frozen=True, slots=True)
class Sample:
    """The decisions that an answer is computed from, oldest first."""

    decisions: Sequence[Decision]
    window: Window

    def told(self) -> dict[str, Any]:
        """How much of the window the figures cover."""
        since = self.decisions[0].at if len(self.decisions) >= MOST else self.window.since
        return {
            "considered": len(self.decisions),
            "truncated": len(self.decisions) >= MOST,
            "from": round(since * 1000),
            "to": round(self.window.until * 1000),
        }


async def sample(analytics: Analytics, window: Window, *, model: str | None = None, node: str | None = None) -> Sample:
    store = await analytics.caught_up()
    found = await store.decisions(since=window.since, until=window.until, limit=MOST, node=node, model=model)
    return Sample(found[::-1], window)


async def computed(work: Callable[[Sample], T], of: Sample) -> T:
    return await asyncio.to_thread(work, of)


def shown(decision: Decision) -> dict[str, Any]:
    return {
        "timestamp": round(decision.at * 1000),
        "requestId": decision.request_id,
        "model": decision.model,
        "selectedServerId": decision.node or None,
        "algorithm": decision.policy,
        "selectionReason": decision.reason,
        "candidates": [_candidate(one) for one in decision.candidates],
    }


def _candidate(one: Candidate) -> dict[str, Any]:
    told: dict[str, Any] = {
        "serverId": one.node,
        "totalScore": one.score,
        "breakdown": {name: value for name, value in one.parts.items() if name in _SCORES},
        "metrics": {name: value for name, value in one.parts.items() if name in _MEASURED},
        "policy": {name[7:]: value for name, value in one.parts.items() if name[:7] == "policy."},
    }
    if one.reason:
        told["reason"] = one.reason
    return told


def trend(of: Sample, node: str) -> dict[str, Any]:
    """The scores of one node as a candidate, over time. A position counts from 1, among those that could be had."""
    times: list[int] = []
    scores: list[float] = []
    parts: dict[str, list[float | None]] = {name: [] for name in _TREND}
    positions: list[int] = []
    for one in of.decisions:
        usable = [other for other in one.candidates if not other.reason]
        place = next((index for index, other in enumerate(usable, 1) if other.node == node), None)
        if place is None or usable[place - 1].score is None:
            continue
        candidate = usable[place - 1]
        times.append(round(one.at * 1000))
        scores.append(candidate.score or 0.0)
        positions.append(place)
        for name in _TREND:
            parts[name].append(candidate.parts.get(name))
    return {
        "timestamps": times,
        "scores": scores,
        **{f"{name}s": values for name, values in parts.items()},
        "selectionCount": sum(one.node == node for one in of.decisions),
        "avgPosition": round(sum(positions) / len(positions), 3) if positions else None,
    }


def selections(of: Sample) -> list[dict[str, Any]]:
    models: dict[str, Counter[str]] = {}
    scores: dict[str, list[float]] = {}
    for one in of.decisions:
        models.setdefault(one.node, Counter())[one.model] += 1
        scores.setdefault(one.node, []).extend(
            other.score for other in one.candidates if other.node == one.node and other.score is not None
        )
    return [
        {
            "serverId": node,
            "totalSelections": by_model.total(),
            "byModel": dict(by_model.most_common()),
            "avgScore": _mean(scores[node]),
        }
        for node, by_model in sorted(models.items(), key=lambda item: (-item[1].total(), item[0]))
    ]


def algorithms(of: Sample) -> dict[str, dict[str, Any]]:
    counts = Counter(one.policy for one in of.decisions)
    total = counts.total()
    return {name: {"count": count, "percentage": round(count / total * 100, 2)} for name, count in counts.most_common()}


def score_timeline(of: Sample, minutes: int) -> list[dict[str, Any]]:
    """The scores of all candidates by interval; intervals without decisions have no point."""
    step = minutes * MINUTE
    scores: dict[int, list[float]] = {}
    nodes: dict[int, set[str]] = {}
    for one in of.decisions:
        start = int(one.at // step * step)
        for other in one.candidates:
            if other.score is not None:
                scores.setdefault(start, []).append(other.score)
                nodes.setdefault(start, set()).add(other.node)
    return [
        {
            "timestamp": start * 1000,
            "avgScore": _mean(values),
            "minScore": min(values),
            "maxScore": max(values),
            "serverCount": len(nodes[start]),
        }
        for start, values in sorted(scores.items())
    ]


def impact(of: Sample, options: PolicyOptions, policy: str) -> dict[str, Any]:
    """How each part of the score goes with being chosen: Pearson's r between the part and 1 or 0, over the candidates
    of decisions with a choice; null where a part never varied. Weights are those in force of the policy `weighted`."""
    chances = [
        (other.parts, float(other.node == one.node))
        for one in of.decisions
        for usable in ([other for other in one.candidates if not other.reason],)
        if len(usable) > 1
        for other in usable
    ]
    found = {}
    for part, name in PARTS.items():
        points = [(parts[name], chosen) for parts, chosen in chances if name in parts]
        r = correlation(points)
        found[_IMPACT.get(part, part)] = {
            "correlation": None if r is None else round(r, 4),
            "weight": getattr(options.weights, part),
            "samples": len(points),
        }
    return {"impact": found, "policy": policy, "weightsDecide": policy == POLICY}


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 2) if values else None
