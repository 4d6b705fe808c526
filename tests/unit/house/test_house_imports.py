""".importlinter: the repository's contracts, run on a small package of the same name, catch each wrong direction."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("", "adapters", "adapters.sql", "adapters.ollama", "domain", "entrypoints", "entrypoints.cli")
PACKAGES += (
    "entrypoints.http",
    "ports",
    "services",
    "settings",
    "testing",
    "testing.model_server",
    "testing.task_history",
)
LEGAL = {
    "bootstrap": "import uvicorn\nimport orchestrator.storage\nimport orchestrator.entrypoints.http.a\n",
    "storage": "import orchestrator.adapters.sql.a\n",
    "adapters.sql.a": "import sqlalchemy\nfrom orchestrator.ports import a\n",
    "entrypoints.http.a": "import fastapi\nfrom orchestrator.services import a\nfrom orchestrator.settings import a\n",
    "entrypoints.cli.a": "import cyclopts\n",
    "services.a": "from orchestrator.ports import a\n",
    "ports.a": "from orchestrator.domain import a\n",
    "testing.model_server.a": "from orchestrator.domain import a\n",
    "settings.a": "from orchestrator.domain import a\n",
}


def lint(folder: Path, extra: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs the contracts on a package where every folder has a module `a`, with `extra` code added."""
    root = folder / "orchestrator"
    for package in PACKAGES:
        path = root.joinpath(*package.split("."))
        path.mkdir(parents=True, exist_ok=True)
        (path / "__init__.py").touch()
        (path / "a.py").touch()
    for source in (LEGAL, extra):
        for module, code in source.items():
            with root.joinpath(*module.split(".")).with_suffix(".py").open("a") as file:
                file.write(code)
    shutil.copy(ROOT / ".importlinter", folder)
    linter = str(Path(sys.executable).parent / "lint-imports")
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "400"}
    return subprocess.run(
        [linter, "--no-cache"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_legal_directions_pass(tmp_path: Path) -> None:
    result = lint(tmp_path, {})

    assert result.returncode == 0, result.stdout


# One wrong import each: what the folder must not know.
BREACHES = [
    ("domain", "orchestrator.ports.a"),
    ("domain", "orchestrator.settings.a"),
    ("ports", "orchestrator.services.a"),
    ("services", "orchestrator.entrypoints.http.a"),
    ("services", "orchestrator.adapters.sql.a"),
    ("services", "orchestrator.settings.a"),
    ("services", "orchestrator.testing.model_server.a"),
    ("adapters.sql", "orchestrator.services.a"),
    ("adapters.sql", "orchestrator.adapters.ollama.a"),
    ("adapters.sql", "orchestrator.settings.a"),
    ("entrypoints.http", "orchestrator.adapters.sql.a"),
    ("entrypoints.http", "orchestrator.bootstrap"),
    ("adapters.sql", "orchestrator.bootstrap"),
    ("services", "orchestrator.storage"),
    ("adapters.sql", "orchestrator.storage"),
    ("entrypoints.http", "orchestrator.storage"),
    ("settings", "orchestrator.ports.a"),
    ("testing.model_server", "orchestrator.ports.a"),
    ("testing.task_history", "orchestrator.services.a"),
    ("services", "sqlalchemy"),
    ("entrypoints.http", "asyncpg"),
    ("services", "fastapi"),
    ("entrypoints.cli", "uvicorn"),
    ("testing.model_server", "starlette"),
    ("adapters.sql", "rich"),
    ("services", "xllamacpp"),
    ("services", "redis"),
    ("services", "prometheus_client"),
    ("services", "obstore"),
    ("entrypoints.cli", "python_multipart"),
    ("entrypoints.http", "structlog"),
    ("adapters.ollama", "opentelemetry"),
]


def test_every_wrong_direction_is_reported(tmp_path: Path) -> None:
    modules = {f"{folder}.breach{index}": target for index, (folder, target) in enumerate(BREACHES)}

    result = lint(tmp_path, {module: f"import {target}\n" for module, target in modules.items()})

    assert result.returncode == 1
    unseen = [f"{m} -> {t}" for m, t in modules.items() if f"orchestrator.{m} -> {t} (l.1)" not in result.stdout]
    assert not unseen, result.stdout
