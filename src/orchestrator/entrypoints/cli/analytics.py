"""`orchestrator analytics`: what the durable history says."""

from __future__ import annotations

from typing import Literal

from cyclopts import App

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import Connection
from orchestrator.entrypoints.cli.options import HERE, Remote

analytics = App(name="analytics", help="Figures from the history.")


@analytics.command
def summary(*, time_range: Literal["1h", "6h", "24h", "7d", "30d"] = "24h", remote: Remote = HERE) -> None:
    """Show how many requests there were, how many failed and how fast they were.

    Examples: `orchestrator analytics summary`, `orchestrator analytics summary --time-range 7d --json`

    Parameters
    ----------
    time_range
        How far back.
    """
    with Connection(remote) as connection:
        answer = connection.admin("GET", "/analytics/summary", timeRange=time_range)
    if remote.json:
        output.print_json(answer)
        return
    found = answer["summary"]
    output.print_fields(
        {
            "time range": found["timeRange"],
            "requests": found["totalRequests"],
            "errors": f"{found['totalErrors']} ({found['errorRate']:.2%})",
            "tokens": found["totalTokens"],
            "average latency": output.span(found["avgLatency"] / 1000),
            "p95 latency": output.span(found["p95Latency"] / 1000),
            "requests per second": found["requestsPerSecond"],
            "models": found["uniqueModels"],
            "nodes": found["uniqueServers"],
        }
    )
