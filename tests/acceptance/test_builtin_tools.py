"""The tools that come with the service, called over HTTP in a running service."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tool_surfaces import AUTH, bearer

from service import running_service

FILES = (
    "approval-gate",
    "archive",
    "feedback-collection",
    "filesystem",
    "filesystem-read",
    "image-analysis",
    "image-processing",
    "mcp-memory",
    "pdf-compiler",
    "report-generator",
    "template",
    "user-prompt",
    "visualization",
)


class Api:
    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client

    async def call(self, name: str, who: str = "developer", expect: int = 200, **arguments: Any) -> Any:
        answer = await self.client.post(
            f"/api/v1/tools/builtin:{name}/call", json={"arguments": arguments}, headers=bearer(who)
        )
        assert answer.status_code == expect, answer.text
        return answer.json()

    async def done(self, name: str, **arguments: Any) -> Any:
        told = await self.call(name, **arguments)
        assert told["success"], told["error"]
        return told

    async def get(self, path: str, who: str = "developer") -> httpx2.Response:
        return await self.client.get(path, headers=bearer(who))


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    settings = {"auth": AUTH, "tools": {"root": str(tmp_path / "files"), "max_file": "1MiB"}}
    async with (
        running_service(settings, tmp_path) as running,
        httpx2.AsyncClient(base_url=running.url, timeout=60) as client,
    ):
        yield Api(client)


async def test_all_are_listed_and_none_is_in_the_registry(api: Api) -> None:
    told = (await api.get("/api/v1/tools?source=builtin&limit=100", "viewer")).json()
    found = {tool["name"]: tool for tool in told["tools"]}
    assert set(FILES) <= set(found)
    assert {found[name]["status"] for name in FILES} == {"ENABLED"}
    assert found["filesystem-read"]["execution"]["side_effect"] == "read"
    assert (await api.get("/tools/", "viewer")).json() == []


async def test_files_and_what_is_made_of_them(api: Api, tmp_path: Path) -> None:
    await api.done("filesystem", action="write", path="notes/a.md", content="# A\n\nHello **you**")
    assert (await api.done("filesystem-read", action="read", path="notes/a.md"))["result"]["size"] == 18
    made = await api.done("archive", action="create", sources=["notes"])
    assert made["artifacts"] == [made["result"]["artifact_id"]]
    await api.done("archive", action="extract", artifact_id=made["artifacts"][0], destination="back")
    assert (tmp_path / "files/back/notes/a.md").read_text().startswith("# A")
    text = (await api.done("template", template="{{ names | join }}", data={"names": ["a", "b"]}))["result"]["content"]
    assert text == "a, b"
    document = await api.done("pdf-compiler", markdown_content=text, output_path="a.pdf")
    content = await api.get(document["result"]["url"])
    assert content.content == (tmp_path / "files/a.pdf").read_bytes()


async def test_a_chart_is_an_artifact_that_other_tools_read(api: Api) -> None:
    told = await api.done("visualization", action="create_charts", data=[3, 1, 2], chart_types=["histogram"])
    (chart,) = told["result"]["charts"]
    assert chart["artifact_id"] == told["artifacts"][0]
    assert (await api.get(chart["url"])).content.startswith(b"\x89PNG")
    seen = await api.done("image-analysis", artifact_id=chart["artifact_id"], analysis_type="info")
    assert (seen["result"]["width"], seen["result"]["format"]) == (990, "png")
    small = await api.done(
        "image-processing", action="thumbnail", artifact_id=chart["artifact_id"], width=90, height=90
    )
    assert (await api.get(small["result"]["url"])).content.startswith(b"\x89PNG")


async def test_values_are_remembered_for_their_key_alone(api: Api) -> None:
    await api.done("mcp-memory", action="store", key="k", value=1)
    assert (await api.done("mcp-memory", action="retrieve", key="k"))["result"]["value"] == 1
    assert (await api.call("mcp-memory", "other", action="retrieve", key="k"))["result"]["found"] is False


async def test_a_person_agrees_or_does_not(api: Api) -> None:
    asked = await api.call("approval-gate", title="Send?", content="draft", expect=202)
    path = f"/api/v1/approvals/{asked['call_id']}/approve"
    body = {"arguments": {"title": "Send?", "content": "better"}}
    assert (await api.client.post(path, json=body, headers=bearer("admin"))).status_code == 200
    told = (await api.get(f"/api/v1/tool-calls/{asked['call_id']}?wait=10")).json()["call"]
    assert (told["state"], told["result"]["modified_content"]) == ("SUCCEEDED", "better")
    asked = await api.call("user-prompt", prompt="Which?", expect=202)
    path = f"/api/v1/approvals/{asked['call_id']}/reject"
    assert (await api.client.post(path, json={"reason": "no"}, headers=bearer("admin"))).status_code == 200
    told = (await api.get(f"/api/v1/tool-calls/{asked['call_id']}")).json()["call"]
    assert (told["state"], told["decision"]["reason"]) == ("REJECTED", "no")


async def test_the_callers_word_about_the_decision_counts(api: Api) -> None:
    given = {"title": "Send?", "content": "draft", "allow_modifications": False, "require_reason": True}
    asked = await api.call("approval-gate", **given, expect=202)
    path = f"/api/v1/approvals/{asked['call_id']}"
    for other in ({**given, "content": "better"}, {"title": "Send?", "content": "better"}):
        changed = await api.client.post(f"{path}/approve", json={"arguments": other}, headers=bearer("admin"))
        assert changed.status_code == 409
    silent = await api.client.post(f"{path}/reject", headers=bearer("admin"))
    assert (silent.status_code, silent.json()["details"]["field"]) == (400, "reason")
    same = await api.client.post(f"{path}/approve", json={"arguments": given}, headers=bearer("admin"))
    assert same.status_code == 200, same.text
    told = (await api.get(f"/api/v1/tool-calls/{asked['call_id']}?wait=10")).json()["call"]
    assert told["result"]["modified_content"] == "draft"

    asked = await api.call("user-prompt", prompt="How many?", input_type="number", expect=202)
    path = f"/api/v1/approvals/{asked['call_id']}/approve"
    body = {"prompt": "How many?", "input_type": "number", "value": "many"}
    unfit = await api.client.post(path, json={"arguments": body}, headers=bearer("admin"))
    assert unfit.status_code == 422
    fit = await api.client.post(path, json={"arguments": {**body, "value": 7}}, headers=bearer("admin"))
    assert fit.status_code == 200
    told = (await api.get(f"/api/v1/tool-calls/{asked['call_id']}?wait=10")).json()["call"]
    assert told["result"]["value"] == 7
    assert 0 < told["result"]["response_time"] < 30


async def test_answers_of_people_are_summed_up_and_kept(api: Api, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    given: dict[str, Any] = {"title": "The visit", "questions": [{"text": "How good?", "type": "rating"}]}
    asked = await api.call("feedback-collection", **given, save_to_file=True, expect=202)
    path = f"/api/v1/approvals/{asked['call_id']}/approve"
    unfit = {"arguments": {**given, "responses": "five"}}
    assert (await api.client.post(path, json=unfit, headers=bearer("admin"))).status_code == 422
    body = {"arguments": {**given, "save_to_file": True, "responses": [{"q1": 5}, {"q1": 4}]}}
    assert (await api.client.post(path, json=body, headers=bearer("admin"))).status_code == 200
    told = (await api.get(f"/api/v1/tool-calls/{asked['call_id']}?wait=10")).json()["call"]
    assert told["result"]["summary"]["rating_average"] == 4.5
    kept = (await api.get(told["result"]["url"])).json()
    assert [one["response"] for one in kept["responses"]] == [5, 4]
    asked = await api.call("feedback-collection", **given, save_to_file="../outside/a.json", expect=202)
    body = {"arguments": {**given, "save_to_file": "../outside/a.json", "responses": {}}}
    path = f"/api/v1/approvals/{asked['call_id']}/approve"
    assert (await api.client.post(path, json=body, headers=bearer("admin"))).status_code == 200
    told = (await api.get(f"/api/v1/tool-calls/{asked['call_id']}?wait=10")).json()["call"]
    assert told["state"] == "FAILED"
    assert not list((tmp_path / "outside").iterdir())


async def test_nothing_outside_the_folder(api: Api, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "files").mkdir(exist_ok=True)
    (tmp_path / "files/link").symlink_to(tmp_path)
    report = {"title": "t", "query": "", "search_results": [], "extraction_results": []}
    for path in ("../secret", "/etc/passwd", "a/../../secret", "link/secret", "C:\\secret"):
        for name, arguments in (
            ("filesystem", {"action": "read", "path": path}),
            ("filesystem", {"action": "write", "path": path, "content": "x"}),
            ("archive", {"action": "create", "sources": [path]}),
            ("image-analysis", {"path": path}),
            ("template", {"path": path}),
            ("report-generator", {**report, "output_path": path}),
        ):
            told = await api.call(name, **arguments)
            assert told["state"] == "FAILED"
            assert told["artifacts"] == []
            assert str(tmp_path) not in str(told["error"])
    assert (tmp_path / "secret").read_text() == "secret"


async def test_arguments_are_held_to_the_schema(api: Api) -> None:
    told = await api.call("filesystem", action="chmod", path="a", mode="777", expect=422)
    assert told["details"]["problems"][0]["path"] == "/mode"
    await api.call("filesystem", action="write", path="a", expect=422)
    big = base64.b64encode(b"x" * 700_000).decode()
    await api.done("filesystem", action="write", path="big", content=big, encoding="base64")
    told = await api.call("filesystem", action="append", path="big", content=big, encoding="base64")
    assert "tools.max_file" in told["error"]["message"]
