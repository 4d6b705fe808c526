"""The reference of the registry names every route at the root with its permission."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.domain.tool import TOTALS
from orchestrator.entrypoints.http import openapi_document
from orchestrator.entrypoints.http.failure import REGISTRY_AREAS

PAGE = (Path(__file__).parents[2] / "docs/reference/registry-api.md").read_text()
ROW = re.compile(r"^\| `([A-Z]+) (/\S+)` \| `?([a-z.]+)`? \|", re.MULTILINE)
ELSEWHERE = "artifacts"  # has a page of its own
AREAS = {*REGISTRY_AREAS, "docs", "redoc"} - {ELSEWHERE}


def test_the_reference_has_every_route_and_no_other() -> None:
    written = {(method, path): permission for method, path, permission in ROW.findall(PAGE)}
    served = {
        (method.upper(), path): operation.get("x-permission", "open")
        for path, operations in openapi_document()["paths"].items()
        for method, operation in operations.items()
        if path.split("/")[1] in AREAS
    }
    assert written == served


def test_the_reference_has_every_number_of_the_summary() -> None:
    for name in TOTALS:
        assert f"`{name}`" in PAGE
