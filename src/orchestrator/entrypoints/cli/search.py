"""`orchestrator search`."""

from __future__ import annotations

from typing import Literal

from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.connection import Connection
from orchestrator.entrypoints.cli.options import HERE, Remote

PATH = "/api/v1/search"
COLUMNS = ("score", "kind", "name", "id", "about")


def search(
    words: str,
    /,
    *,
    kind: Literal["tool", "artifact"] | None = None,
    mode: Literal["text", "meaning", "both"] = "both",
    limit: int = 20,
    remote: Remote = HERE,
) -> None:
    """Find tools and artifacts by words, and by meaning where the fleet has an embedding model.

    Examples: `orchestrator search "csv files"`, `orchestrator search '"exact words" begin' --mode text --kind tool`

    Parameters
    ----------
    words
        All of them occur, the last one is the beginning of a word; words in double quotes follow each other.
    kind
        Only tools, or only artifacts.
    mode
        text: by words. meaning: what is near in the space of the embedding model. both: the two together.
    limit
        At most so many, 1 to 100.
    """
    with Connection(remote) as connection:
        found = connection.get(PATH, q=words, kind=kind, mode=mode, limit=limit)
    if remote.json:
        output.print_json({name: found[name] for name in ("results", "mode", "model", "note")})
        return
    rows = []
    for one in found["results"]:
        thing = one.get("tool") or one.get("artifact") or {}
        about = thing.get("description") or thing.get("mime_type") or ""
        rows.append((f"{one['score']:.3f}", one["kind"], one["name"], one["id"], about))
    output.print_table(COLUMNS, rows, "Nothing fits.")
    if found["note"]:
        output.say(f"By words alone: {found['note']}")
