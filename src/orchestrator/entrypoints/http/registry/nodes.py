"""Nodes: all of this service's, each with a UUID, a type and a status of the registry."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel, Field

from orchestrator.domain.access import Permission, Principal
from orchestrator.domain.registry_node import RegistryNode, RegistryNodeType, RegistryStatus
from orchestrator.entrypoints.http.admin.route import audit
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.registry.route import (
    LISTED,
    Limit,
    Skip,
    answer,
    both,
    iso,
    registry_router,
    service_of,
)

router = registry_router("registry nodes")
READ, WRITE = requires(Permission.FLEET_READ), requires(Permission.FLEET_WRITE)


class NewNode(BaseModel):
    node_type: RegistryNodeType
    address: str = Field(min_length=1, max_length=255, description="URL at which it is reached.")
    status: RegistryStatus = RegistryStatus.INACTIVE


class NodeChange(BaseModel):
    """Absent and null: as it is."""

    node_type: RegistryNodeType | None = None
    address: str | None = Field(None, min_length=1, max_length=255)
    status: RegistryStatus | None = None


def node_row(node: RegistryNode) -> dict[str, Any]:
    return {
        "node_id": node.node_id,
        "node_type": node.node_type.value,
        "address": node.address,
        "status": node.status.value,
        "created_at": iso(node.created_at),
        "updated_at": iso(node.updated_at),
        "id": node.id,
        "source": node.source.value,
    }


@both(router, "POST", "/nodes/")
async def create_node(request: Request, body: NewNode, principal: Principal = WRITE) -> Response:
    """Registers a node that only the registry knows. The row, with its `node_id`. 422."""
    node = await service_of(request).directory.add(body.node_type, body.address, body.status)
    audit(principal, "registry.node.add", node.node_id, address=node.address, type=node.node_type.value)
    return answer(node_row(node))


@both(router, "GET", "/nodes/")
async def list_nodes(request: Request, skip: Skip = 0, limit: Limit = LISTED, principal: Principal = READ) -> Response:
    """Nodes in the order in which they came."""
    found = await service_of(request).directory.page(limit, skip)
    return answer([node_row(node) for node in found])


@both(router, "GET", "/nodes/active/")
async def active_nodes(
    request: Request, skip: Skip = 0, limit: Limit = LISTED, principal: Principal = READ
) -> Response:
    """Nodes whose status is ACTIVE."""
    found = await service_of(request).directory.page(limit, skip, status=RegistryStatus.ACTIVE)
    return answer([node_row(node) for node in found])


@both(router, "GET", "/nodes/type/{node_type}")
async def nodes_of_type(
    request: Request, node_type: str, skip: Skip = 0, limit: Limit = LISTED, principal: Principal = READ
) -> Response:
    """Nodes of one type; none of an unknown type."""
    found = await service_of(request).directory.page(limit, skip, node_type=node_type)
    return answer([node_row(node) for node in found])


@both(router, "GET", "/nodes/{node_id}")
async def get_node(request: Request, node_id: UUID, principal: Principal = READ) -> Response:
    """One node. 404, 422."""
    return answer(node_row(await service_of(request).directory.get(str(node_id))))


@both(router, "PUT", "/nodes/{node_id}")
async def change_node(request: Request, node_id: UUID, body: NodeChange, principal: Principal = WRITE) -> Response:
    """Changes what is given. The status of a worker or model server is changed on all surfaces; its address, and what
    probes measure, is not changed here: 409. 404, 422."""
    service = service_of(request)
    given = {name: value for name, value in dict(body).items() if value is not None}
    node = await service.directory.change(str(node_id), **given)
    audit(principal, "registry.node.change", node.node_id, **{name: str(value) for name, value in given.items()})
    if node.status is RegistryStatus.ACTIVE:
        await service.tools.rekindle()
    return answer(node_row(node))


@both(router, "DELETE", "/nodes/{node_id}")
async def delete_node(request: Request, node_id: UUID, principal: Principal = WRITE) -> Response:
    """Forgets a node, on all surfaces; its tools stay, on no node. The row that was. 404, 422."""
    node = await service_of(request).directory.remove(str(node_id))
    audit(principal, "registry.node.remove", node.node_id, id=node.id)
    return answer(node_row(node))
