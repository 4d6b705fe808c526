"""The reference of /api/v1 names every route with its permission, and every event."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.entrypoints.http import openapi_document
from orchestrator.entrypoints.http.tasks.envelope import PREFIX
from orchestrator.services.tasks.events import EVENTS

PAGE = (Path(__file__).parents[2] / "docs/reference/tasks-api.md").read_text()
ROW = re.compile(r"^\| `([A-Z]+) (/\S+)` \| `?([a-z.]+)`? \|", re.MULTILINE)
# They have pages of their own.
ELSEWHERE = tuple(
    f"{PREFIX}/{area}" for area in ("artifacts", "tools", "tool-calls", "tool-hosts", "approvals", "mcp", "search")
)
NO_OPERATION = {("GET", "/ws"): "tasks.read"}  # an OpenAPI document has no WebSockets


def test_the_reference_has_every_route_and_no_other() -> None:
    written = {(method, path): permission for method, path, permission in ROW.findall(PAGE)}
    served = {
        (method.upper(), path.removeprefix(PREFIX)): operation.get("x-permission", "open")
        for path, operations in openapi_document()["paths"].items()
        for method, operation in operations.items()
        if path.startswith(f"{PREFIX}/") and not path.startswith(ELSEWHERE)
    }
    assert written == served | NO_OPERATION


def test_the_reference_has_every_event_and_its_fields() -> None:
    for name, meaning in EVENTS.items():
        assert f"| `{name}` | {meaning} |" in PAGE
