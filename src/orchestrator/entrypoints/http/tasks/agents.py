"""The agents inside the nodes, as the nodes tell them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fastapi import Request, Response

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.errors import NotFound
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.service import HttpService
from orchestrator.entrypoints.http.tasks.envelope import answer, service_of, tasks_router
from orchestrator.entrypoints.http.tasks.node_view import agent_row

router = tasks_router("nodes")
READ = requires(Permission.FLEET_READ)


@router.get("/agents")
async def list_agents(request: Request, principal: Principal = READ) -> Response:
    """All agents by id; where two nodes have an agent of the same id, by `node:agent`."""
    agents = _agents(service_of(request))
    return answer(request, {"agents": agents, "total_agents": len(agents)})


@router.get("/agents/{agent_id:path}")
async def get_agent(request: Request, agent_id: str, principal: Principal = READ) -> Response:
    """One agent. 404."""
    agent = _agents(service_of(request)).get(agent_id)
    if agent is None:
        raise NotFound("Agent not found", details={"code": "AGENT_NOT_FOUND"})
    return answer(request, {"agent": agent})


def _agents(service: HttpService) -> dict[str, dict[str, Any]]:
    workers = service.workers.all().values()
    times = Counter(agent.id for worker in workers for agent in worker.agents)
    return {
        agent.id if times[agent.id] == 1 else f"{worker.id}:{agent.id}": agent_row(agent, worker)
        for worker in workers
        for agent in worker.agents
    }
