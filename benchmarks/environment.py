"""What the benches need besides the project: the C programs, nginx, and LiteLLM in an environment of its own."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE / "build"
RESULTS = HERE / "results"
LITELLM_VERSION = "1.106.2"
LITELLM_HOME = BUILD / "litellm-venv"
PROGRAMS = {
    "stub": "stub/stub.c",
    "worker_nodes": "stub/worker_nodes.c",
    "closed_loop": "load/closed_loop.c",
    "offered": "load/offered.c",
    "streams": "load/streams.c",
}


class UnavailableError(Exception):
    """Something a target needs is not on this machine and cannot be installed; the message says what."""


def _run(command: list[str], what: str, seconds: float) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(f"{what}: {error}") from error
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise UnavailableError(f"{what} failed: {' '.join(last)}")


def program(name: str) -> Path:
    """The compiled C program, built again when a source is newer than it."""
    source, built = HERE / PROGRAMS[name], BUILD / name
    newest = max(path.stat().st_mtime for folder in (source.parent, HERE / "wire") for path in folder.glob("*.[ch]"))
    if not built.exists() or built.stat().st_mtime < newest:
        if shutil.which("gcc") is None:
            raise UnavailableError("gcc is needed to build the stub and the load generators")
        BUILD.mkdir(parents=True, exist_ok=True)
        flags = ["-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE"]
        _run(["gcc", *flags, "-o", str(built), str(source)], f"building {name}", 120)
    return built


def installed(name: str, package: str) -> str:
    """Path of a program, installed through apt where that is allowed."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None and shutil.which("apt-get"):
        _run(["apt-get", "update", "-q"], "apt-get update", 300)
        _run(["apt-get", "install", "-q", "-y", "--no-install-recommends", package], f"installing {package}", 300)
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise UnavailableError(f"{name} is not installed")
    return found


def nginx() -> str:
    """Path of nginx."""
    return installed("nginx", "nginx-light")


def litellm() -> Path:
    """Path of the LiteLLM proxy command, installed at a pinned version outside of the project's environment."""
    marker = LITELLM_HOME / f"installed-{LITELLM_VERSION}"
    command = LITELLM_HOME / "bin" / "litellm"
    if marker.exists() and command.exists():
        return command
    wanted, python = f"litellm[proxy]=={LITELLM_VERSION}", str(LITELLM_HOME / "bin" / "python")
    BUILD.mkdir(parents=True, exist_ok=True)
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv:
        _run([uv, "venv", "-q", "--clear", "--python", sys.executable, str(LITELLM_HOME)], "creating its home", 120)
        _run([uv, "pip", "install", "-q", "--python", python, wanted], "installing LiteLLM", 900)
    else:
        _run([sys.executable, "-m", "venv", "--clear", str(LITELLM_HOME)], "creating its home", 120)
        _run([python, "-m", "pip", "install", "-q", wanted], "installing LiteLLM", 900)
    marker.touch()
    return command


def raise_file_limit() -> int:
    """As many open files as this user may have: 3,000 streams take 6,000 sockets in a gateway. Returns the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
