"""The reference of tools names every route with its permission, and every field of tools and calls."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.domain.breaker import Breaker
from orchestrator.domain.tool import Execution, Tool, ToolKind
from orchestrator.domain.tool_call import CallState, ToolCall
from orchestrator.entrypoints.http import openapi_document
from orchestrator.entrypoints.http.tools.body import ApproveBody, CallBody
from orchestrator.entrypoints.http.tools.hosts import host_view
from orchestrator.entrypoints.http.tools.view import call_view, tool_view

PAGE = (Path(__file__).parents[2] / "docs/reference/tools-api.md").read_text()
ROW = re.compile(r"^\| `([A-Z]+) (/\S+)` \| `?([a-z.]+)`? \|", re.MULTILINE)
TOOL = Tool("t", "n", "c", execution=Execution(ToolKind.HTTP))
CALL = ToolCall("c", "t", "n", {}, "p", CallState.RUNNING, 0.0)


def test_the_reference_has_every_route_and_no_other() -> None:
    written = {(method, path): permission for method, path, permission in ROW.findall(PAGE)}
    served = {
        (method.upper(), path): operation["x-permission"]
        for path, operations in openapi_document()["paths"].items()
        for method, operation in operations.items()
        if re.match(r"/api/v1/(tools|tool-calls|tool-hosts|approvals|search)\b", path)
    }
    assert written == served


@pytest.mark.parametrize(
    "fields",
    [
        tool_view(TOOL),
        tool_view(TOOL)["execution"],
        call_view(CALL),
        CallBody.model_fields,
        ApproveBody.model_fields,
        host_view(Breaker("h"), 0.0),
    ],
)
def test_the_reference_has_every_field(fields: dict[str, object]) -> None:
    for name in fields:
        assert f"`{name}`" in PAGE or f"{{{name}, " in PAGE or f", {name}}}" in PAGE, name


def test_the_reference_has_every_state() -> None:
    for state in CallState:
        assert f"`{state.value}`" in PAGE
