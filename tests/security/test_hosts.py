"""Names that are not ours, pages that are not ours, and paths written so that a guard and a route see two of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_under_test import FORMS, OPENAI, PLANES, Form, Wire, fleet, request

every_plane = pytest.mark.parametrize("plane", PLANES)
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
BAD_HOSTS = (
    "evil.example",
    "localhost.evil.example",
    "evil.example:9000",
    "127.0.0.1.nip.io",
    "a/health?x",
    "localhost/health",
    "a#",
    "localhost#",
    "localhost?",
    "localhost@evil.example",
    "user:pass@localhost",
    "localhost:9000:1",
    "localhost:port",
    "localhost:",
    "[::1",
    "[::1]evil",
    "[evil]",
    "",
    " ",
    "local host",
    "localhost,evil.example",
    "0.0.0.0",
    "127.0.0.2",
    "2130706433",
    "0x7f.1",
    "%6cocalhost",
    "localhost%00",
    "localhost\\",
    "l\xf6calhost",
)
GOOD_HOSTS = ("localhost", "LOCALHOST", "localhost:9000", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:80", "localhost.")


@every_plane
async def test_only_our_own_names_are_answered(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for form in FORMS:
            body = form.body(stream=False)
            for host in BAD_HOSTS:
                async with Wire(tried.address) as wire:
                    await wire.send(request(form.path, body, "Connection: close", host=host))
                    told = await wire.to_end()
                if host != "localhost:":  # an empty port is a port left out (RFC 3986, 3.2.3)
                    assert told.split(b" ", 2)[1] in (b"400", b"421"), (host, told)
            for host in GOOD_HOSTS:
                async with Wire(tried.address) as wire:
                    await wire.send(request(form.path, body, host=host))
                    assert (await wire.answer())[0] == 200, host


@every_plane
async def test_the_control_plane_asks_the_same_of_a_host(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for path in ("/health", "/api/tags", "/api/orchestrator/servers", "/metrics", "/nothing", "/"):
            for host in BAD_HOSTS:
                async with Wire(tried.address) as wire:
                    await wire.send(request(path, b"", "Connection: close", host=host, method="GET"))
                    told = await wire.to_end()
                if host != "localhost:":
                    assert told.split(b" ", 2)[1] in (b"400", b"421"), (host, path, told)


@every_plane
async def test_the_tasks_api_says_so_in_its_own_form(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for wrong in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
            answer = await tried.client.get(f"{tried.running.url}/api/v1/status", headers=wrong)
            assert answer.status_code in (403, 421), answer.text
            told = answer.json()
            assert told.keys() == {"success", "error", "details", "timestamp"}
            assert told["details"]["code"] == told["details"]["code"].upper()


@every_plane
async def test_no_host_or_two_of_them_are_refused(plane: str, tmp_path: Path) -> None:
    body = b'{"model":"demo","messages":[{"role":"user","content":"x"}]}'
    tail = b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for lines in (
            b"",
            b"Host: localhost\r\nHost: localhost\r\n",
            b"Host: localhost\r\nHost: evil.example\r\n",
            b"Host: evil.example\r\nhost: localhost\r\n",
            b"Host: localhost\r\n evil.example\r\n",
            b"Host : localhost\r\n",
        ):
            for path in (b"/v1/chat/completions", b"/health"):
                async with Wire(tried.address) as wire:
                    await wire.send(b"POST " + path + b" HTTP/1.1\r\n" + lines + tail)
                    told = await wire.to_end()
                assert told.split(b" ", 2)[1] in (b"400", b"421"), (lines, told)
        assert not tried.inference("a")


@every_plane
@every_form
async def test_an_absolute_target_does_not_replace_the_host(form: Form, plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for target in ("http://localhost", "http://evil.example", "https://evil.example:1"):
            async with Wire(tried.address) as wire:
                body = form.body(stream=False)
                await wire.send(request(target + form.path, body, "Connection: close", host="evil.example"))
                assert (await wire.to_end()).split(b" ", 2)[1] in (b"400", b"404", b"421")
        assert not tried.inference("a")


BAD_ORIGINS = (
    "http://evil.example",
    "https://localhost.evil.example",
    "null",
    "file://",
    "http://localhost:1",
    "http://localhost@evil.example",
    "ftp://localhost",
    "localhost",
    "",
    "http://",
    "chrome-extension://abcdef",
)


@every_plane
async def test_pages_of_other_sites_may_not_call(plane: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], plane=plane) as tried:
        for form in FORMS:
            for origin in BAD_ORIGINS:
                for kind in ("application/json", "text/plain"):
                    answer = await tried.post(form, headers={"Origin": origin, "Content-Type": kind})
                    assert answer.status_code == 403, origin
                    assert form.error(answer.json())
                    assert "access-control-allow-origin" not in answer.headers
        assert (
            await tried.client.get("/api/orchestrator/servers", headers={"Origin": "http://evil.example"})
        ).status_code == 403
        own = await tried.post(OPENAI, headers={"Origin": tried.running.url})
        assert own.status_code == 200
        assert len(tried.inference("a")) == 1


@every_plane
async def test_names_and_origins_of_the_operator_are_ours(plane: str, tmp_path: Path) -> None:
    config = {"server": {"allowed_hosts": ["ai.example"], "cors_origins": ["https://chat.example"]}}
    async with fleet(tmp_path, ["a"], plane=plane, config=config) as tried:
        for host, origin, status in (
            ("ai.example", None, 200),
            ("AI.example:443", None, 200),
            ("sub.ai.example", None, 421),
            ("localhost", "https://chat.example", 200),
            ("localhost", "http://chat.example", 403),
            ("localhost", "https://chat.example.evil", 403),
        ):
            async with Wire(tried.address) as wire:
                more = [f"Origin: {origin}"] if origin else []
                await wire.send(request(OPENAI.path, OPENAI.body(stream=False), *more, host=host))
                assert (await wire.answer())[0] == status, (host, origin)


ODD_PATHS = (
    "//v1/chat/completions",
    "/v1//chat/completions",
    "/v1/chat/completions/",
    "/v1/chat/completions/.",
    "/v1/../v1/chat/completions",
    "/./v1/chat/completions",
    "/v1%2fchat%2fcompletions",
    "/v1/chat/completion%73",
    "/V1/chat/completions",
    "/v1/chat/completions;x=/health",
    "/v1/chat/completions%00",
    "/v1/chat/completions--",
    "/v1/chat/completions--a",
    "/v1/chat/completions--a--a",
    "/v1/chat/completions--../../health",
    "/v1/chat/completions?/health/ready",
    "/health/../v1/chat/completions",
    "/health/%2e%2e/v1/chat/completions",
    "/health/ready",
    "/api/orchestrator/servers/..%2f..%2f..%2fhealth",
    "/api/orchestrator/servers/health/ready",
)


@every_plane
async def test_no_spelling_of_a_path_gets_past_the_key(plane: str, tmp_path: Path) -> None:
    keys = {"auth": {"enabled": True, "keys": [{"name": "one", "key": "sk-one-0123456789abcdef"}]}}
    async with fleet(tmp_path, ["a"], plane=plane, config=keys) as tried:
        for path in ODD_PATHS:
            for method in ("POST", "GET", "PUT", "PATCH", "DELETE"):
                async with Wire(tried.address) as wire:
                    body = OPENAI.body(stream=False)
                    await wire.send(request(path, body, "Connection: close", method=method))
                    told = await wire.to_end()
                assert told.startswith(b"HTTP/1.1 "), (path, told)
                open_route = path == "/health/ready" and method == "GET"
                assert open_route or told.split(b" ", 2)[1] in (b"400", b"401", b"403", b"404", b"405"), (path, told)
        assert not tried.inference("a")
        good = await tried.post(OPENAI, headers={"Authorization": "Bearer sk-one-0123456789abcdef"})
        assert good.status_code == 200


@every_plane
@every_form
async def test_without_a_key_nothing_is_read_and_nothing_told(form: Form, plane: str, tmp_path: Path) -> None:
    keys = {"auth": {"enabled": True, "keys": [{"name": "one", "key": "sk-one-0123456789abcdef", "models": ["other"]}]}}
    async with fleet(tmp_path, ["a"], plane=plane, config=keys) as tried:
        for credential in (
            "",
            "Bearer",
            "Bearer wrong",
            "Basic sk-one-0123456789abcdef",
            "Bearer sk-one-0123456789abcdeF",
        ):
            answer = await tried.post(form, headers={"Authorization": credential} if credential else None)
            assert answer.status_code == 401, credential
            assert form.error(answer.json())
            unknown = await tried.post(form, model="nobody-has-it", headers={"Authorization": credential or "x"})
            assert unknown.status_code == 401
        async with Wire(tried.address) as wire:  # not even the body is waited for
            start = f"POST {form.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000\r\n\r\n{{"
            await wire.send(start.encode())
            assert (await wire.answer())[0] == 401
            assert await wire.to_end() == b""
        other = await tried.post(form, headers={"Authorization": "Bearer sk-one-0123456789abcdef"})
        assert other.status_code == 403
        assert not tried.inference("a")
