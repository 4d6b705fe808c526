from __future__ import annotations

from typing import Annotated

import httpx2
from fastapi import APIRouter, Body, FastAPI, Query
from starlette.types import ASGIApp

from orchestrator.domain.access import Permission, Principal
from orchestrator.entrypoints.http.late_route import LateRoute
from orchestrator.entrypoints.http.permission import declared, requires, undeclared

READ = requires(Permission.TASKS_READ)


def application() -> FastAPI:
    router = APIRouter(prefix="/things", route_class=LateRoute)

    @router.get("")
    async def things(limit: Annotated[int, Query(ge=1)] = 10) -> list[int]:
        return [limit]

    @router.put("/{name}")
    async def put(name: str, size: Annotated[int, Body(embed=True)]) -> dict[str, int]:
        return {name: size}

    @router.get("/{name}/parts")
    async def parts(name: str, principal: Principal = READ) -> str:
        return name

    return FastAPI(openapi_url=None, routes=router.routes)


def made(app: FastAPI) -> list[str]:
    """The paths of the routes that are analysed."""
    return [route.path for route in app.routes if isinstance(route, LateRoute) and "dependant" in vars(route)]


def client(app: ASGIApp) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://here")


async def test_a_route_is_made_by_its_first_call_and_the_others_are_not() -> None:
    app = application()
    assert made(app) == []
    async with client(app) as caller:
        for _ in range(2):
            answer = await caller.get("/things", params={"limit": 3})
            assert (answer.status_code, answer.json()) == (200, [3])
    assert made(app) == ["/things"]


async def test_parameters_and_bodies_are_checked_as_ever() -> None:
    async with client(application()) as caller:
        assert (await caller.put("/things/a", json={"size": 4})).json() == {"a": 4}
        assert (await caller.put("/things/a", json={"size": "wide"})).status_code == 422
        assert (await caller.get("/things", params={"limit": 0})).status_code == 422


async def test_what_no_route_serves_makes_none() -> None:
    app = application()
    async with client(app) as caller:
        assert (await caller.get("/other")).status_code == 404
        assert (await caller.get("/thingsandmore")).status_code == 404
        assert made(app) == []
        refused = await caller.post("/things")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")


def test_the_permission_is_known_before_the_route_is_made() -> None:
    app = application()
    route = next(one for one in app.routes if getattr(one, "path", "") == "/things/{name}/parts")
    assert declared(route) is Permission.TASKS_READ
    assert made(app) == []


def test_routes_without_a_permission_are_found() -> None:
    assert undeclared(application()) == ["GET /things", "PUT /things/{name}"]


def test_what_a_route_does_not_have_it_does_not_invent() -> None:
    route = application().routes[0]
    assert not hasattr(route, "nothing")
    assert hasattr(route, "dependant")
