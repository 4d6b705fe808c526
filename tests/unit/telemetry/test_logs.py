"""Entries as lines for people and as JSON, in files that rotate, without ever holding up who logs."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.logging import Logs, set_level
from orchestrator.adapters.logging.output import LogFile
from orchestrator.domain.errors import ConfigurationError

LOG = logging.getLogger("orchestrator.test")


@contextmanager
def logs_to(stderr: Path, **options: Any) -> Iterator[Logs]:
    """Logs whose standard error is a file."""
    fd = os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    logs = Logs(**{"level": "info", "json": True, "keep": 100, "stderr": fd, **options})
    try:
        yield logs
    finally:
        logs.close()
        os.close(fd)


def test_json_lines_carry_fields_and_the_exception(tmp_path: Path) -> None:
    with logs_to(tmp_path / "err"):
        LOG.info("node_up", extra={"node": "a", "models": 3})
        try:
            raise ValueError("broken")
        except ValueError:
            LOG.exception("bug")

    first, second = (json.loads(line) for line in (tmp_path / "err").read_text().splitlines())
    assert {name: first[name] for name in ("level", "logger", "event", "node", "models")} == {
        "level": "info", "logger": "orchestrator.test", "event": "node_up", "node": "a", "models": 3,
    }  # fmt: skip
    assert first["timestamp"].endswith("Z")
    assert second["level"] == "error"
    assert second["exception"].endswith("ValueError: broken")


def test_lines_for_people_cannot_be_forged(tmp_path: Path) -> None:
    with logs_to(tmp_path / "err", json=False):
        LOG.warning("no such model: %s", "x\n2026-01-01 [error] all is lost \x1b[2J")
        LOG.warning("model", extra={"model": "a\r\nb"})
        try:
            raise ValueError("first\nsecond \x1b[31m")
        except ValueError:
            LOG.exception("bug")

    text = (tmp_path / "err").read_text()
    assert "\x1b" not in text
    assert "\r" not in text
    assert len([line for line in text.splitlines() if "Z [" in line]) == 3


def test_the_ring_keeps_the_latest(tmp_path: Path) -> None:
    with logs_to(tmp_path / "err", keep=2) as logs:
        for number in range(3):
            LOG.info("event %d", number, extra={"api_key": "abcdefgh"})
        kept = list(logs.entries)

    assert [entry["event"] for entry in kept] == ["event 1", "event 2"]
    assert kept[0]["api_key"] == "***"


def test_the_level_is_live_and_libraries_stay_quiet(tmp_path: Path) -> None:
    with logs_to(tmp_path / "err", level="warning"):
        LOG.info("too quiet")
        set_level("debug")
        LOG.debug("now heard")
        logging.getLogger("sqlalchemy.engine").info("SELECT secrets")
        logging.getLogger("sqlalchemy.engine").warning("slow")
        set_level("error")
        LOG.warning("too quiet again")

    events = [json.loads(line)["event"] for line in (tmp_path / "err").read_text().splitlines()]
    assert events == ["now heard", "slow"]


def test_closing_gives_logging_back(tmp_path: Path) -> None:
    root, ours = logging.getLogger(), logging.getLogger("orchestrator")
    before = (root.level, ours.level, list(root.handlers))

    with logs_to(tmp_path / "err", level="debug"):
        assert root.handlers != before[2]

    assert (root.level, ours.level, root.handlers) == before


def test_the_file_gets_json_beside_lines_for_people(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "service.log"
    with logs_to(tmp_path / "err", json=False, file=file):
        LOG.info("hello")

    assert json.loads(file.read_text())["event"] == "hello"
    assert "hello" in (tmp_path / "err").read_text()


def test_a_file_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigurationError, match=r"logging\.file"):
        LogFile(tmp_path / "taken" / "service.log")


def test_a_full_file_is_rotated_and_nothing_is_lost(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log", max_bytes=100, kept=3)
    for number in range(12):
        file.write(b"%030d\n" % number)
    file.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.2", "log.3"]
    lines = b"".join((tmp_path / name).read_bytes() for name in ("log.3", "log.2", "log.1", "log")).split()
    assert [int(line) for line in lines] == list(range(12))


def test_two_writers_rotate_one_file_together(tmp_path: Path) -> None:
    files = [LogFile(tmp_path / "log", max_bytes=1000, kept=50) for _ in range(2)]

    def write(file: LogFile, letter: bytes) -> None:
        for number in range(200):
            file.write(b"%b%09d\n" % (letter, number))

    threads = [threading.Thread(target=write, args=one) for one in zip(files, (b"a", b"b"), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for file in files:
        file.close()

    lines = b"".join(path.read_bytes() for path in tmp_path.iterdir()).split()
    assert sorted(lines) == sorted(b"%b%09d" % (letter, n) for letter in (b"a", b"b") for n in range(200))


def test_a_file_that_somebody_moved_is_opened_anew(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log")
    file.write(b"one\n")
    (tmp_path / "log").rename(tmp_path / "moved")
    file.write(b"two\n")
    file.close()

    assert (tmp_path / "moved").read_bytes() == b"one\n"
    assert (tmp_path / "log").read_bytes() == b"two\n"


def test_a_stuck_output_holds_up_nobody_and_the_loss_is_told() -> None:
    read_end, write_end = os.pipe()
    logs = Logs(level="info", json=True, keep=1, stderr=write_end)
    try:
        for _ in range(6000):  # far more than pipe and backlog hold
            LOG.info("x" * 200)
        drained = bytearray()
        reader = threading.Thread(target=_drain, args=(read_end, drained))
        reader.start()
        assert logs.writer.flush()
        LOG.info("after")
    finally:
        logs.close()
        os.close(write_end)
    reader.join(5)
    os.close(read_end)

    events = [json.loads(line) for line in drained.decode().splitlines()]
    told = sum(event["count"] for event in events if event["event"] == "log_lines_lost")
    assert told > 0
    assert told + sum(event["event"].startswith("xxx") for event in events) == 6000
    assert events[-1]["event"] == "after"


def _drain(fd: int, into: bytearray) -> None:
    while data := os.read(fd, 1 << 16):
        into += data
