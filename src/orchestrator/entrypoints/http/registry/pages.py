"""The API as a page that needs nothing from elsewhere."""

from __future__ import annotations

from functools import lru_cache
from html import escape
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from orchestrator import __version__
from orchestrator.domain.access import Permission, Principal
from orchestrator.entrypoints.http import openapi
from orchestrator.entrypoints.http.permission import requires
from orchestrator.entrypoints.http.registry.route import registry_router

router = registry_router("documentation")
READ = requires(Permission.MODELS_READ)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid #8884; padding: .3rem .6rem; vertical-align: top; }
code { font: 13px ui-monospace, monospace; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } a { color: #8cf; } }
"""


@router.get("/docs", response_class=HTMLResponse)
@router.get("/redoc", response_class=HTMLResponse)
async def docs(request: Request, principal: Principal = READ) -> HTMLResponse:
    """Every operation of this service with its permission, as a page; /openapi.json has the details."""
    return HTMLResponse(_page(request.app), headers={"Content-Security-Policy": POLICY})


@lru_cache(maxsize=1)
def _page(app: FastAPI) -> str:
    areas: dict[str, list[str]] = {}
    for path, operations in openapi.document(app)["paths"].items():
        for method, operation in operations.items():
            areas.setdefault(operation["tags"][0], []).append(_row(method.upper(), path, operation))
    tables = "\n".join(f"<h2>{escape(area)}</h2>\n<table>{''.join(lines)}</table>" for area, lines in areas.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Orchestrator API</title><style>{STYLE}</style></head><body>"
        f'<h1>Orchestrator {escape(__version__)}</h1><p>The whole description: <a href="/openapi.json">openapi.json</a>'
        f" (OpenAPI 3.1).</p>{tables}</body></html>"
    )


def _row(method: str, path: str, operation: dict[str, Any]) -> str:
    permission = operation.get("x-permission", "open")
    text = escape(" ".join(operation.get("description", operation.get("summary", "")).split()))
    cells = (f"<code>{method}</code>", f"<code>{escape(path)}</code>", f"<code>{escape(permission)}</code>", text)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
