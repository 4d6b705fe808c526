"""Artifacts with their bytes: in, out, whole and in part, and what becomes of them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service import RunningService, running_service

V1 = "/api/v1/artifacts"
DATA = bytes(range(256)) * 10_000
DIGEST = hashlib.sha256(DATA).hexdigest()


@asynccontextmanager
async def served(
    tmp_path: Path, config: dict[str, Any] | None = None
) -> AsyncIterator[tuple[RunningService, httpx2.AsyncClient]]:
    async with (
        running_service(config or {}, tmp_path) as run,
        httpx2.AsyncClient(base_url=run.url, timeout=30, trust_env=False) as http,
    ):
        yield run, http


async def put(http: httpx2.AsyncClient, data: bytes = DATA, **said: Any) -> dict[str, Any]:
    answer = await http.post(V1, content=data, params={"file_name": "a.bin", **said})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()["artifact"]
    return found


def files(tmp_path: Path) -> list[Path]:
    return sorted(one for one in (tmp_path / "data/artifacts").rglob("*") if one.is_file())


async def test_bytes_come_back(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        artifact = await put(http, file_name='größe "1".bin', mime_type="a/b", task_id="t", agent_id="agent")
        assert (artifact["size_bytes"], artifact["sha256"], artifact["state"]) == (len(DATA), DIGEST, "stored")
        assert (artifact["mime_type"], artifact["task_id"]) == ("a/b", "t")
        answer = await http.get(artifact["storage_pointer"])
        assert answer.content == DATA
        assert answer.headers["content-type"] == "a/b"
        assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%20%221%22.bin"
        assert answer.headers["etag"] == f'"{DIGEST}"'
        assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(bytes.fromhex(DIGEST)).decode()}:"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await http.get(f"{V1}/sha256/{DIGEST}")).content == DATA
        head = await http.head(artifact["storage_pointer"])
        assert (head.content, head.headers["content-length"]) == (b"", str(len(DATA)))
        assert (await http.get(f"{V1}/{artifact['artifact_id']}")).json()["artifact"] == artifact
        empty = await put(http, b"")
        assert (await http.get(empty["storage_pointer"])).content == b""
        metrics = (await http.get("/metrics")).text
        [line] = [one for one in metrics.splitlines() if one.startswith("orchestrator_artifact_uploaded_bytes_total ")]
        assert float(line.split()[1]) == len(DATA)


async def test_a_part_of_the_bytes(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        path = (await put(http))["storage_pointer"]
        answer = await http.get(path, headers={"Range": "bytes=1048570-2097160"})
        assert (answer.status_code, answer.content) == (206, DATA[1048570:2097161])
        assert answer.headers["content-range"] == f"bytes 1048570-2097160/{len(DATA)}"
        assert (await http.get(path, headers={"Range": "bytes=-3"})).content == DATA[-3:]
        none = await http.get(path, headers={"Range": f"bytes={len(DATA)}-"})
        assert (none.status_code, none.headers["content-range"]) == (416, f"bytes */{len(DATA)}")
        assert none.json()["details"]["code"] == "RANGE_NOT_SATISFIABLE"
        same = {"Range": "bytes=0-1", "If-Range": f'"{DIGEST}"'}
        assert (await http.get(path, headers=same)).status_code == 206
        assert (await http.get(path, headers=same | {"If-Range": '"other"'})).status_code == 200
        assert (await http.get(path, headers={"If-None-Match": f'"{DIGEST}"'})).status_code == 304
        head = await http.head(path, headers={"Range": "bytes=0-9"})
        assert (head.status_code, head.headers["content-length"]) == (206, "10")


async def test_a_form(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        fields = {"agent_id": "größe", "sha256": DIGEST}
        answer = await http.post(V1, data=fields, files={"file": ("C:\\x\\plan.pdf", DATA, "application/pdf")})
        assert answer.status_code == 201, answer.text
        artifact = answer.json()["artifact"]
        assert (artifact["file_name"], artifact["mime_type"]) == ("plan.pdf", "application/pdf")
        assert (artifact["agent_id"], artifact["sha256"]) == ("größe", DIGEST)
        assert (await http.get(artifact["storage_pointer"])).content == DATA


B = b"--b\r\nContent-Disposition: form-data; name="
FILE = B + b'"file"; filename="f"\r\n\r\nxyz\r\n'


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=b", b"nonsense"),
        ("multipart/form-data; boundary=b", B + b'"run_id"\r\n\r\nr\r\n--b--\r\n'),
        ("multipart/form-data; boundary=b", FILE),
        ("multipart/form-data; boundary=b", FILE + B + b'"run_id"\r\n\r\nr\r\n--b--\r\n'),
        ("multipart/form-data; boundary=b", B + b'"other"\r\n\r\nr\r\n' + FILE + b"--b--\r\n"),
        ("multipart/form-data; boundary=b", B + b'"run_id"\r\n\r\n' + b"r" * 70_000 + b"\r\n" + FILE + b"--b--\r\n"),
        ("multipart/form-data; boundary=" + "b" * 300, FILE),
    ],
)
async def test_a_broken_form_leaves_nothing(tmp_path: Path, kind: str, body: bytes) -> None:
    async with served(tmp_path) as (_, http):
        answer = await http.post(V1, content=body, headers={"Content-Type": kind})
        assert answer.status_code == 400, answer.text
        assert (await http.get(V1)).json()["artifacts"] == []
        assert files(tmp_path) == []


async def test_what_was_announced_has_to_come(tmp_path: Path) -> None:
    config = {"artifacts": {"max_size": 5_000, "quota": 6_000, "principal_quota": 5_500}}
    async with served(tmp_path, config) as (_, http):

        async def refused(status: int, code: str, data: bytes = b"x" * 10, **said: Any) -> None:
            headers = said.pop("headers", {})
            answer = await http.post(V1, content=data, params={"file_name": "f", **said}, headers=headers)
            assert (answer.status_code, answer.json()["details"]["code"]) == (status, code), answer.text
            assert files(tmp_path) == []

        await refused(400, "DIGEST_MISMATCH", sha256=DIGEST)
        await refused(400, "DIGEST_MISMATCH", headers={"Content-Digest": f"sha-256=:{'A' * 43}=:"})
        await refused(400, "INVALID_REQUEST", sha256="abc")
        await refused(400, "INVALID_REQUEST", file_name="")
        await refused(400, "INVALID_REQUEST", color="red")
        await refused(400, "INVALID_REQUEST", expires_in="nan")
        await refused(400, "INVALID_REQUEST", expires_at="5")
        await refused(400, "INVALID_REQUEST", inputs="x")
        await refused(400, "INVALID_REQUEST", created_by_tool_id="00000000-0000-0000-0000-000000000000")
        await refused(413, "TOO_LARGE", b"x" * 5_001)

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(6):
                yield b"x" * 1_000

        assert (await http.post(V1, content=chunks(), params={"file_name": "f"})).status_code == 413
        await put(http, b"x" * 3_000)
        answer = await http.post(V1, content=b"y" * 2_501, params={"file_name": "f"})
        assert answer.status_code == 507
        assert "quota of 5,500 bytes" in answer.json()["error"]
        assert answer.json()["details"]["used_bytes"] == 3_000
        assert len(files(tmp_path)) == 1


async def test_an_upload_in_several_requests(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        body = {"file_name": "big", "size_bytes": len(DATA), "run_id": "r", "expires_in": 1000}
        begun = await http.post(f"{V1}/uploads", json=body)
        assert begun.status_code == 201
        path = f"{V1}/uploads/{begun.json()['upload_id']}"

        async def patch(offset: int, data: bytes) -> httpx2.Response:
            return await http.patch(path, content=data, headers={"Upload-Offset": str(offset)})

        first = await patch(0, DATA[:1_000_000])
        assert first.headers["upload-offset"] == "1000000"
        early = await http.post(f"{path}/complete")
        assert (early.status_code, early.json()["details"]["code"]) == (400, "SIZE_MISMATCH")
        wrong = await patch(5, b"x")
        assert (wrong.status_code, wrong.json()["details"]["offset"]) == (409, 1_000_000)
        assert (await http.patch(path, content=b"x")).status_code == 400
        over = await patch(1_000_000, DATA)
        assert (over.status_code, over.json()["details"]["code"]) == (400, "SIZE_MISMATCH")
        shown = (await http.get(path)).json()["upload"]
        assert shown["offset"] == 1_000_000
        assert (await http.get(V1)).json()["artifacts"] == []
        assert (await patch(1_000_000, DATA[1_000_000:])).status_code == 200
        mismatch = await http.post(f"{path}/complete", json={"sha256": "0" * 64})
        assert mismatch.json()["details"]["code"] == "DIGEST_MISMATCH"
        for _ in range(2):  # an answer may be lost
            done = await http.post(f"{path}/complete", json={"sha256": DIGEST})
            assert done.status_code == 201
            artifact = done.json()["artifact"]
            assert (artifact["sha256"], artifact["run_id"]) == (DIGEST, "r")
        assert (await http.get(artifact["storage_pointer"])).content == DATA
        assert (await http.get(path)).status_code == 404
        other = (await http.post(f"{V1}/uploads", json={"file_name": "x"})).json()["upload_id"]
        assert (await http.delete(f"{V1}/uploads/{other}")).status_code == 200
        assert (await http.delete(f"{V1}/uploads/{other}")).status_code == 404
        assert len(files(tmp_path)) == 1


async def test_a_client_that_leaves_goes_on_where_it_was(tmp_path: Path) -> None:
    async with served(tmp_path) as (run, http):
        path = f"{V1}/uploads/{(await http.post(f'{V1}/uploads', json={'file_name': 'x'})).json()['upload_id']}"
        host, port = run.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"PATCH {path} HTTP/1.1\r\nHost: {host}\r\nUpload-Offset: 0\r\nContent-Length: 9000000\r\n\r\n"
        writer.write(head.encode() + DATA[:500_000])
        await writer.drain()
        writer.transport.abort()
        offset = 0
        async with asyncio.timeout(10):
            while not offset:
                offset = (await http.get(path)).json()["upload"]["offset"]
                await asyncio.sleep(0.01)
        rest = {"Upload-Offset": str(offset)}
        assert (await http.patch(path, content=DATA[offset:], headers=rest)).status_code == 200
        assert (await http.post(f"{path}/complete", json={"sha256": DIGEST})).status_code == 201


async def test_one_request_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as (run, http):
        host, port = run.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {V1}?file_name=x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 9000000\r\n\r\n"
        writer.write(head.encode() + DATA[:1_500_000])
        await run.until(lambda: files(tmp_path))
        writer.transport.abort()
        await run.until(lambda: not files(tmp_path))
        assert (await http.get(V1)).json()["artifacts"] == []


async def test_where_it_comes_from(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        one = await put(http, b"1")
        two = await put(http, b"2", inputs=one["artifact_id"], task_id="t")
        three = await put(http, b"3", inputs=f"{two['artifact_id']},{one['artifact_id']}", agent_id="a")
        found = (await http.get(f"{V1}/{two['artifact_id']}/lineage")).json()
        assert found["made_by"]["task_id"] == "t"
        assert ([one["artifact_id"]], [three["artifact_id"]]) == (
            [each["artifact_id"] for each in found["inputs"]],
            [each["artifact_id"] for each in found["outputs"]],
        )
        four = await put(http, b"4", inputs=three["artifact_id"])
        assert (await http.delete(f"{V1}/{one['artifact_id']}")).status_code == 200
        deep = (await http.get(f"{V1}/{four['artifact_id']}/lineage", params={"depth": 5})).json()
        assert [each["artifact_id"] for each in deep["inputs"]] == [three["artifact_id"], two["artifact_id"]]
        assert deep["gone"] == [one["artifact_id"]]
        listed = await http.get(V1, params={"input": two["artifact_id"]})
        assert [each["artifact_id"] for each in listed.json()["artifacts"]] == [three["artifact_id"]]
        assert (await http.get(f"{V1}/nonsense/lineage")).status_code == 404


async def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        good, bad, gone = await put(http), await put(http, DATA[1:]), await put(http, DATA[2:])
        verified = await http.post(f"{V1}/{bad['artifact_id']}/verify")
        assert verified.json()["state"] == "stored"
        [file] = [one for one in files(tmp_path) if one.name == bad["artifact_id"]]
        with file.open("r+b") as opened:
            opened.seek(1_500_000)
            opened.write(b"!")
        [missing] = [one for one in files(tmp_path) if one.name == gone["artifact_id"]]
        missing.unlink()
        swept = (await http.post(f"{V1}/sweep", params={"verify_all": True})).json()
        assert (swept["verified"], set(swept["damaged"])) == (3, {bad["artifact_id"], gone["artifact_id"]})
        again = await http.post(f"{V1}/{bad['artifact_id']}/verify")
        assert again.json()["state"] == "damaged"
        refused = await http.get(bad["storage_pointer"])
        assert (refused.status_code, refused.json()["details"]["code"]) == (409, "ARTIFACT_DAMAGED")
        listed = await http.get(V1, params={"state": "missing"})
        assert [one["artifact_id"] for one in listed.json()["artifacts"]] == [gone["artifact_id"]]
        assert (await http.get(good["storage_pointer"])).content == DATA
        assert "orchestrator_artifact_damaged_total 2.0" in (await http.get("/metrics")).text


async def test_missing_bytes_are_told_before_the_answer_begins(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        artifact = await put(http)
        os.unlink(files(tmp_path)[0])
        assert (await http.get(artifact["storage_pointer"])).status_code == 404
        assert (await http.get(f"{V1}/{artifact['artifact_id']}")).json()["artifact"]["state"] == "missing"


async def test_expired_ones_and_bytes_without_an_artifact_go(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        artifact = await put(http, expires_in="0.2")
        kept = await put(http, expires_in="1000")
        stray = tmp_path / "data/artifacts/blobs/00/00000000-0000-4000-8000-000000000000"
        stray.parent.mkdir(exist_ok=True)
        stray.write_bytes(b"x")
        part = tmp_path / "data/artifacts/parts/11111111-0000-4000-8000-000000000000"
        part.write_bytes(b"x")
        await asyncio.sleep(0.25)
        swept = (await http.post(f"{V1}/sweep")).json()
        assert (swept["expired"], swept["orphans"]) == (1, 2)
        assert (await http.get(artifact["storage_pointer"])).status_code == 404
        assert [file.name for file in files(tmp_path)] == [kept["artifact_id"]]
        assert (await http.delete(f"{V1}/{kept['artifact_id']}")).status_code == 200
        assert (await http.delete(f"{V1}/{kept['artifact_id']}")).status_code == 404
        assert files(tmp_path) == []


async def test_the_contracts_rows(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        body = {"file_name": "m", "mime_type": "a/b", "storage_pointer": "s3://b/../k", "size_bytes": 5_000_000_000}
        made = (await http.post("/artifacts", json=body)).json()
        assert {name: made[name] for name in body} == body
        assert (made["created_by_tool_id"], made["state"], made["created_at"][-1]) == (None, "external", "Z")
        kept = await put(http)
        for path in ("/artifacts", "/artifacts/"):
            assert [one["artifact_id"] for one in (await http.get(path)).json()] == [
                made["artifact_id"],
                kept["artifact_id"],
            ]
        assert (await http.get("/artifacts/", params={"skip": 1, "limit": 1})).json()[0]["file_name"] == "a.bin"
        assert (await http.get("/artifacts/large")).json() == [made]
        assert (await http.get("/artifacts/large/", params={"threshold": 100})).json()[1]["size_bytes"] == len(DATA)
        assert (await http.get(f"/artifacts/{made['artifact_id']}")).json() == made
        external = await http.get(f"{V1}/{made['artifact_id']}/content")
        assert (external.status_code, external.json()["details"]["storage_pointer"]) == (409, "s3://b/../k")
        assert (await http.post(f"{V1}/{made['artifact_id']}/verify")).status_code == 409
        for wrong in ({"size_bytes": -1}, {"file_name": None}, {"size_bytes": 2**63}, {"mime_type": "x" * 101}):
            assert (await http.post("/artifacts/", json=body | wrong)).status_code == 422
        unknown = "00000000-0000-0000-0000-000000000000"
        assert (await http.post("/artifacts/", json=body | {"created_by_tool_id": unknown})).status_code == 400
        assert (await http.get(f"/artifacts/{unknown}")).status_code == 404
        assert (await http.get("/artifacts/not-a-uuid")).status_code == 422
        assert (await http.get(f"/artifacts/tool/{unknown}")).json() == []
        assert (await http.delete(f"/artifacts/{kept['artifact_id']}")).status_code == 200
        assert (await http.delete(f"/artifacts/{kept['artifact_id']}")).status_code == 404
        assert files(tmp_path) == []


async def test_changed_settings_hold_at_once(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        await put(http)
        change = {"artifacts": {"max_size": 100}}
        assert (await http.patch("/api/orchestrator/config", json=change)).status_code == 200
        assert (await http.post(V1, content=DATA, params={"file_name": "x"})).status_code == 413


async def test_names_never_become_paths(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, http):
        for name in ("../../evil", "/etc/passwd", "..", "a/../../b", "C:\\x"):
            artifact = await put(http, b"x", file_name=name)
            assert artifact["file_name"] == name
        for path in (f"{V1}/..%2f..%2fetc%2fpasswd/content", f"{V1}/uploads/..%2f..%2fx", f"{V1}/%2e%2e/content"):
            assert (await http.get(path)).status_code == 404
        assert all(one.is_relative_to(tmp_path / "data/artifacts/blobs") for one in files(tmp_path))
        assert (await http.post(V1, content=b"x", params={"file_name": "a\r\nSet-Cookie: x"})).status_code == 400
