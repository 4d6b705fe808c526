"""scripts/check_skips.py: only an accelerator or another operating system excuses a skipped test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def report(folder: Path, body: str) -> Path:
    """What pytest itself reports for a file with this body."""
    (folder / "test_sample.py").write_text("import pytest\n" + body)
    xml = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}"]
    subprocess.run([*command, "-c", "/dev/null", f"--junitxml={xml}", str(folder)], capture_output=True, check=False)
    return xml


def check(xml: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/check_skips.py"), str(xml)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("def test_a(): pass\n", 0),
        ("@pytest.mark.skip(reason='needs an accelerator')\ndef test_a(): pass\n", 0),
        ("@pytest.mark.skip(reason='only on Windows')\ndef test_a(): pass\n", 0),
        ("@pytest.mark.skip(reason='no database here')\ndef test_a(): pass\n", 1),
        ("@pytest.mark.skip\ndef test_a(): pass\n", 1),
        ("@pytest.mark.xfail(reason='broken')\ndef test_a(): assert False\n", 1),
        ("pytest.skip('flaky', allow_module_level=True)\n", 1),
        ("", 1),
    ],
)
def test_reasons(tmp_path: Path, body: str, status: int) -> None:
    result = check(report(tmp_path, body))

    assert result.returncode == status, result.stdout
