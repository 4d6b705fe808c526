"""Search by words finds the same in every store."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.adapters.sql import few, migration, texts
from orchestrator.adapters.sql.database import open_database
from orchestrator.adapters.sql.location import locate
from orchestrator.domain.artifact import Artifact, ArtifactState, Origin, Quota, Upload, stored
from orchestrator.domain.tool import Tool, ToolOrder, ToolQuery, ToolStatus
from orchestrator.ports.artifacts import ArtifactOrder, ArtifactQuery
from orchestrator.ports.store import Storage
from orchestrator.storage import open_storage

HOSTILE = (
    *('"', '""', '"""', "'", "\\", "*", "a*", "-a", "a OR b", "NEAR(a b)", "title:a", "{title body}: a", "^a", "a AND"),
    *(
        "a & b",
        "!a",
        "a <-> b",
        "a:*",
        "':*",
        "(",
        ")))",
        "\0",
        "a\0b",
        "\ud800",
        "\ud800a",
        "%",
        "_",
        "a;--",
        "\u202e",
    ),
    *("x" * 1_000, "a " * 500, '"' * 1_000, "\U0001f69a", "ﬀ", "İ", "ǅ", "१२३", "\u0301", "𝔞"),
)


def name(number: int) -> str:
    return str(UUID(int=number))


def artifact(number: int, file_name: str, mime_type: str = "a/b", at: float = 0.0, **origin: str) -> Artifact:
    return Artifact(name(number), file_name, mime_type, "s3://b/a", number, at, Origin(**origin))  # type: ignore[arg-type]  # texts


async def tools_found(storage: Storage, text: str, **wanted: object) -> list[str]:
    query = ToolQuery(text=text, order=ToolOrder.RELEVANCE)
    return [one.name for one in await storage.tools.page(replace(query, **wanted), 100, 0)]  # type: ignore[arg-type]  # as given


async def files_found(storage: Storage, text: str, **wanted: object) -> list[str]:
    query = ArtifactQuery(text=text, order=ArtifactOrder.RELEVANCE)
    return [one.file_name for one in await storage.artifacts.page(replace(query, **wanted))]  # type: ignore[arg-type]  # as given


async def add_tools(storage: Storage) -> None:
    for place, (called, description) in enumerate(
        [
            ("file_analyzer", "Tells the metadata of a file"),
            ("csv-to-json", "Converts a file of comma separated values"),
            ("Größe prüfen", "Measures; Tells the size of a FILE, or analyzes it"),
            ("検索", None),
            ("analyze", None),
        ]
    ):
        tool = Tool(name(place + 1), called, "ANALYSIS" if place else "Files", description, created_at=float(place))
        await storage.tools.add(tool)


async def test_words_must_all_occur_and_the_last_one_may_go_on(storage: Storage) -> None:
    await add_tools(storage)
    for text, expected in (
        ("file analyzer", ["file_analyzer"]),
        ("ANALYZ file", ["Größe prüfen"] * 0),
        ("file ANALYZ", ["file_analyzer", "Größe prüfen"]),
        ("analyz", ["analyze", "file_analyzer", "Größe prüfen"]),
        ("analyze", ["analyze", "file_analyzer", "Größe prüfen"]),
        ('"analyze"', ["analyze"]),
        ('"file analyzer"', ["file_analyzer"]),
        ('"analyzer file"', []),
        ("file_ana", ["file_analyzer"]),
        ('"tells the" file', ["file_analyzer", "Größe prüfen"]),
        ('"tells the si', ["Größe prüfen"]),
        ("grosse", ["Größe prüfen"]),
        ("GRÖSSE prufen", ["Größe prüfen"]),
        ("json", ["csv-to-json"]),
        ("csv-to", ["csv-to-json"]),
        ("to-csv", []),
        ("索", ["検索"]),
        ("検索", ["検索"]),
        ("索検", []),
        ("separated converts csv", ["csv-to-json"]),
        ("fil", ["file_analyzer", "Größe prüfen", "csv-to-json"]),
        ("...", []),
        ("nothing", []),
    ):
        assert await tools_found(storage, text) == expected, text
        assert await storage.tools.count(ToolQuery(text=text)) == len(expected), text
    assert await tools_found(storage, "  ") == ["analyze", "検索", "Größe prüfen", "csv-to-json", "file_analyzer"]
    assert await tools_found(storage, "file", category="Files") == ["file_analyzer"]
    assert await tools_found(storage, "file", status=ToolStatus.DISABLED) == []
    assert await tools_found(storage, "analyz", order=ToolOrder.NAME) == ["Größe prüfen", "analyze", "file_analyzer"]
    page = await storage.tools.page(ToolQuery(text="analyz", order=ToolOrder.RELEVANCE), 1, 1)
    assert [one.name for one in page] == ["file_analyzer"]


async def test_what_is_searched_follows_every_change(storage: Storage) -> None:
    await add_tools(storage)
    assert await tools_found(storage, "nightly") == []
    await storage.tools.tag(name(1), "Nightly run", 1.0)
    assert await tools_found(storage, "nightly run") == ["file_analyzer"]
    found = await storage.tools.get(name(1))
    assert found is not None
    await storage.tools.save(replace(found, name="renamed", description=None))
    assert await tools_found(storage, "nightly") == ["renamed"]
    assert await tools_found(storage, "metadata") == []
    await storage.tools.tag(name(1), "Nightly run", None)
    assert await tools_found(storage, "nightly") == []
    assert await tools_found(storage, "renamed") == ["renamed"]
    await storage.tools.delete(name(1))
    assert await tools_found(storage, "renamed") == []


async def test_artifacts_are_found_by_name_type_and_origin(storage: Storage) -> None:
    await storage.artifacts.add(artifact(1, "Report-2024_final.pdf", "application/pdf", 1.0, task="task-7/a"))
    await storage.artifacts.add(artifact(2, "other report 2024 of last year.txt", "text/plain", 2.0, run="nightly"))
    upload = Upload(name(3), "photo.png", "image/png", 1.0, 2.0, Origin(principal="key:ann"))
    await storage.uploads.begin(upload, Quota())
    assert await files_found(storage, "photo") == []
    assert await storage.uploads.finish(stored(upload, 5, "ab" * 32, 3.0), Quota())
    for text, expected in (
        ("report 2024", ["Report-2024_final.pdf", "other report 2024 of last year.txt"]),
        ("2024 final", ["Report-2024_final.pdf"]),
        ("pdf", ["Report-2024_final.pdf"]),
        ("task-7", ["Report-2024_final.pdf"]),
        ("night", ["other report 2024 of last year.txt"]),
        ("ann", ["photo.png"]),
        ("image/png photo", ["photo.png"]),
        ("photo image", ["photo.png"]),
    ):
        assert await files_found(storage, text) == expected, text
    assert await files_found(storage, "report", state=ArtifactState.STORED) == []
    assert await files_found(storage, "report", mime_type="text/plain") == ["other report 2024 of last year.txt"]
    assert await files_found(storage, "report", order=ArtifactOrder.LARGEST, limit=1) == [
        "other report 2024 of last year.txt"
    ]
    await storage.artifacts.delete([name(1)])
    assert await files_found(storage, "report") == ["other report 2024 of last year.txt"]


async def test_whatever_is_typed_is_an_answer(storage: Storage) -> None:
    await add_tools(storage)
    await storage.artifacts.add(artifact(1, "a b.txt"))
    for text in HOSTILE:
        for order in ToolOrder:
            await storage.tools.page(ToolQuery(text=text, order=order), 10, 0)
        await storage.tools.count(ToolQuery(text=text))
        for kind in ArtifactOrder:
            await storage.artifacts.page(ArtifactQuery(text=text, order=kind))


@pytest.mark.parametrize("common", [3, 50])
async def test_many_hits_are_walked_through_in_order(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, common: int
) -> None:
    """What is faster when most rows fit finds the same; and after the ranked ones come the others, newest first."""
    monkeypatch.setattr(few, "FEW", 3)
    monkeypatch.setattr(texts, "COMMON", common)
    monkeypatch.setattr(texts, "RANKED", 4)
    for number in range(1, 9):
        file_name = f"part {number}.bin" if number % 2 else f"long name of part {number}.bin"
        await storage.artifacts.add(artifact(number, file_name, at=float(number)))
    found = await files_found(storage, "part")
    assert sorted(found) == sorted(await files_found(storage, "par"))
    assert len(found) == 8
    pages = [name for skip in range(0, 8, 3) for name in await files_found(storage, "part", limit=3, offset=skip)]
    assert pages == found
    assert await files_found(storage, "part 7") == ["part 7.bin"]
    largest = await files_found(storage, "part", order=ArtifactOrder.LARGEST)
    assert largest[0] == "long name of part 8.bin"
    assert len(largest) == 8


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(words, min_size=1, max_size=4), words)
async def test_the_stores_agree(sqlite_url: str, postgres_url: str, names: list[str], query: str) -> None:
    found: list[list[str]] = []
    for url in ("memory://", sqlite_url, postgres_url):
        async with open_storage(url) as storage:
            await storage.artifacts.delete([name(number) for number in range(9)])
            for number, text in enumerate(names):
                origin = Origin(task=text[::-1])
                one = Artifact(name(number), f"x{text}".strip(), "a/b", "s3://b/a", 1, 1.0, origin)
                if all(ord(char) >= 32 for char in one.file_name):
                    await storage.artifacts.add(one)
            found.append(await files_found(storage, query))
    assert found[0] == found[1] == found[2]


async def test_a_sqlite_without_fts5_finds_the_same(sqlite_url: str) -> None:
    async with open_storage(sqlite_url) as storage:
        await add_tools(storage)
        expected = await tools_found(storage, "file ana")
    async with open_database(locate(sqlite_url)) as database, database.write() as connection:
        for kind in ("added", "removed", "changed"):
            await connection.execute(sa.text(f"DROP TRIGGER tool_texts_{kind}"))
        await connection.execute(sa.text("DROP TABLE tool_texts_fts"))
    async with open_storage(sqlite_url) as storage:
        assert await tools_found(storage, "file ana") == expected != []
        assert await tools_found(storage, "%") == []


async def test_rows_of_an_older_release_are_searched_after_the_upgrade(empty_database_url: str) -> None:
    async with open_storage(empty_database_url) as storage:
        await add_tools(storage)
        await storage.tools.tag(name(1), "Nightly", 1.0)
        await storage.artifacts.add(artifact(1, "report.pdf", task="t-1"))
    async with open_database(locate(empty_database_url)) as database:
        await migration.downgrade(database, "0011")
    async with open_storage(empty_database_url) as storage:
        assert await tools_found(storage, "nightly") == ["file_analyzer"]
        assert await tools_found(storage, "検") == ["検索"]
        assert await files_found(storage, "t-1 report") == ["report.pdf"]
