"""House rule 4: `domain/` is stdlib-only and pure; clock, randomness, ids and I/O come in as arguments.

    python scripts/check_domain.py [FOLDER]         default: src/orchestrator/domain

Fails (exit 1) on imports from outside the standard library and `orchestrator.domain`, on modules that reach out of
the process or make values from nothing, on `datetime.now()` and its kin, on `open`/`print`/`input`, and on async code.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

OWN = "orchestrator.domain"
IMPURE = frozenset(
    {
        "asyncio",
        "concurrent",
        "ctypes",
        "fcntl",
        "getpass",
        "glob",
        "http.client",
        "http.server",
        "importlib",
        "logging",
        "mmap",
        "multiprocessing",
        "os",
        "pathlib",
        "pickle",
        "platform",
        "random",
        "sched",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "smtplib",
        "socket",
        "socketserver",
        "sqlite3",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib.request",
        "uuid",
        "webbrowser",
        "zoneinfo",
    }
)
CLOCKS = frozenset({"now", "utcnow", "today"})  # of datetime.datetime and datetime.date
BUILTINS = frozenset({"open", "print", "input", "__import__", "exec", "eval", "compile", "breakpoint"})

Found = Iterator[tuple[int, str]]


def imported(module: str, line: int) -> Found:
    top = module.split(".")[0]
    if module == OWN or module.startswith(f"{OWN}."):
        return
    if top == "orchestrator":
        yield line, f"imports {module}: domain/ knows only itself"
    elif top not in sys.stdlib_module_names:
        yield line, f"imports {module}: domain/ is stdlib-only"
    elif top in IMPURE or module in IMPURE:
        yield line, f"imports {module}: pass the value in as an argument"


def imports(tree: ast.Module) -> Found:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from imported(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "relative import"
            elif node.module in ("urllib", "http", "orchestrator"):
                for alias in node.names:
                    yield from imported(f"{node.module}.{alias.name}", node.lineno)
            else:
                yield from imported(node.module or "", node.lineno)


def clock_owners(tree: ast.Module) -> set[str]:
    """Names in this module that stand for the `datetime` module or its `datetime` and `date` classes."""
    owners = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            owners |= {alias.asname or alias.name for alias in node.names if alias.name == "datetime"}
        elif isinstance(node, ast.ImportFrom) and node.module == "datetime":
            owners |= {alias.asname or alias.name for alias in node.names if alias.name in ("datetime", "date")}
    return owners


def root_name(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def uses(tree: ast.Module) -> Found:
    owners = clock_owners(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
            yield node.lineno, "async code: domain/ does not wait"
        elif isinstance(node, ast.Attribute) and node.attr in CLOCKS and root_name(node.value) in owners:
            yield node.lineno, f"datetime's {node.attr}(): take `now` as an argument"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in BUILTINS:
            yield node.lineno, f"{node.func.id}(): domain/ does no I/O and runs no text"


def main(folders: list[str]) -> int:
    root = Path(folders[0] if folders else "src/orchestrator/domain")
    files = sorted(root.rglob("*.py"))
    if not files:
        print(f"error: no Python files in {root}")
        return 1
    errors = 0
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
        for line, text in sorted([*imports(tree), *uses(tree)]):
            print(f"error: {file}:{line}: {text}")
            errors += 1
    print(f"domain purity: {len(files)} files, {errors} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
