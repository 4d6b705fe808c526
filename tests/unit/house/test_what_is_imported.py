"""What a process imports is most of what its start costs, so what it does not need is left out."""

from __future__ import annotations

import gc
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import migrated
from orchestrator.__main__ import importing
from service import spawned_service


def imported(code: str, *modules: str) -> list[str]:
    """Those of `modules` that a new interpreter has after `code`."""
    show = f"{code}; import sys; print(*[name for name in {modules!r} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", show], check=True, capture_output=True, text=True).stdout.split()


def test_a_service_without_migrations_and_demo_nodes_imports_neither() -> None:
    code = "import orchestrator.bootstrap"
    unneeded = ("alembic", "mako", "orchestrator.testing.model_server", "cyclopts")
    assert imported(code, "fastapi", *unneeded) == ["fastapi"]


def test_a_schema_that_is_current_is_opened_without_migrating(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/orchestrator.db"
    migrated.place(url)
    use = f"async def use():\n    async with open_storage({url!r}): pass"
    code = f"import asyncio\nfrom orchestrator.storage import open_storage\n{use}\nasyncio.run(use())"
    assert imported(code, "sqlalchemy", "alembic") == ["sqlalchemy"]


def test_imports_leave_the_garbage_collector_on() -> None:
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), importing():
        import_module("orchestrator.nothing")
    assert gc.isenabled()


@pytest.mark.parametrize("word", ["status", "nodes"])
def test_a_command_is_imported_without_the_others(word: str) -> None:
    code = f"from orchestrator.entrypoints.cli import application; application({word!r})"
    cli = "orchestrator.entrypoints.cli"
    assert imported(code, f"{cli}.{word}", f"{cli}.worker", f"{cli}.tasks", "fastapi") == [f"{cli}.{word}"]


def test_without_a_known_command_all_are_there() -> None:
    code = "from orchestrator.entrypoints.cli import application; application()"
    cli = "orchestrator.entrypoints.cli"
    assert imported(code, f"{cli}.worker", f"{cli}.tasks") == [f"{cli}.worker", f"{cli}.tasks"]


def test_a_service_that_searches_nothing_by_meaning_has_no_numpy(tmp_path: Path) -> None:
    with spawned_service({}, tmp_path) as service:
        mapped = Path(f"/proc/{service.process.pid}/maps").read_text()
    assert "pydantic_core" in mapped
    assert "numpy" not in mapped
