"""House rules 1 and 2: sizes, names, and `__init__` files that only export.

    python scripts/check_sizes.py [FOLDER ...]      default: src tests benchmarks scripts (build/ left out)

Prints what exceeds an aim ("large:"), fails (exit 1) on what exceeds a limit ("error:"). A function's docstring does
not count as its length: rule 8 asks for docstrings.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FILE_AIM, FILE_LIMIT = 400, 600
FUNCTION_AIM, FUNCTION_LIMIT = 40, 60
PORT_METHODS = 7
VAGUE = ("Manager", "Engine", "Helper", "Helpers", "Utils", "Enhanced", "Advanced", "Smart", "Intelligent")
VAGUE_FILES = {word.lower() for word in VAGUE} | {"util", "utilities", "misc", "common"}
# An `__init__` that is more than exports: the settings tree is one noun, its package is its module.
INIT_EXEMPT = {"settings"}
WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z]|\b|\d)|[A-Z][a-z]+|[a-z]+|\d+")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Finding:
    path: Path
    line: int
    text: str
    fatal: bool

    def __str__(self) -> str:
        return f"{'error' if self.fatal else 'large'}: {self.path}:{self.line}: {self.text}"


def vague_word(name: str) -> str | None:
    """The word of a class name that says nothing, or None. `EngineKind` and `SmartPolicy` both have one."""
    words = WORDS.findall(name)
    if "v2" in name.lower()[-2:]:
        return "V2"
    return next((word for word in words if word in VAGUE), None)


def over(what: str, size: int, aim: int, limit: int, path: Path, line: int) -> Iterator[Finding]:
    if size > aim:
        yield Finding(path, line, f"{what} has {size} lines (aim {aim}, limit {limit})", fatal=size > limit)


def function_length(node: Function) -> int:
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None and len(node.body) > 1:
        length -= (first.end_lineno or first.lineno) - first.lineno + 1
    return length


def check_definitions(path: Path, tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield from over(f"{node.name}()", function_length(node), FUNCTION_AIM, FUNCTION_LIMIT, path, node.lineno)
        elif isinstance(node, ast.ClassDef) and (word := vague_word(node.name)):
            yield Finding(path, node.lineno, f"class {node.name}: {word!r} names nothing", fatal=True)


def check_port(path: Path, tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            methods = sum(isinstance(item, Function) for item in node.body)
            if methods > PORT_METHODS:
                text = f"port {node.name} has {methods} methods (limit {PORT_METHODS})"
                yield Finding(path, node.lineno, text, fatal=True)


def exports_only(node: ast.stmt) -> bool:
    """Docstring, imports, and assignments to dunder names (`__all__`, `__version__`)."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return bool(names) and all(name.startswith("__") and name.endswith("__") for name in names)


def check_init(path: Path, tree: ast.Module) -> Iterator[Finding]:
    if path.parent.name in INIT_EXEMPT:
        return
    for node in tree.body:
        if not exports_only(node):
            yield Finding(path, node.lineno, "__init__ may only export: move this to a module", fatal=True)


def check_file(path: Path) -> Iterator[Finding]:
    source = path.read_text(encoding="utf-8-sig")
    try:
        tree = ast.parse(source, filename=str(path))
    except SyntaxError as error:
        yield Finding(path, error.lineno or 1, f"not Python: {error.msg}", fatal=True)
        return
    yield from over("file", len(source.splitlines()), FILE_AIM, FILE_LIMIT, path, 1)
    if path.stem.lower() in VAGUE_FILES:
        yield Finding(path, 1, f"module {path.stem!r} names nothing", fatal=True)
    yield from check_definitions(path, tree)
    if "ports" in path.parts:
        yield from check_port(path, tree)
    if path.name == "__init__.py":
        yield from check_init(path, tree)


def main(folders: list[str]) -> int:
    roots = [Path(folder) for folder in folders or ("src", "tests", "benchmarks", "scripts")]
    found = sorted(file for root in roots for file in root.rglob("*.py"))
    files = [file for file in found if "build" not in file.parts and "site-packages" not in file.parts]
    if not files:
        print(f"error: no Python files in {', '.join(map(str, roots))}")
        return 1
    findings = [finding for file in files for finding in check_file(file)]
    for finding in findings:
        print(finding)
    fatal = sum(finding.fatal for finding in findings)
    print(f"sizes and names: {len(files)} files, {len(findings) - fatal} large, {fatal} errors")
    return 1 if fatal else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
