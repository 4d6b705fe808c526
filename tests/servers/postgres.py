"""A private PostgreSQL server, started once per test session and shared by its worker processes.

A supervisor process (this file, run as a program) owns the server: it stops it and removes its files when the test
session asks for that, and also when the session was killed and could not ask. It imports the standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

USER = "orchestrator"
START_TIMEOUT = 300.0  # seconds; an installation may be part of it
STOP_TIMEOUT = 20.0
ALWAYS = ("max_connections=200", "listen_addresses=127.0.0.1")
# Durability is not under test here, and the machine is shared.
QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB")
# For benchmarks: what a commit says is on disk, as PostgreSQL's own defaults have it.
DURABLE = ("fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=256MB")


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server. `folder` holds its unix socket; connections there need no password."""

    supervisor: int  # process id
    programs: str  # folder of psql
    folder: str
    port: int
    password: str = field(repr=False)

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str, template: str = "template0") -> str:
        """Makes a database, as a copy of `template`; returns its URL."""
        self.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return self.url(database)

    def drop(self, database: str) -> None:
        self.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Runs one statement as superuser; returns its rows as text."""
        psql = [f"{self.programs}/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        where = ["-h", self.folder, "-p", str(self.port), "-U", USER, "-d", database]
        done = subprocess.run([*psql, *where, "-c", statement], capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{statement}: {done.stderr}")
        return done.stdout.strip()

    def kill(self) -> None:
        """Kills the server's first process, as the kernel would; the others end when they notice. The supervisor starts
        it again, as any would."""
        os.kill(self.process, signal.SIGKILL)

    @property
    def process(self) -> int:
        """The id of its first process; another one after each `kill`."""
        return int((Path(self.folder) / "data" / "postmaster.pid").read_text().split()[0])

    def stop(self) -> None:
        """Ends the supervisor, and with it the server."""
        try:
            os.kill(self.supervisor, signal.SIGTERM)
        except ProcessLookupError:
            return
        end = time.monotonic() + STOP_TIMEOUT
        while Path(self.folder).exists() and time.monotonic() < end:
            time.sleep(0.05)


@contextmanager
def locked(shared: Path) -> Iterator[None]:
    """One process of the session at a time."""
    with (shared / "postgres.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def running(shared: Path) -> PostgresServer | None:
    """The session's server, when it was started."""
    state = shared / "postgres.json"
    return PostgresServer(**json.loads(state.read_text())) if state.exists() else None


def start(shared: Path, session: int, *, durable: bool = False) -> PostgresServer:
    """The session's server; the first process that asks starts it. `session` is the process that must stay alive."""
    with locked(shared):
        server = running(shared)
        return server or _start(shared, session, durable)


def _start(shared: Path, session: int, durable: bool) -> PostgresServer:
    log = shared / "postgres.log"
    with log.open("w") as output:
        supervisor = subprocess.Popen(
            [sys.executable, __file__, str(shared), str(session), "durable" if durable else "quick"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end and supervisor.poll() is None:
        server = running(shared)
        if server:
            # It outlives this process, which may be a worker that ends before the session.
            supervisor.returncode = 0
            return server
        time.sleep(0.05)
    supervisor.kill()
    supervisor.wait()
    raise RuntimeError(f"no PostgreSQL server for the tests:\n{log.read_text()}")


# The supervisor


def main(shared: Path, session: int, options: tuple[str, ...]) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    programs = find_programs() or install()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    process: subprocess.Popen[bytes] | None = None
    try:
        password = secrets.token_hex(16)
        owner = _owner(folder)
        _initialise(programs, folder, password, owner)
        process, port = _serve(programs, folder, owner, options)
        state = PostgresServer(os.getpid(), str(programs), str(folder), port, password)
        draft = shared / "postgres.json.draft"
        draft.write_text(json.dumps(asdict(state)))
        draft.rename(shared / "postgres.json")
        while not stop.wait(0.5) and _alive(session):
            if process.poll() is not None:
                process, port = _serve(programs, folder, owner, options, port)
    finally:
        if process is not None:
            _end(process)
        shutil.rmtree(folder, ignore_errors=True)
        if not _alive(session):
            shutil.rmtree(shared, ignore_errors=True)


def find_programs() -> Path | None:
    """The folder of the newest installed server."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(versions, key=lambda folder: float(folder.parent.name), reverse=True)
    return next((f for f in folders if all((f / name).exists() for name in ("initdb", "postgres", "psql"))), None)


def install() -> Path:
    """Installs the system's package, without the server that it would start by itself."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit(
            "PostgreSQL's server programs (initdb, postgres, psql) are missing: install them for the tests"
        )
    settings = Path("/etc/postgresql-common/createcluster.conf")
    if not settings.exists():
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text("create_main_cluster = false\n")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    options = ["-q", "-y", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Options::=--force-confold"]
    subprocess.run(["apt-get", *options, "update"], env=environment, check=True)
    package = ["install", "--no-install-recommends", "postgresql"]
    subprocess.run(["apt-get", *options, *package], env=environment, check=True)
    programs = find_programs()
    if programs is None:
        raise SystemExit("the package postgresql was installed, but its programs were not found")
    return programs


def _owner(folder: Path) -> dict[str, Any]:
    """Whom the server runs as: it refuses root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _initialise(programs: Path, folder: Path, password: str, owner: dict[str, Any]) -> None:
    secret = folder / "password"
    secret.touch(mode=0o600)
    if owner:
        os.chown(secret, owner["user"], owner["group"])
    secret.write_text(password)
    command = [programs / "initdb", "-D", folder / "data", "-U", USER, "--encoding=UTF8", "--no-locale", "--no-sync"]
    command += ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}"]
    subprocess.run(command, cwd=folder, check=True, timeout=120, **owner)
    secret.unlink()


def _serve(
    programs: Path, folder: Path, owner: dict[str, Any], settings: tuple[str, ...], again: int = 0
) -> tuple[subprocess.Popen[bytes], int]:
    """Starts the server, on the port that it had before if there is one. Between finding a free port and using it
    somebody else may take it: then another one. Processes of one that was killed may have to end first."""
    options = [word for option in (*ALWAYS, *settings) for word in ("-c", option)]
    for _ in range(50 if again else 5):
        port = again or _free_port()
        command = [programs / "postgres", "-D", folder / "data", "-k", folder, "-p", str(port), *options]
        process = subprocess.Popen(command, cwd=folder, **owner)
        while process.poll() is None:
            if _answers(programs, folder, port):
                return process, port
            time.sleep(0.05)
    raise SystemExit("the server did not start; its messages are above")


def _answers(programs: Path, folder: Path, port: int) -> bool:
    command = [programs / "psql", "-X", "-h", folder, "-p", str(port), "-U", USER, "-d", "postgres", "-c", "SELECT 1"]
    return subprocess.run(command, capture_output=True, timeout=30).returncode == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGQUIT)  # at once: nothing in there is worth a checkpoint
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), DURABLE if sys.argv[3] == "durable" else QUICK)
