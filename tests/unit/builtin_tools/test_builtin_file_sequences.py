"""Random sequences of what one may do to files leave what a dictionary of paths would."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.adapters.files import FileTree
from orchestrator.domain.errors import RequestError

PATHS = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "../a", "a/x"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "new", "append", "copy", "move", "delete"]), PATHS, PATHS, st.binary(max_size=4)
    ),
    max_size=12,
)


def valid(model: dict[str, bytes], path: str) -> bool:
    """Whether a file may be there: no file above it, no folder in its place."""
    above = [path.rsplit("/", count)[0] for count in range(1, path.count("/") + 1)]
    return ".." not in path and not any(one in model for one in above)


def expected(model: dict[str, bytes], folders: set[str], step: tuple[str, str, str, bytes]) -> dict[str, bytes] | None:
    """What is there afterwards; None where the step is refused."""
    action, path, other, content = step
    after = dict(model)
    if action in ("write", "new", "append"):
        if not valid(model, path) or path in folders or (action == "new" and path in model):
            return None
        after[path] = after.get(path, b"") + content if action == "append" else content
        return after
    if path not in model:
        return None
    if action == "delete":
        del after[path]
        return after
    if other in folders or not valid(model, other) or (action == "copy" and path == other):
        return None
    after[other] = after[path] if action == "copy" else after.pop(path)
    return after


async def carried_out(files: FileTree, step: tuple[str, str, str, bytes]) -> bool:
    action, path, other, content = step
    try:
        match action:
            case "write" | "new":
                await files.write(path, content, overwrite=action == "write")
            case "append":
                await files.write(path, content, append=True)
            case "copy":
                await files.copy(path, other)
            case "move":
                await files.move(path, other)
            case "delete":
                found = await files.info(path)
                if found is None or found.kind != "file":
                    return False
                await files.delete(path)
    except RequestError:
        return False
    return True


def there(root: Path) -> tuple[set[str], dict[str, bytes]]:
    """Folders and files."""
    found = list(root.rglob("*"))
    folders = {str(path.relative_to(root)) for path in found if path.is_dir()}
    return folders, {str(path.relative_to(root)): path.read_bytes() for path in found if path.is_file()}


async def follow(root: Path, steps: list[tuple[str, str, str, bytes]]) -> None:
    files, model = FileTree(root, 1_000), dict[str, bytes]()
    for step in steps:
        folders, _ = there(root)
        if step[0] == "move" and step[1] in folders:
            continue
        after = expected(model, folders, step)
        assert await carried_out(files, step) is (after is not None), (model, step)
        model = model if after is None else after
        assert there(root)[1] == model


@settings(max_examples=120, deadline=None)
@given(STEPS)
def test_any_sequence(steps: list[tuple[str, str, str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(follow(Path(folder), steps))
