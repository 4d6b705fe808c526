"""The numbers of MCP servers for `GET /metrics`."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.domain.breaker_policy import BreakerState
from orchestrator.domain.mcp import ServerState
from orchestrator.ports.telemetry import Family
from orchestrator.services.mcp.servers import McpServers
from orchestrator.services.metrics.snapshot import family


class McpFamilies:
    """A source of `Metrics`. There are at most `MOST_SERVERS` servers."""

    def __init__(self, servers: McpServers, wall: Callable[[], float]) -> None:
        self._servers = servers
        self._wall = wall

    def families(self) -> list[Family]:
        now, peers = self._wall(), self._servers.all()
        for peer in peers:
            peer.breaker.tick(now)
        return [
            family(
                "orchestrator_mcp_server_up",
                [((one.server.name,), float(one.state is ServerState.CONNECTED)) for one in peers],
            ),
            family(
                "orchestrator_mcp_server_breaker_state",
                [
                    ((one.server.name, state.value), float(state is one.breaker.state))
                    for one in peers
                    for state in BreakerState
                ],
            ),
            family("orchestrator_mcp_server_calls_total", [((one.server.name,), float(one.calls)) for one in peers]),
            family(
                "orchestrator_mcp_server_connections_total",
                [((one.server.name,), float(one.connections)) for one in peers],
            ),
        ]
