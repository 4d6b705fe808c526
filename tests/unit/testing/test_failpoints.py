"""The failpoints: counting, naming, and that they are documented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.domain.errors import ConfigurationError
from orchestrator.testing.failpoints import FAILPOINTS, Failpoint

PAGE = Path(__file__).parents[3] / "docs/reference/failpoints.md"


def _armed(text: str) -> tuple[Failpoint, list[str]]:
    struck: list[str] = []
    point = Failpoint.of(text)
    return Failpoint(point.name, point.hits, struck.append), struck


def test_it_strikes_at_the_nth_hit_and_once() -> None:
    point, struck = _armed("submit.before-answer:3")
    for expected in ([], [], ["submit.before-answer"], ["submit.before-answer"]):
        point.reached("submit.before-answer")
        assert struck == expected


def test_several_hits_at_once_count() -> None:
    point, struck = _armed("report.after-record:3")
    point.reached("report.after-record", 2)
    assert not struck
    point.reached("report.after-record", 0)
    assert not struck
    point.reached("report.after-record", 5)
    assert struck


def test_others_do_not_count() -> None:
    point, struck = _armed("ledger.before-commit")
    point.reached("ledger.after-commit")
    assert not struck
    point.reached("ledger.before-commit")
    assert struck


@pytest.mark.parametrize("text", ["", "nothing", "ledger.before-commit:0", "ledger.before-commit:x"])
def test_what_is_no_failpoint_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Failpoint.of(text)


def test_every_failpoint_is_documented() -> None:
    rows = [line.split("|")[1:3] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    named = {name.strip().strip("`"): text.strip() for name, text in rows}
    assert {name: named.get(name) for name in FAILPOINTS} == dict(FAILPOINTS)


def test_the_command_refuses_an_unknown_name() -> None:
    command = [sys.executable, "-m", "orchestrator.testing.failpoints", "nothing", "--", "version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "There is no failpoint 'nothing'" in done.stderr


def test_the_command_runs_the_service_command() -> None:
    command = [sys.executable, "-m", "orchestrator.testing.failpoints", "ledger.in-commit:5", "--", "version", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert '"version"' in done.stdout
