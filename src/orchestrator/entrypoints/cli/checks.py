"""What `orchestrator doctor` looks at. Every check returns what it found; none changes anything."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2

from orchestrator.domain.errors import ConfigurationError, StorageUnavailable
from orchestrator.settings import Settings

OLDEST_PYTHON = (3, 11)
FILES_NEEDED, FILES_WANTED = 256, 4096  # one for each connection of a client and of a node
DISK_NEEDED, DISK_WANTED = 100 * 1024**2, 1024**3  # bytes
NODE_TIMEOUT = 3.0  # seconds
MANY = 8  # nodes looked at together


class Verdict(StrEnum):
    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    verdict: Verdict
    check: str
    text: str
    hint: str = ""

    def facts(self) -> dict[str, Any]:
        return {"verdict": self.verdict.value, "check": self.check, "found": self.text, "hint": self.hint}


def python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST_PYTHON:
        return Finding(Verdict.FAIL, "python", found, "Install Python 3.11 or newer.")
    return Finding(Verdict.OK, "python", found)


def open_files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = "no limit" if soft == resource.RLIM_INFINITY else f"limit {soft}"
    if soft == resource.RLIM_INFINITY or soft >= FILES_WANTED:
        return Finding(Verdict.OK, "open files", text)
    hint = f"Every stream takes two: raise it with `ulimit -n {FILES_WANTED}`, or LimitNOFILE in systemd."
    return Finding(Verdict.FAIL if soft < FILES_NEEDED else Verdict.WARN, "open files", text, hint)


def data_folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    existing = nearest_existing(folder)
    if not existing.is_dir():
        return Finding(Verdict.FAIL, "data folder", f"{existing} is not a folder", "Set data_dir to another place.")
    if not os.access(existing, os.W_OK | os.X_OK):
        return Finding(Verdict.FAIL, "data folder", f"{existing} cannot be written", "Set data_dir to another place.")
    state = "" if folder.exists() else " (made at the first start)"
    return Finding(Verdict.OK, "data folder", f"{folder}{state}")


def disk(settings: Settings) -> Finding:
    free = shutil.disk_usage(nearest_existing(settings.data_dir)).free
    text = f"{free / 1024**3:.1f} GiB free"
    if free >= DISK_WANTED:
        return Finding(Verdict.OK, "disk space", text)
    verdict = Verdict.FAIL if free < DISK_NEEDED else Verdict.WARN
    return Finding(verdict, "disk space", text, "Make room, or set data_dir to another disk.")


def nearest_existing(path: Path) -> Path:
    path = path.absolute()
    return next(one for one in (path, *path.parents) if one.exists())


def database(settings: Settings, look_at: Callable[[Settings], str]) -> Finding:
    try:
        return Finding(Verdict.OK, "database", look_at(settings))
    except ConfigurationError as error:
        return Finding(Verdict.FAIL, "database", error.message, "Correct database.url.")
    except StorageUnavailable as error:
        return Finding(Verdict.FAIL, "database", error.message, "Start the database, or correct database.url.")


def listeners(settings: Settings) -> list[Finding]:
    """Whether the ports are free, or taken by this service already."""
    server = settings.server
    places = [(server.host, server.port), *((one.host or server.host, one.port) for one in server.listeners)]
    return [listener(host, port) for host, port in places]


def listener(host: str, port: int) -> Finding:
    name = f"port {port}"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
    except (OSError, OverflowError) as error:
        if answers_as_ours(host, port):
            return Finding(Verdict.OK, name, f"the service is running on {host}:{port}")
        reason = getattr(error, "strerror", None) or str(error)
        return Finding(Verdict.FAIL, name, f"{host}:{port}: {reason}", "Choose another with --port or server.port.")
    return Finding(Verdict.OK, name, f"{host}:{port} is free; the service is not running there")


def answers_as_ours(host: str, port: int) -> bool:
    name = f"[{host}]" if ":" in host else host
    try:
        answer = httpx2.get(f"http://{name}:{port}/health", timeout=NODE_TIMEOUT, trust_env=False)
        return "orchestrator" in answer.json()
    except (httpx2.HTTPError, ValueError):
        return False


def nodes(settings: Settings) -> list[Finding]:
    """Whether something answers where the configured nodes are, or where discovery would look."""
    configured = [(node.id, str(node.url)) for node in settings.nodes]
    if configured:
        with ThreadPoolExecutor(MANY) as pool:
            errors = list(pool.map(reach, [url for _, url in configured]))
        return [node(id, url, error) for (id, url), error in zip(configured, errors, strict=True)]
    if settings.models.embedded:
        return []
    urls = [str(one.url) for one in settings.discovery.candidates] if settings.discovery.enabled else []
    with ThreadPoolExecutor(MANY) as pool:
        found = [url for url, error in zip(urls, pool.map(reach, urls), strict=True) if not error]
    if found:
        return [Finding(Verdict.OK, "nodes", f"discovery will look at {', '.join(found)}")]
    instead = "demo nodes with canned text will answer" if settings.demo.enabled else "requests will be refused"
    hint = "Start a model server, add nodes to the configuration, or serve a file with --gguf FILE."
    return [Finding(Verdict.WARN, "nodes", f"no model server was found: {instead}", hint)]


def node(id: str, url: str, error: str) -> Finding:
    if error:
        return Finding(Verdict.FAIL, f"node {id}", f"{url}: {error}", "Start it, or correct its URL.")
    return Finding(Verdict.OK, f"node {id}", f"{url} answers")


def reach(url: str) -> str:
    """Why nothing answers at a URL; empty when something does, whatever it says."""
    try:
        httpx2.get(url, timeout=NODE_TIMEOUT, trust_env=False)
    except httpx2.TimeoutException:
        return "no answer in time"
    except httpx2.HTTPError as error:
        return str(error) or type(error).__name__
    return ""


def embedded(settings: Settings) -> Sequence[Finding]:
    files = settings.models.embedded
    if not files:
        return []
    found = [
        Finding(Verdict.FAIL, "embedded model", f"there is no file {file}", "Correct models.embedded.")
        for file in files
        if not Path(file).is_file()
    ]
    if find_spec("xllamacpp") is None:
        hint = "Install it: pip install 'orchestrator[llamacpp]'."
        found.append(Finding(Verdict.FAIL, "embedded engine", "xllamacpp is not installed", hint))
    return found or [Finding(Verdict.OK, "embedded models", f"{len(files)}")]
