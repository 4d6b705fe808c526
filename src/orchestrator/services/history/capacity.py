"""How full the fleet is, was, and may become."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.node import AdminState
from orchestrator.domain.regression import TRUSTED, Line, fit
from orchestrator.ports.history import DAY, HOUR
from orchestrator.services.gateway.gateway import Gateway
from orchestrator.services.history.analytics import Analytics
from orchestrator.services.history.sums import grouped
from orchestrator.services.history.window import Window

HOURS = 24
FULL = 0.8  # predicted saturation from which more nodes are advised
IDLE = 0.2  # and below which fewer would do
LOOK_BACK = 7 * DAY  # what was measured then tells that an empty hour of today was measured too


async def capacity(analytics: Analytics) -> dict[str, Any]:
    """Places are the `max_concurrency` of healthy, active nodes. The saturation of a past hour is the seconds that
    answered requests took, waiting apart, by the seconds that today's places had (Little's law); null where no hour
    was measured. Forecasts are a straight line through whole measured hours. Fewer nodes are advised only where all
    hours were measured, and never to a fleet that nobody asked anything: that it is `idle` says nothing of its size."""
    now = analytics.now()
    start = now // HOUR * HOUR - (HOURS - 1) * HOUR
    rollups = await analytics.rollups(Window(start, now), HOUR, by=(), brief=True)
    hours = grouped(rollups, lambda one: one.start)
    earlier = await analytics.rollups(Window(start - LOOK_BACK, start), by=(), brief=True)
    first = start if earlier else min(hours, default=now)
    current = _current(analytics.gateway)
    places = current["totalCapacity"]
    starts = [int(start) + index * HOUR for index in range(HOURS)]
    counts: list[int] = []
    levels: list[float | None] = []
    measured: list[tuple[float, float]] = []
    for at in starts:
        one = hours.get(at)
        counts.append(one.requests if one is not None else 0)
        if at < first or not places:
            levels.append(None)
            continue
        span = min(HOUR, now - at) or 1.0
        busy = max(0.0, one.duration_sum - one.queue_wait_sum) if one is not None else 0.0
        levels.append(round(busy / (span * places), 6))
        if at + HOUR <= now:
            measured.append(((at + HOUR / 2 - now) / HOUR, busy / (HOUR * places)))
    idle = not any(counts) and not current["usedCapacity"] and not current["queueDepth"]
    forecast = _forecast(fit(measured), len(measured), current["saturation"], idle)
    return {
        "current": current,
        "idle": idle,
        "forecast": forecast,
        "trends": {
            "requestsPerHour": counts,
            "saturationLevels": levels,
            "timestamps": [at * 1000 for at in starts],
        },
        "recommendations": _recommendations(current, forecast, idle),
    }


def _current(gateway: Gateway) -> dict[str, Any]:
    nodes = [
        node for node in gateway.fleet.nodes.values() if node.healthy and node.spec.admin_state is AdminState.ACTIVE
    ]
    places = sum(node.spec.max_concurrency for node in nodes)
    used = sum(node.state.in_flight for node in nodes)
    waiting = len(gateway.queue)
    return {
        "totalCapacity": places,
        "usedCapacity": used,
        "availableCapacity": max(0, places - used),
        "queueDepth": waiting,
        "saturation": round((used + waiting) / places, 4) if places else 1.0 if waiting else 0.0,
    }


def _forecast(line: Line, hours: int, saturation: float, idle: bool) -> dict[str, Any]:
    told = {}
    for name, ahead in (("nextHour", 0.5), ("next24Hours", HOURS / 2)):
        # As far ahead as one has measured, a line is worth what it explains; beyond, less.
        confidence = round(line.confidence * min(1.0, hours / (2 * ahead)), 4)
        predicted = round(max(0.0, line.at(ahead)), 4) if confidence else saturation
        told[name] = {
            "predictedSaturation": predicted,
            "confidence": confidence,
            "recommendation": _advice(predicted, confidence, hours >= HOURS - 1 and not idle),
        }
    return told


def _advice(predicted: float, confidence: float, fewer: bool) -> str:
    if confidence < TRUSTED:
        return "stable"
    return "scale-up" if predicted > FULL else "scale-down" if predicted < IDLE and fewer else "stable"


def _recommendations(current: dict[str, Any], forecast: dict[str, Any], idle: bool) -> list[str]:
    told = []
    if not current["totalCapacity"]:
        told.append("No server can take requests: add one, or bring one back.")
    elif current["saturation"] >= 1:
        told.append(f"All {current['totalCapacity']} places are taken and {current['queueDepth']} requests wait.")
    elif current["saturation"] > FULL:
        told.append(f"{current['usedCapacity']} of {current['totalCapacity']} places are taken.")
    if idle:
        told.append(f"Idle: no request came in the last {HOURS} hours.")
    for name, when in (("nextHour", "within the next hour"), ("next24Hours", "within 24 hours")):
        one = forecast[name]
        if one["recommendation"] == "scale-up":
            told.append(f"By its trend the fleet will be {one['predictedSaturation']:.0%} full {when}: add servers.")
    return told
