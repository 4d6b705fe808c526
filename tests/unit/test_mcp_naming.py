"""Names and schemas on their way into MCP and out of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.mcp import McpAnswer, McpFile, McpServer, McpTool, side_effect, tool_name
from orchestrator.domain.tool import NAME_LIMIT, Execution, SideEffect, Tool, ToolKind
from orchestrator.entrypoints.mcp import naming
from orchestrator.services.mcp.runner import McpRunner, outcome
from orchestrator.services.mcp.servers import check_server

ID = "0f0e0d0c-0b0a-4908-8706-050403020100"


@given(st.text(min_size=1, max_size=NAME_LIMIT))
def test_every_tool_has_a_name_that_mcp_allows_and_that_finds_it(name: str) -> None:
    tool = Tool(ID, name, "c")
    found = naming.mcp_name(tool)
    assert naming.NAME.match(found)
    assert naming.own_name(found) in (name, ID)


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_tools_of_a_server_have_names_of_their_own(one: str, other: str) -> None:
    names = tool_name("a-server", one), tool_name("a-server", other)
    assert all(len(name) <= NAME_LIMIT and naming.NAME.match(name) for name in names)
    assert (one == other) == (names[0] == names[1])


def test_hints_are_believed_only_where_that_is_said() -> None:
    reads, destroys = McpTool("a", read_only=True), McpTool("a", read_only=False, destructive=True)
    assert side_effect(reads, trusted=False) is side_effect(destroys, trusted=False) is SideEffect.EXTERNAL
    assert side_effect(reads, trusted=True) is SideEffect.READ
    assert side_effect(destroys, trusted=True) is SideEffect.DANGEROUS
    assert side_effect(McpTool("a"), trusted=True) is SideEffect.EXTERNAL


@pytest.mark.parametrize("schema", [None, {}, {"properties": 5}, {"required": True}, {"$schema": 1}])
def test_a_schema_that_clients_could_not_read_is_left_out(schema: dict[str, object] | None) -> None:
    assert naming.object_schema(schema) == {"type": "object"}
    assert naming.result_schema(schema) is None


def test_results_that_are_objects_have_a_schema() -> None:
    schema = {"type": "object", "properties": {"a": True}}
    assert naming.result_schema(schema) == schema
    assert naming.result_schema({"type": "array"}) is None


@pytest.mark.parametrize("uri", ["", "artifact://", "artifact://x", f"file://{ID}", ID, f"artifact://{ID}/../x"])
def test_other_uris_are_no_artifacts(uri: str) -> None:
    assert naming.artifact_of(uri) is None


def test_the_uri_of_an_artifact_leads_to_it() -> None:
    assert naming.artifact_of(naming.artifact_uri(ID)) == ID


def test_files_of_an_answer_have_harmless_names() -> None:
    files = (
        McpFile("image/png", b"1", "../../etc/x"),
        McpFile("no type", b"2"),
        McpFile("text/html; x=y", b"3", "a b"),
    )
    made = outcome(McpAnswer(False, files=files)).files
    assert [(file.file_name, file.mime_type) for file in made] == [
        ("etc_x.png", "image/png"),
        ("file.bin", "application/octet-stream"),
        ("a_b.html", "text/html"),
    ]


@pytest.mark.parametrize(
    "binding", [{}, {"server": "a"}, {"server": "A B", "tool": "x"}, {"server": "a", "tool": "x", "command": ["x"]}]
)
def test_a_binding_names_a_server_and_a_tool(binding: dict[str, object]) -> None:
    tool = Tool(ID, "n", "c", execution=Execution(ToolKind.MCP, binding))
    with pytest.raises(InvalidRequest):
        McpRunner.check(McpRunner.__new__(McpRunner), tool)


@pytest.mark.parametrize(
    "server",
    [
        McpServer("UPPER", url="http://x/"),
        McpServer("a" * 41, url="http://x/"),
        McpServer("a", command=("x",)),
        McpServer("a", url="ftp://x/"),
        McpServer("a", url="http://user:pass@x/"),
        McpServer("a", url="http://x/", headers={"Host": "y"}),
        McpServer("a", url="http://x/", headers={"A": "b\r\nC: d"}),
    ],
)
def test_what_no_client_may_add(server: McpServer) -> None:
    with pytest.raises(InvalidRequest):
        check_server(server)
