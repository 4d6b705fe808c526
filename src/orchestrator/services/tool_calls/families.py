"""The numbers of calls of tools for `GET /metrics`."""

from __future__ import annotations

from collections import Counter

from orchestrator.domain.breaker_policy import BreakerState
from orchestrator.domain.histogram import Histogram
from orchestrator.domain.tool import Tool
from orchestrator.domain.tool_call import ToolCall
from orchestrator.ports.telemetry import Family
from orchestrator.services.metrics.snapshot import distribution, family, single
from orchestrator.services.tool_calls.calls import Calls
from orchestrator.services.tool_calls.hosts import ToolHosts

MOST_HOSTS = 200  # with a label of their own; those that are left alone come first


class CallFamilies:
    """A source of `Metrics`. Kinds and states are few; names of tools are no labels."""

    def __init__(self, calls: Calls, hosts: ToolHosts) -> None:
        self._calls = calls
        self._hosts = hosts
        self._ended: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, Histogram] = {}
        self._cost = 0.0
        calls.conduct.on_end.append(self._count)

    def families(self) -> list[Family]:
        return [
            single("orchestrator_tool_calls_running", self._calls.conduct.running),
            single("orchestrator_tool_calls_waiting", self._calls.places.waiting),
            family("orchestrator_tool_calls_total", list(self._ended.items())),
            family(
                "orchestrator_tool_call_seconds",
                [((kind,), distribution(seconds)) for kind, seconds in self._seconds.items()],
            ),
            single("orchestrator_tool_call_cost_dollars_total", self._cost),
            family(
                "orchestrator_tool_host_breaker_state",
                [
                    ((one.node, state.value), float(state is one.state))
                    for one in self._hosts.all()[:MOST_HOSTS]
                    for state in BreakerState
                ],
            ),
        ]

    def _count(self, call: ToolCall, tool: Tool) -> None:
        kind = tool.execution.kind.value if tool.execution is not None else ""
        self._ended[kind, call.state.value] += 1
        self._cost += call.cost
        if call.started_at is not None and call.ended_at is not None:
            self._seconds.setdefault(kind, Histogram()).observe(call.ended_at - call.started_at)
