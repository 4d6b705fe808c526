"""The reference of artifacts names every route with its permission, and every field of an upload."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.entrypoints.http import openapi_document
from orchestrator.entrypoints.http.artifacts.described import FIELDS

PAGE = (Path(__file__).parents[2] / "docs/reference/artifacts.md").read_text()
ROW = re.compile(r"^\| `([A-Z]+) (/\S+)` \| `?([a-z.]+)`? \|", re.MULTILINE)


def test_the_reference_has_every_route_and_no_other() -> None:
    written = {(method, path): permission for method, path, permission in ROW.findall(PAGE)}
    served = {
        (method.upper(), path): operation.get("x-permission", "open")
        for path, operations in openapi_document()["paths"].items()
        for method, operation in operations.items()
        if path.startswith(("/artifacts", "/api/v1/artifacts"))
    }
    assert written == served


def test_the_reference_has_every_field_of_an_upload() -> None:
    for name in FIELDS:
        assert f"`{name}`" in PAGE
