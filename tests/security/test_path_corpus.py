"""Reliability anchor 50: names and paths that want to leave where they belong, in every place of the API that takes
one. Beside the service's folder lies a secret; it is never read, and nothing outside is written."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import tarfile
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from service import RunningService, running_service

SECRET = "the secret beside the folder"
NAMES = [
    "../secret",
    "../../secret",
    "../../../../../../../../etc/passwd",
    "a/../../../secret",
    "./../secret",
    "/etc/passwd",
    "//etc/passwd",
    "//server/share/secret",
    "\\\\server\\share\\secret",
    "..\\..\\secret",
    "C:\\secret",
    "file:///etc/passwd",
    "secret\0.txt",
    "..%2f..%2fsecret",
    "%2e%2e/%2e%2e/secret",
    "..%252f..%252fsecret",
    "%c0%ae%c0%ae/secret",
    "\u2024\u2024/secret",
    "\uff0e\uff0e\uff0fsecret",
    "..\u2215secret",
    "\u202e../secret",
    "....//....//secret",
    "..;/secret",
    "..",
    ".",
    "~/secret",
    "$HOME/secret",
    "a\r\nSet-Cookie: b=c",
    'a"; filename="../../secret',
    "CON",
    "link",
    "link/secret",
    "x" * 300,
]
# Where the API takes a name within its path; {} is the name, percent-encoded.
PATHS = [
    "/{}",
    "/static/{}",
    "/docs/{}",
    "/dashboard/{}",
    "/artifacts/{}",
    "/artifacts/tool/{}",
    "/api/v1/artifacts/{}",
    "/api/v1/artifacts/{}/content",
    "/api/v1/artifacts/{}/lineage",
    "/api/v1/artifacts/sha256/{}",
    "/api/v1/artifacts/uploads/{}",
    "/api/v1/tasks/{}/logs",
    "/api/v1/tasks/{}",
    "/api/v1/tools/{}",
    "/api/v1/tool-calls/{}",
    "/api/v1/nodes/{}",
    "/api/v1/mcp/servers/{}",
    "/api/v1/dashboard/export/{}",
    "/api/orchestrator/logs?file={}",
    "/api/orchestrator/models/jobs/{}",
    "/v1/models/{}",
    "/api/blobs/{}",
    "/nodes/{}",
    "/tools/{}",
    "/tools/name/{}",
]


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient]]:
    """Afterwards everything outside the service's own folder is as it was."""
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/secret").write_text(SECRET)
    async with (
        running_service({}, home) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=30, trust_env=False) as http,
    ):
        before = outside(tmp_path)
        yield running, http
        assert outside(tmp_path) == before


def outside(tmp_path: Path) -> list[tuple[str, bytes]]:
    """Files below the test's folder that are not the service's data."""
    return sorted(
        (str(path), path.read_bytes())
        for path in tmp_path.rglob("*")
        if path.is_file() and tmp_path / "home/data" not in path.parents
    )


@pytest.mark.parametrize("part", range(3))
async def test_no_path_of_the_api_leads_to_a_file(tmp_path: Path, part: int) -> None:
    """Sent as it is, encoded once and encoded twice: no client puts it in order before."""
    async with served(tmp_path) as (running, _):
        port = int(running.url.rpartition(":")[2])
        for path, name in product(PATHS[part::3], NAMES):
            once = quote(name, safe="")
            plain = name if name.isascii() and name.isprintable() and " " not in name else once
            for form in dict.fromkeys((plain, once, quote(once, safe=""))):
                status, answer = await raw(port, path.replace("{}", form))
                assert status in range(200, 500), (path, form, status)
                assert SECRET.encode() not in answer, (path, form)
                assert b"root:" not in answer, (path, form)
                assert b"\r\nset-cookie:" not in answer.lower(), (path, form)


async def raw(port: int, target: str) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
    try:
        async with asyncio.timeout(20):
            answer = await reader.read()
    finally:
        writer.close()
    return int(answer.split(b" ", 2)[1]), answer


async def test_names_of_artifacts_are_names(tmp_path: Path) -> None:
    """However a file is called: its bytes lie where their digest says, and a download is told a name without a path."""
    async with served(tmp_path) as (_, http):
        for number, name in enumerate(NAMES):
            content = f"content {number}".encode()
            for answer in (
                await http.post("/api/v1/artifacts", content=content, params={"file_name": name}),
                await http.post("/api/v1/artifacts", files={"file": (name, content, "text/plain")}),
            ):
                assert answer.status_code in (201, 400, 413), (name, answer.text)
                if answer.status_code == 201:
                    artifact = answer.json()["artifact"]
                    assert artifact["storage_pointer"].startswith("/api/v1/artifacts/"), artifact
                    got = await http.get(artifact["storage_pointer"])
                    assert got.content == content
                    shown = got.headers["content-disposition"]
                    assert not any(mark in shown for mark in ("/", "\\", "\r", "\n", "\0")), shown
            begun = await http.post("/api/v1/artifacts/uploads", json={"file_name": name, "size_bytes": 1})
            assert begun.status_code in (201, 400), (name, begun.text)
        kept = [path for path in (tmp_path / "home/data/artifacts").rglob("*") if path.is_file()]
        assert kept
        assert all(set(path.name) <= set("0123456789abcdefghijklmnopqrstuvwxyz.-_") for path in kept), kept


async def test_a_pointer_to_a_file_is_only_a_text(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        for name in [*NAMES, str(tmp_path / "secret"), f"file://{tmp_path}/secret", "/api/v1/artifacts/../secret"]:
            body = {"file_name": "a", "mime_type": "b", "size_bytes": 1, "storage_pointer": name}
            answer = await http.post("/artifacts/", json=body)
            if answer.status_code != 200:
                assert answer.status_code in (400, 422), answer.text
                continue
            artifact_id = answer.json()["artifact_id"]
            content = await http.get(f"/api/v1/artifacts/{artifact_id}/content")
            assert content.status_code in (400, 404, 409), (name, content.text)
            assert SECRET not in content.text
            assert (await http.delete(f"/artifacts/{artifact_id}")).status_code == 200


async def test_links_in_the_store_of_artifacts_lead_nowhere(tmp_path: Path) -> None:
    """Somebody has put links where bytes belong."""
    async with served(tmp_path) as (_, http):
        artifact = (await http.post("/api/v1/artifacts", content=b"mine", params={"file_name": "a"})).json()["artifact"]
        store = tmp_path / "home/data/artifacts"
        (kept,) = [one for one in store.rglob("*") if one.is_file() and one.read_bytes() == b"mine"]
        kept.unlink()
        kept.symlink_to(tmp_path / "secret")
        for method, path in (
            ("GET", artifact["storage_pointer"]),
            ("GET", f"/api/v1/artifacts/sha256/{artifact['sha256']}"),
            ("POST", f"/api/v1/artifacts/{artifact['artifact_id']}/verify"),
        ):
            answer = await http.request(method, path)
            assert answer.status_code == 503, (path, answer.text)
            assert SECRET not in answer.text


async def called(http: httpx2.AsyncClient, tool: str, arguments: dict[str, Any]) -> httpx2.Response:
    answer = await http.post(f"/api/v1/tools/{tool}/call", json={"arguments": arguments})
    assert answer.status_code < 500, answer.text
    assert SECRET not in answer.text, (tool, arguments)
    assert "root:" not in answer.text, (tool, arguments)
    return answer


async def test_tools_for_files_stay_in_their_folder(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        await called(http, "filesystem", {"action": "write", "path": "mine", "content": "x"})
        root = tmp_path / "home/data/files"
        assert (root / "mine").read_text() == "x"
        os.symlink(tmp_path / "folder", root / "link")
        for name in [*NAMES, str(tmp_path / "secret")]:
            for tool, action in [("filesystem-read", "read"), ("filesystem-read", "list"), ("filesystem", "delete")]:
                await called(http, tool, {"action": action, "path": name})
            await called(http, "filesystem", {"action": "write", "path": name, "content": "y"})
            await called(http, "filesystem", {"action": "copy", "path": name, "destination": "copied"})
            await called(http, "filesystem", {"action": "move", "path": "mine", "destination": name})
            await called(http, "filesystem", {"action": "write", "path": "mine", "content": "x"})


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
async def test_entries_of_archives_stay_in_their_folder(tmp_path: Path, kind: str) -> None:
    async with served(tmp_path) as (_, http):
        for number, names in enumerate([["../evil"], [str(tmp_path / "evil")], ["out/evil"], [*NAMES, "good"]]):
            path, content = f"a{number}.{kind}", base64.b64encode(packed(kind, names)).decode()
            written = {"action": "write", "path": path, "content": content, "encoding": "base64"}
            assert (await called(http, "filesystem", written)).json()["success"]
            for action in ({"action": "list"}, {"action": "extract", "destination": f"out{number}"}):
                await called(http, "archive", {"path": path, **action})
        found = (tmp_path / "home/data/files").rglob("*")
        assert not [one for one in found if one.is_symlink() or not one.resolve().is_relative_to(tmp_path / "home")]


def packed(kind: str, names: list[str]) -> bytes:
    """An archive with links, and entries of these names: among them one behind a link."""
    found = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(found, "w") as archive:
            link = zipfile.ZipInfo("out")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "../../../..")
            for name in names:
                archive.writestr(name, "evil")
        return found.getvalue()
    with tarfile.open(fileobj=found, mode="w:gz") as archive:
        for title, type_of_link in (("out", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE)):
            entry = tarfile.TarInfo(title)
            entry.type, entry.linkname = type_of_link, "../../../.."
            archive.addfile(entry)
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 4
            archive.addfile(entry, io.BytesIO(b"evil"))
    return found.getvalue()
