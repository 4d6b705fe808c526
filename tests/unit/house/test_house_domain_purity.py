"""scripts/check_domain.py catches each way for the domain to reach outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def check(tree: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/check_domain.py"), str(tree)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from time import monotonic",
        "def f():\n    import random",
        "import uuid as ids",
        "import os.path",
        "import asyncio",
        "import socket",
        "import urllib.request",
        "from urllib import request",
        "from http import client",
        "import msgspec",
        "from pydantic import BaseModel",
        "from orchestrator.ports.upstream import Target",
        "from orchestrator import settings",
        "from . import node",
        "import datetime\nx = datetime.datetime.now()",
        "import datetime as dt\nx = dt.date.today()",
        "from datetime import datetime\nx = datetime.utcnow()",
        "from datetime import datetime as D\nf = D.now",
        "async def f(): ...",
        "x = open('f')",
        "print('hello')",
        "eval('1')",
    ],
)
def test_a_breach_fails_and_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "noun.py").write_text(text + "\n")

    result = check(tmp_path)

    assert result.returncode == 1
    assert f"error: {tmp_path / 'noun.py'}:" in result.stdout


def test_pure_code_passes(tmp_path: Path) -> None:
    (tmp_path / "noun.py").write_text(
        "from __future__ import annotations\n"
        "import json\nimport math\nfrom datetime import datetime, timedelta\nfrom http import HTTPStatus\n"
        "from urllib.parse import urlsplit\nfrom orchestrator.domain.node import NodeSpec\n"
        "def later(now: datetime, clock) -> datetime:\n    clock.now()\n    return now + timedelta(seconds=1)\n"
    )

    result = check(tmp_path)

    assert result.returncode == 0, result.stdout


def test_an_empty_tree_is_a_mistake_not_a_success(tmp_path: Path) -> None:
    assert check(tmp_path).returncode == 1
