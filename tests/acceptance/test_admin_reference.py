"""The reference names every administration route with its permission; the document describes the inference paths."""

from __future__ import annotations

import re
from pathlib import Path

from admin_api import ADMIN, admin

from orchestrator.domain.dialects import ENDPOINTS
from orchestrator.entrypoints.http import openapi_document

PAGE = Path(__file__).parents[2] / "docs/reference/api.md"
ROW = re.compile(r"^\| `([A-Z]+) (/\S+)` \| `([a-z.]+)` \|", re.MULTILINE)


def test_the_reference_has_every_route_and_no_other() -> None:
    written = {(method, path): permission for method, path, permission in ROW.findall(PAGE.read_text())}
    served = {
        (method.upper(), path.removeprefix(ADMIN)): operation["x-permission"]
        for path, operations in openapi_document()["paths"].items()
        for method, operation in operations.items()
        if path.startswith(ADMIN)
    }
    assert written == served


async def test_the_document_is_served_and_describes_inference(tmp_path: Path) -> None:
    async with admin(tmp_path) as (running, api):
        document = (await api.get(f"{running.url}/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    for path in ENDPOINTS:
        assert document["paths"][path]["post"]["x-permission"] == "inference.use"
        assert document["paths"][path]["post"]["summary"]
        assert f"{path}--{{serverId}}" in document["paths"]
    assert document["paths"]["/health"]["get"]["security"] == []
    names = [one["operationId"] for operations in document["paths"].values() for one in operations.values()]
    assert len(names) == len(set(names))
