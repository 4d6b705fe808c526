"""Watches model jobs on the command line: a bar for each on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import Connection, segment
from orchestrator.entrypoints.cli.failure import CommandFailed, ServiceUnreachable
from orchestrator.entrypoints.cli.options import Remote

EVERY = 1.0  # seconds between two looks
AWAY = 60.0  # seconds that a service may be away: it takes its jobs up again
STEP = 10.0  # percent between two plain lines
COLUMNS = ("job", "kind", "model", "node", "state", "done", "note")
Job = dict[str, Any]


class _Display(Protocol):
    def show(self, job: Job) -> None: ...


def follow(connection: Connection, remote: Remote, jobs: Sequence[Job]) -> None:
    """Shows jobs until they have ended, then what became of them. Raises CommandFailed for those that failed.

    Ctrl-C ends the watching only.
    """
    try:
        with _display(remote) as display:
            ended = _until_the_end(connection, list(jobs), display)
    except KeyboardInterrupt:
        ids = " ".join(job["id"] for job in jobs)
        output.say(
            f"What was begun goes on ({ids}). `orchestrator models jobs watch ID` shows it, `... cancel ID` ends it."
        )
        raise
    told(remote, ended)
    failed = [job for job in ended if job["status"] != "succeeded"]
    if failed:
        reasons = "; ".join(f"{job['serverId'] or 'no node'}: {job['error'] or job['status']}" for job in failed)
        raise CommandFailed(f"{failed[0]['model']} was not brought to every node: {output.printable(reasons)}")


def told(remote: Remote, jobs: Sequence[Job], empty: str = "") -> None:
    """Jobs as data."""
    if remote.json:
        output.print_json({"jobs": list(jobs)})
    else:
        output.print_table(COLUMNS, [_row(job) for job in jobs], empty)


def _row(job: Job) -> tuple[Any, ...]:
    percent = f"{job['percent']:g} %" if job["percent"] is not None else None
    note = job["error"] or job["detail"]
    return (job["id"], job["kind"], job["model"], job["serverId"], job["status"], percent, note or None)


def _until_the_end(connection: Connection, jobs: list[Job], display: _Display) -> list[Job]:
    answered = time.monotonic()
    while True:
        for job in jobs:
            display.show(job)
        if all(job["endedAt"] is not None for job in jobs):
            return jobs
        time.sleep(EVERY)
        try:
            jobs = _now(connection, jobs)
            answered = time.monotonic()
        except ServiceUnreachable:
            if time.monotonic() - answered > AWAY:
                raise


def _now(connection: Connection, jobs: list[Job]) -> list[Job]:
    """One call, however many jobs there are: calls are limited."""
    if len(jobs) == 1:
        return [connection.admin("GET", f"/models/jobs/{segment(jobs[0]['id'])}")["job"]]
    found = connection.admin("GET", "/models/jobs", model=jobs[0]["model"], limit=1000)["jobs"]
    by_id = {job["id"]: job for job in found}
    return [by_id.get(job["id"], job) for job in jobs]


@contextmanager
def _display(remote: Remote) -> Iterator[_Display]:
    if remote.json:
        yield _Silence()
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
        )
        with Progress(*columns, console=Console(file=sys.stderr, highlight=False)) as progress:
            yield _Bars(progress)


class _Silence:
    def show(self, job: Job) -> None:
        """Nothing before the end."""


class _Lines:
    """A line when a job's state has changed, and with every 10 % of a layer."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Any, ...]] = {}

    def show(self, job: Job) -> None:
        percent = job["percent"]
        step = percent // STEP if percent is not None else None
        state = (job["serverId"], job["status"], job["detail"], job["error"], step)
        if self._last.get(job["id"]) != state:
            self._last[job["id"]] = state
            share = f"  {percent:g} % of {output.size(job['total'])}" if percent is not None and job["total"] else ""
            output.say(f"{_name(job)}: {_words(job)}{share}")


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def show(self, job: Job) -> None:
        task = self._tasks.get(job["id"])
        if task is None:
            task = self._tasks[job["id"]] = self._progress.add_task(_name(job), total=None, detail="")
        done = job["total"] if job["status"] == "succeeded" else job["completed"]
        self._progress.update(
            task, description=_name(job), total=job["total"] or None, completed=done, detail=_words(job)
        )


def _name(job: Job) -> str:
    return output.printable(f"{job['model']} on {job['serverId'] or '(not placed)'}")


def _words(job: Job) -> str:
    if job["endedAt"] is not None:
        return output.printable(job["error"] or job["status"])
    retrying = f"retrying: {job['error']}" if job["error"] else ""
    return output.printable(retrying or job["detail"] or job["status"])
