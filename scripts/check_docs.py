"""House rule 10: the reference is complete, or the check fails.

    python scripts/check_docs.py            compare
    python scripts/check_docs.py --write    write the generated pages

Two kinds of page. *Generated* ones come from the code (errors, metrics, commands, routes) and must be current;
*written* ones must name every item of their kind in backticks (settings). `PAGES` holds both and `CHECKED`
what is compared; a module that cannot be imported and a page that is missing are failures, never a silent gap.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Generated from the code by `make docs`; edits here are lost. -->"

ABOUT_METRICS = """\
`GET /metrics` answers in the Prometheus text format, and in OpenMetrics where the `Accept` header asks for it. It needs
no key unless `metrics.require_auth` is set, and is not there when `metrics.enabled` is false. Counters and histograms
are since the start of the process. The numbers of the process itself have Prometheus' usual names
(`process_cpu_seconds_total`, `process_resident_memory_bytes`, ...).
`GET /api/v1/metrics/prometheus` answers the same to callers with `metrics.read`.

`server` is a node's id; `model` is the catalogue's name. The first 500 models have a label of their own, those after
them share `other`. A histogram `x` is told as `x_bucket`, `x_sum` and `x_count`.

Gauges over a window are computed from the history when somebody asks. The history is bounded (`history.capacity`);
`orchestrator_window_covered_seconds` tells how far back it reaches.
"""


def error_rows(kind: type[Any], parent: str = "") -> list[str]:
    status = "exit 2" if kind.__name__ == "ConfigurationError" else str(kind.status)
    meaning = (kind.__doc__ or "").strip().splitlines()[0].rstrip(".")
    retry = "yes" if kind.retryable else "no"
    rows = [f"| `{kind.__name__}` | {parent} | {status} | `{kind.code}` | {retry} | {meaning}. |"]
    for child in kind.__subclasses__():
        if child.__module__ == kind.__module__:
            rows += error_rows(child, f"`{kind.__name__}`")
    return rows


def errors_page() -> str:
    root = import_module("orchestrator.domain.errors").OrchestratorError
    return "\n".join(
        [
            "# Errors",
            "",
            NOTE,
            "",
            "The type says whose fault it is and whether a retry can help: `RequestError` is the caller's fault,",
            "`Overload` the service's state, `UpstreamError` a node's fault, `ConfigurationError` the operator's file,",
            "variable or flag. *Status* is the HTTP status, *code* the stable word to program against; a retryable",
            "error may carry `Retry-After` (seconds). [Dialects](dialects.md) shows the body in which each API carries",
            "them. A node's own answer to a client's mistake (4xx) is not in this list: it is relayed as it is.",
            "",
            "| error | is a | status | code | retry | meaning |",
            "|---|---|---|---|---|---|",
            *error_rows(root),
            "",
        ]
    )


def metrics_page() -> str:
    metrics: dict[str, Any] = import_module("orchestrator.services.metrics").METRICS
    rows = [
        f"| `{name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | {one.help} |"
        for name, one in metrics.items()
    ]
    table = ["| metric | kind | labels | meaning |", "|---|---|---|---|", *rows, ""]
    return "\n".join(["# Metrics", "", NOTE, "", ABOUT_METRICS, *table])


def builtins_page() -> str:
    text: str = import_module("builtin_reference").page(NOTE)
    return text


def log_names() -> list[str]:
    """Every event, and every field of the request log."""
    request = import_module("orchestrator.adapters.logging.request")
    fields = [name for line in (request.RequestLine, request.TriedNode) for name in line.__struct_fields__]
    return [*import_module("orchestrator.services.events").EVENTS, *fields]


def commands_page() -> str:
    text: str = import_module("orchestrator.entrypoints.cli").application().generate_docs()
    title, _, rest = text.partition("\n")
    return f"# Commands\n\n{NOTE}\n\n#{title}\n{rest.rstrip()}\n"


def routes_page() -> str:
    """From the OpenAPI document: what it says is what clients generated from it see."""
    document: dict[str, Any] = import_module("orchestrator.entrypoints.http").openapi_document()
    rows = [
        f"| {method.upper()} | `{path}` | {operation.get('summary', '')} |"
        for path, operations in sorted(document["paths"].items())
        for method, operation in operations.items()
    ]
    intro = "Every route, as the service's OpenAPI document (`GET /openapi.json`) lists it."
    return "\n".join(
        ["# Routes", "", NOTE, "", intro, "", "| method | path | what it does |", "|---|---|---|", *rows, ""]
    )


def setting_names(model: Any, prefix: str = "") -> list[str]:
    """Dotted paths of all leaves of a pydantic model; a list or mapping of models contributes its items' fields."""
    names = []
    for name, field in model.model_fields.items():
        inner = [kind for kind in annotation_parts(field.annotation) if hasattr(kind, "model_fields")]
        for kind in inner:
            names += setting_names(kind, f"{prefix}{name}.")
        if not inner:
            names.append(f"{prefix}{name}")
    return names


def annotation_parts(annotation: Any) -> list[Any]:
    """The classes inside `list[X]`, `dict[str, X]`, `X | None`, `Annotated[X, ...]`, or the annotation itself."""
    arguments = getattr(annotation, "__args__", ())
    return [part for argument in arguments for part in annotation_parts(argument)] or [annotation]


def settings() -> list[str]:
    return setting_names(import_module("orchestrator.settings").Settings)


@dataclass(frozen=True, slots=True)
class Page:
    """`text` writes the whole page; `names` are what a hand-written page must mention. One of the two."""

    path: str
    text: Callable[[], str] | None = None
    names: Callable[[], list[str]] | None = None


PAGES = {
    "errors": Page("docs/reference/errors.md", text=errors_page),
    "metrics": Page("docs/reference/metrics.md", text=metrics_page),
    "commands": Page("docs/reference/cli.md", text=commands_page),
    "routes": Page("docs/reference/routes.md", text=routes_page),
    "builtins": Page("docs/reference/builtin-tools.md", text=builtins_page),
    "logs": Page("docs/reference/logs.md", names=log_names),
    "settings": Page("docs/reference/settings.md", names=settings),
}
CHECKED = ("errors", "commands", "metrics", "builtins", "logs")


def problems(page: Page) -> list[str]:
    path = ROOT / page.path
    current = path.read_text(encoding="utf-8") if path.exists() else ""
    if not current:
        return [f"{page.path} is missing" + (": run `make docs`" if page.text else "")]
    if page.text is not None:
        return [] if page.text() == current else [f"{page.path} is not current: run `make docs`"]
    names = page.names() if page.names is not None else []
    current = current.replace("[]", "")  # `nodes[].id` and `nodes.id` both name a field of a list's items
    return [f"{page.path} does not mention `{name}`" for name in names if f"`{name}`" not in current]


def write(page: Page) -> None:
    if page.text is not None:
        (ROOT / page.path).write_text(page.text(), encoding="utf-8")


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--write"]):
        print(__doc__)
        return 2
    if arguments:
        for kind in CHECKED:
            write(PAGES[kind])
    found = [problem for kind in CHECKED for problem in problems(PAGES[kind])]
    for problem in found:
        print(f"error: {problem}")
    print(f"docs: {len(CHECKED)} reference pages, {len(found)} errors")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
