"""scripts/check_sizes.py catches each breach of house rules 1 and 2 in a tree of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def check(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/check_sizes.py"), str(tree)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def put(tree: Path, name: str, text: str) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def function(lines: int) -> str:
    """A function of exactly so many lines, its signature included."""
    return "def work():\n" + "    x = 1\n" * (lines - 1)


def port(methods: int) -> str:
    return "class P:\n" + "".join(f"    def m{i}(self): ...\n" for i in range(methods))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("long.py", "x = 1\n" * 601, "file has 601 lines"),
        ("slow.py", function(61), "work() has 61 lines"),
        ("async_.py", "async " + function(61), "work() has 61 lines"),
        (
            "ports/wide.py",
            "class P:\n" + "".join(f"    def m{i}(self): ...\n" for i in range(8)),
            "port P has 8 methods",
        ),
        ("pkg/__init__.py", "def f(): ...\n", "__init__ may only export"),
        ("pkg/__init__.py", "limit = 3\n", "__init__ may only export"),
        ("pkg/__init__.py", "if True:\n    import os\n", "__init__ may only export"),
        ("utils.py", "", "module 'utils' names nothing"),
        *[
            ("names.py", f"class {name}: ...\n", f"class {name}")
            for name in (
                "NodeManager",
                "EngineCore",
                "PathHelper",
                "EnhancedPool",
                "AdvancedQueue",
                "SmartPick",
                "PickV2",
                "HTTPManager",
            )
        ],
    ],
)
def test_a_breach_fails_and_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    put(tmp_path, name, text)

    result = check(tmp_path)

    assert result.returncode == 1
    assert any(line.startswith("error:") and said in line for line in result.stdout.splitlines()), result.stdout


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [("long.py", "x = 1\n" * 401, "file has 401 lines"), ("slow.py", function(41), "work() has 41 lines")],
)
def test_what_exceeds_an_aim_is_printed_and_passes(tmp_path: Path, name: str, text: str, said: str) -> None:
    put(tmp_path, name, text)

    result = check(tmp_path)

    assert result.returncode == 0
    assert f"large: {tmp_path / name}:1: {said}" in result.stdout


def test_what_is_within_the_rules_is_silent(tmp_path: Path) -> None:
    put(tmp_path, "ports/narrow.py", port(7))
    put(tmp_path, "pkg/__init__.py", '"""Doc."""\n\nfrom os import path\n\n__all__ = ["path"]\n__version__ = "1"\n')
    put(tmp_path, "settings/__init__.py", "def f(): ...\n")
    put(tmp_path, "node.py", "class Engineer: ...\nclass Smarter: ...\n" + function(40))
    put(tmp_path, "documented.py", 'def f():\n    """' + "line\n" * 60 + '    """\n    return 1\n')

    result = check(tmp_path)

    assert result.returncode == 0
    assert "error:" not in result.stdout
    assert "large:" not in result.stdout.replace("0 large", "")


def test_an_empty_tree_is_a_mistake_not_a_success(tmp_path: Path) -> None:
    assert check(tmp_path).returncode == 1
