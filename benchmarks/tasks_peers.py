"""Other engines with the same no-op task, each in a process of its own from the environment of `task_peers/`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import HERE, UnavailableError
from benchmarks.process import Process
from benchmarks.tasks_servers import ROOT, Postgres, redis
from benchmarks.tasks_service import Quiet

SCRIPTS = HERE / "task_peers"
PYTHON = ROOT / ".venv-task-peers" / "bin" / "python"
LONGEST = 180  # seconds for one peer
FIGURES = '{"tasks"'  # how the line begins that a peer's script ends with; its workers may write after it


@dataclass(frozen=True)
class Peer:
    """`tasks` are chosen for a run of some seconds; `store` is redis-always, redis-everysec, postgres or sqlite."""

    name: str
    script: str
    store: str
    tasks: int
    what: str


PEERS = (
    Peer("Celery", "celery_peer", "redis-always", 2_000, "prefork, 2 processes, acks_late; Redis results; AOF always"),
    Peer("Celery, everysec", "celery_peer", "redis-everysec", 3_000, "the same; AOF everysec: up to a second is lost"),
    Peer("taskiq", "taskiq_peer", "redis-always", 8_000, "2 workers, Redis stream, Redis results; AOF always"),
    Peer("procrastinate", "procrastinate_peer", "postgres", 4_000, "1 worker of 20, submitted 500 at a time"),
    Peer(
        "pgqueuer",
        "pgqueuer_peer",
        "postgres",
        40_000,
        "2 workers, batches of 100, submitted 500 at a time; no results",
    ),
    Peer(
        "DBOS, PostgreSQL", "dbos_peer", "postgres", 3_000, "workflow without a step, results; queue polled each 10 ms"
    ),
    Peer("DBOS, SQLite", "dbos_peer", "sqlite", 1_000, "the same; SQLite as it ships it"),
)


@dataclass(frozen=True)
class PeerFlow:
    """As `Flow`: from the first submission until the last result is stored; CPU of the machine in us a task. `others`
    covers the start of the workers, too."""

    tasks: int
    seconds: float
    rate: float
    machine_cpu_us: float
    version: str
    others: float


def run(
    folder: Path, postgres: Postgres, *, part: float, say: Callable[[str], None]
) -> tuple[dict[str, PeerFlow], dict[str, str]]:
    """Every peer, with `part` of its tasks: what was measured, and why others were left out."""
    found: dict[str, PeerFlow] = {}
    left_out: dict[str, str] = {}
    if not PYTHON.exists():
        return found, {peer.name: "its environment is missing: make .venv-task-peers/.made" for peer in PEERS}
    for peer in PEERS:
        try:
            with _store(peer, folder, postgres) as url:
                found[peer.name] = _measure(peer, folder, url, max(int(peer.tasks * part), 500))
        except UnavailableError as error:
            left_out[peer.name] = str(error)
            say(f"{peer.name} is left out: {error}")
        else:
            say(f"{peer.name}: {found[peer.name].rate:,.0f} tasks/s")
    return found, left_out


@contextmanager
def _store(peer: Peer, folder: Path, postgres: Postgres) -> Iterator[str]:
    if peer.store == "postgres":
        yield postgres.create()
    elif peer.store == "sqlite":
        yield f"sqlite:///{folder / peer.script}.db"
    else:
        with redis(folder, peer.store.removeprefix("redis-")) as url:
            yield url


def _measure(peer: Peer, folder: Path, url: str, tasks: int) -> PeerFlow:
    log = folder / f"{peer.script}-{peer.store}.log"
    command = [str(PYTHON), str(SCRIPTS / f"{peer.script}.py"), "--url", url, "--tasks", str(tasks)]
    quiet, process = Quiet(), Process(command, log=log)
    try:
        end = time.monotonic() + LONGEST
        while process.running and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        status = process.stop()
    others = quiet.others()
    said = [line for line in log.read_text(errors="replace").splitlines() if line.startswith(FIGURES)]
    if not said:
        raise UnavailableError(f"{peer.name} ended with {status}: {process.last_words()}")
    told: dict[str, Any] = json.loads(said[-1])
    return PeerFlow(
        told["tasks"],
        told["seconds"],
        told["tasks"] / told["seconds"],
        told["machine_cpu"] * 1e6 / told["tasks"],
        told["version"],
        others,
    )
