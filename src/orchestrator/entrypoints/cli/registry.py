"""`orchestrator registry`."""

from __future__ import annotations

from typing import Any

from cyclopts import App

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import Refused
from orchestrator.entrypoints.cli.options import HERE, Remote

registry = App(name="registry", help="The registry of tools: a summary, and sample data to try it with.")

EXECUTOR, ANALYSIS = "TOOL_EXECUTOR", "ANALYSIS_NODE"
NODES = (
    (EXECUTOR, "http://worker-1:8000"),
    ("OBSERVATION_NODE", "http://observer-1:8001"),
    (ANALYSIS, "http://analyzer-1:8002"),
    ("STORAGE_NODE", "http://storage-1:8003"),
)


def _schema(**properties: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": kind} for name, kind in properties.items()}}


TOOLS: tuple[dict[str, Any], ...] = (
    {
        "name": "file_analyzer",
        "description": "Analyzes files and tells their metadata",
        "category": "ANALYSIS",
        "version": "1.0.0",
        "input_schema": _schema(file_path="string"),
        "output_schema": _schema(metadata="object"),
    },
    {
        "name": "image_processor",
        "description": "Applies operations to an image",
        "category": "PROCESSING",
        "version": "2.1.0",
        "input_schema": _schema(image_url="string", operations="array"),
        "output_schema": _schema(processed_url="string"),
    },
    {
        "name": "data_validator",
        "description": "Validates data against rules",
        "category": "VALIDATION",
        "version": "1.5.0",
        "input_schema": _schema(data="object", rules="array"),
        "output_schema": _schema(valid="boolean", errors="array"),
    },
)
ON = {"file_analyzer": ANALYSIS, "image_processor": EXECUTOR, "data_validator": EXECUTOR}
TAGS = {
    "file_analyzer": ("analysis", "files"),
    "image_processor": ("image", "processing"),
    "data_validator": ("data", "validation"),
}
ARTIFACTS = {
    "file_analyzer": ("analysis_report.json", "application/json", 2_048),
    "image_processor": ("processed_image.png", "image/png", 1_024_000),
    "data_validator": ("validation_results.json", "application/json", 512),
}


@registry.command
def summary(*, remote: Remote = HERE) -> None:
    """Show the numbers of nodes, tools, tags and artifacts.

    Examples: `orchestrator registry summary`, `orchestrator registry summary --json`
    """
    with Connection(remote) as connection:
        found = connection.get("/stats/summary")
    if remote.json:
        output.print_json(found)
    else:
        output.print_fields(found)


@registry.command
def sample_data(*, remote: Remote = HERE) -> None:
    """Register four nodes, three tools with tags, and three artifacts to try the registry with. Tools that are there
    already, with their artifacts and nodes, are left as they are.

    Examples: `orchestrator registry sample-data`
    """
    made = {"nodes": 0, "tools": 0, "artifacts": 0}
    with Connection(remote) as connection:
        missing = [tool for tool in TOOLS if not _known(connection, tool["name"])]
        nodes: dict[str, str] = {}
        for node_type, address in NODES if missing else ():
            body = {"node_type": node_type, "address": address, "status": "ACTIVE"}
            nodes[node_type] = connection.call("POST", "/nodes/", body)["node_id"]
            made["nodes"] += 1
        for tool in missing:
            name = tool["name"]
            tool_id = connection.call("POST", "/tools/", {**tool, "target_node_id": nodes[ON[name]]})["tool_id"]
            for tag in TAGS[name]:
                connection.call("POST", f"/tools/{tool_id}/tags/{segment(tag)}")
            connection.call("POST", "/artifacts/", _artifact(name, tool_id))
            made["tools"] += 1
            made["artifacts"] += 1
    if remote.json:
        output.print_json(made)
    else:
        output.say(f"Registered {made['nodes']} nodes, {made['tools']} tools and {made['artifacts']} artifacts.")


def _artifact(tool: str, tool_id: str) -> dict[str, Any]:
    file_name, mime_type, size = ARTIFACTS[tool]
    return {
        "file_name": file_name,
        "mime_type": mime_type,
        "storage_pointer": f"s3://artifacts/{file_name}",
        "size_bytes": size,
        "created_by_tool_id": tool_id,
    }


def _known(connection: Connection, name: str) -> bool:
    try:
        connection.get(f"/tools/name/{segment(name)}")
    except Refused as error:
        if error.answered != 404:
            raise
        return False
    return True
