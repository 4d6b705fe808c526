"""The registry at a size: how long every list, query and monitoring route takes.

    python -m benchmarks.registry --artifacts 1000000 --tools 100000 --database sqlite|postgres|both

Fills a database of its own with nodes, tools with tags and schemas, and artifacts; starts the service on it, and asks
every question over HTTP, one after the other, on one connection. PostgreSQL is a private server that is started for it
and thrown away. Exits with 1 when a question's p95 is over the goal: 100 ms on PostgreSQL, 300 ms on SQLite.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

import httpx2
from rich.console import Console
from rich.table import Table

from benchmarks.analytics import Answer, p95, serving
from benchmarks.environment import BUILD, RESULTS, UnavailableError
from benchmarks.registry_fill import Content, Sample, fill_postgres, fill_sqlite
from orchestrator.entrypoints.http.artifacts import contract, listing
from orchestrator.entrypoints.http.registry import nodes, queries, tools, upkeep
from orchestrator.storage import open_storage

GOALS = {"postgres": 100.0, "sqlite": 300.0}  # ms at p95
REPEATS = 30
Question = tuple[str, str]  # a route as it is declared, and what is asked of it


def questions(there: Sample, tools: int, artifacts: int) -> Iterator[Question]:
    """What is asked. `tools` and `artifacts` are how many there are: pages near the end pass over nearly all."""
    yield "/nodes/", "/nodes/"
    yield "/nodes/", "/nodes/?skip=150&limit=50"
    yield "/nodes/active/", "/nodes/active/"
    yield "/nodes/type/{node_type}", "/nodes/type/TOOL_EXECUTOR"
    yield "/nodes/{node_id}", f"/nodes/{there.node}"
    yield from _of_tools(there, tools)
    yield from _of_artifacts(there, artifacts)
    yield from _reports(there, tools)


def _of_tools(there: Sample, number: int) -> Iterator[Question]:
    deep = f"skip={number - number // 20}"
    for which in (
        *("", deep, f"skip={number // 2}", "limit=1000", "count=true", "status=DEPRECATED&count=true"),
        *("category=TEAM-07", f"category=TEAM-07&{deep[:-2]}", f"node_id={there.node}", f"tag={quote(there.tag)}"),
        *("tag=eam", "tag=none-has-this", f"input_property={there.rare}", f"input_property={there.word}&count=true"),
        *(f"q={there.word}", f"q={there.rare}", f"q={there.word}&count=true", "q=1", "q=team&skip=5000"),
        *(f"q={there.word}+{there.rare}&status=ENABLED", f"q=%22{there.word}+{there.rare}%22", "q=none-has-this"),
    ):
        yield "/tools/", f"/tools/?{which}"
    for which in ("", deep, f"skip={number // 2}&limit=1000"):
        yield "/tools/active/", f"/tools/active/?{which}"
    yield "/tools/name/{tool_name:path}", f"/tools/name/{there.tool_name}"
    yield "/tools/category/{category:path}", "/tools/category/ANALYSIS"
    yield "/tools/tags/{tag_search:path}", f"/tools/tags/{quote(there.tag)}"
    yield "/tools/tags/{tag_search:path}", "/tools/tags/eam"
    yield "/tools/tags/{tag_search:path}", "/tools/tags/none-has-this"
    yield "/tools/{tool_id}", f"/tools/{there.tool}"


def _of_artifacts(there: Sample, number: int) -> Iterator[Question]:
    deep, words = number - number // 20, (there.word, there.rare)
    for which in (
        *("", f"skip={deep}", f"skip={number // 2}", "limit=1000", f"q={words[0]}", f"q={words[1]}", "q=pdf"),
        *("q=1", "q=application", "q=none-has-this", f"q={words[0]}+{words[1]}", f"q={words[0]}+pdf&skip=900"),
        *("q=task", "q=pdf&skip=20000", f"q={quote(there.file_name)}"),
    ):
        yield "/artifacts/", f"/artifacts/?{which}"
    for which in ("", "threshold=0", f"threshold=0&skip={deep}", "threshold=5000000000", "limit=1000"):
        yield "/artifacts/large/", f"/artifacts/large/?{which}"
    yield "/artifacts/tool/{tool_id}", f"/artifacts/tool/{there.tool}"
    yield "/artifacts/{artifact_id}", f"/artifacts/{there.artifact}"
    for which in (
        *("", f"offset={deep}", "limit=1000", f"tool_id={there.tool}", f"task_id={there.task}", "run_id=run-77"),
        *("principal_id=key:team-7", f"file_name={quote(there.file_name)}", "mime_type=application/pdf"),
        *(f"mime_type=application/pdf&offset={number // 8}", f"sha256={there.sha256}", f"input={there.artifact}"),
        *("state=stored", "state=damaged", "larger_than=100000000", "order=largest", f"order=largest&offset={deep}"),
        *("order=oldest", "order=expiring", "order=unverified", f"q={words[0]}&order=largest", "q=pdf&order=newest"),
        *(
            f"q={words[1]}&order=oldest",
            "q=pdf&state=stored",
            "q=report&principal_id=key:team-7",
            "q=pdf&run_id=run-77",
        ),
    ):
        yield "/api/v1/artifacts", f"/api/v1/artifacts?{which}"
    yield "/api/v1/artifacts/{artifact_id}", f"/api/v1/artifacts/{there.artifact}"
    yield "/api/v1/artifacts/{artifact_id}/lineage", f"/api/v1/artifacts/{there.artifact}/lineage?depth=3"


def _reports(there: Sample, number: int) -> Iterator[Question]:
    deep = number - number // 20
    for route, others in (
        ("/queries/active-tools-with-nodes", (f"skip={deep - number // 5}",)),
        ("/queries/tools-by-category-with-tags", ("category=ANALYSIS", f"skip={deep - number // 5}")),
        ("/queries/node-health-status", ()),
        ("/queries/node-statistics", ()),
        ("/queries/large-artifacts-by-tool", (f"skip={number // 10}",)),
        ("/queries/search-tools-by-schema", (f"input_property={there.word}&output_property={there.rare}",)),
        ("/maintenance/tools-without-nodes", (f"skip={number // 10}",)),
        ("/monitoring/storage-usage-by-category", ()),
        ("/monitoring/tool-usage-statistics", (f"skip={deep}",)),
        ("/monitoring/data-integrity", ()),
        ("/stats/summary", ()),
    ):
        for which in ("", *others):
            yield route, f"{route}?{which}"


def unasked(asked: Sequence[Question]) -> set[str]:
    """Routes that only read, which the service has and nobody asks here."""
    routers = (nodes.router, tools.router, queries.router, upkeep.router, contract.router, listing.router)
    found = {
        str(getattr(route, "path", ""))
        for router in routers
        for route in router.routes
        if "GET" in getattr(route, "methods", ()) and getattr(route, "include_in_schema", True)
    }
    return found - {route for route, _ in asked}


async def _ask(url: str, asked: Sequence[Question], repeats: int) -> list[Answer]:
    answers = []
    async with httpx2.AsyncClient(base_url=url, timeout=120.0) as client:
        for route, query in asked:
            first, size = await _once(client, query)
            times = [(await _once(client, query))[0] for _ in range(repeats)]
            middle = statistics.median(times)
            answers.append(Answer(route, query, first, min(times), middle, p95(times), max(times), size))
    return answers


async def _once(client: httpx2.AsyncClient, query: str) -> tuple[float, int]:
    """Milliseconds and bytes."""
    began = time.perf_counter()
    response = await client.get(query)
    took = (time.perf_counter() - began) * 1000
    if response.status_code != 200:
        raise UnavailableError(f"{query}: {response.status_code} {response.content[:200]!r}")
    return took, len(response.content)


async def _fill(kind: str, url: str, content: Content) -> float:
    """Seconds that it took."""
    async with open_storage(url):  # makes the tables
        pass
    began = time.perf_counter()
    if kind == "sqlite":
        fill_sqlite(url.removeprefix("sqlite:///"), content)
    else:
        await fill_postgres(url, content)
    return time.perf_counter() - began


def _print(console: Console, answers: Sequence[Answer], goal: float) -> None:
    table = Table("question", "median ms", "p95 ms", "first ms", "KB")
    for one in sorted(answers, key=lambda one: -one.p95):
        style = "red" if one.p95 > goal else None
        figures = (f"{one.median:.1f}", f"{one.p95:.1f}", f"{one.first:.1f}", f"{one.bytes / 1000:,.0f}")
        table.add_row(one.query, *figures, style=style)
    console.print(table)


@contextmanager
def _database(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'registry.db'}"
        return
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
    from servers import postgres

    server = postgres.start(folder, os.getpid(), durable=True)
    try:
        yield server.create("registry")
    finally:
        server.stop()


def _measure(kind: str, folder: Path, options: argparse.Namespace, console: Console) -> dict[str, object]:
    content = Content(options.tools, options.artifacts)
    with _database(kind, folder) as url:
        seconds = asyncio.run(_fill(kind, url, content))
        console.print(f"filled in {seconds:.0f} s", style="dim")
        asked = list(questions(content.sample(), options.tools, options.artifacts))
        missing = unasked(asked)
        if missing:
            raise UnavailableError(f"the benchmark asks nothing of {', '.join(sorted(missing))}")
        asked = [one for one in asked if options.only in one[1]]
        with serving(url, folder, {}) as service:
            answers = asyncio.run(_ask(service, asked, options.repeats))
    _print(console, answers, GOALS[kind])
    slow = [f"{one.query}: {one.p95:.0f} ms" for one in answers if one.p95 > GOALS[kind]]
    worst = max(answers, key=lambda one: one.p95)
    console.print(f"slowest of {len(answers)} questions: {worst.query} {worst.p95:.0f} ms at p95")
    console.print(f"missed: {'; '.join(slow) or 'nothing'}")
    return {
        "database": kind,
        "artifacts": options.artifacts,
        "tools": options.tools,
        "filled_seconds": round(seconds),
        "load_average": os.getloadavg()[1],
        "missed": slow,
        "questions": [asdict(one) for one in answers],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.registry", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--artifacts", type=int, default=1_000_000, help="how many (default: 1,000,000)")
    parser.add_argument("--tools", type=int, default=100_000, help="how many (default: 100,000)")
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"of each question (default: {REPEATS})")
    parser.add_argument("--only", default="", help="only questions with this text in them")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of registry-DATABASE.json")
    options, console = parser.parse_args(arguments), Console(width=140)
    BUILD.mkdir(parents=True, exist_ok=True)
    missed = False
    for kind in ("sqlite", "postgres") if options.database == "both" else (options.database,):
        folder = Path(tempfile.mkdtemp(dir=BUILD))
        console.rule(kind)
        try:
            found = _measure(kind, folder, options, console)
        except UnavailableError as error:
            console.print(f"cannot run: {error}", style="red")
            return 2
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"registry-{kind}.json").write_text(json.dumps(found, indent=1) + "\n")
        missed = missed or bool(found["missed"])
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
