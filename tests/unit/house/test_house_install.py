"""What `make install` tells a person whose Python is not enough, and what the requirement files promise."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / "requirements" / name).read_text()))


@pytest.mark.parametrize(
    ("fails_on", "said"), [("version_info", "Python 3.11 or newer"), ("ensurepip", "apt install python3-venv")]
)
def test_a_python_that_is_not_enough_is_told_what_to_install(tmp_path: Path, fails_on: str, said: str) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/bash\n[[ "$*" != *{fails_on}* ]]\n')
    python.chmod(0o755)

    command = ["bash", str(ROOT / "scripts/venv.sh"), str(python)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert result.returncode == 1
    assert said in result.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("name", ["lock.txt", "runtime.txt", "build.txt"])
def test_every_pin_has_a_hash_and_no_index_is_named(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()

    assert "://" not in text
    requirements = re.split(r"\n(?=[A-Za-z0-9])", text)
    assert all("--hash=sha256:" in requirement for requirement in requirements)


@pytest.mark.parametrize("name", ["runtime.txt", "build.txt"])
def test_the_smaller_files_agree_with_the_full_one(name: str) -> None:
    full = pins("lock.txt")

    assert {package: version for package, version in pins(name).items() if full.get(package, version) != version} == {}


def test_make_help_names_the_promised_targets() -> None:
    result = subprocess.run(["make", "help"], capture_output=True, text=True, check=True, cwd=ROOT)

    listed = {line.split()[0] for line in result.stdout.splitlines() if line}
    assert listed >= {"install", "lock", "up", "down", "logs", "test", "check", "bench", "bench-gateway", "fault"}
    assert listed >= {"attack", "docs", "clean", "help"}
