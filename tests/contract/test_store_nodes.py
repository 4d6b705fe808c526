from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.node import AdminState, NodeKind, NodeSource, NodeSpec
from orchestrator.ports.store import Storage

PLAIN = NodeSpec("a", "http://localhost:11434", NodeKind.OLLAMA)
FULL = NodeSpec(
    id="gpu-1.rack_2",
    url="https://models.example/base",
    kind=NodeKind.OPENAI,
    max_concurrency=64,
    api_key="env:MODELS_KEY",
    weight=0.1,
    labels={"zone": "b", "größe": "viel 🚚", "": ""},
    models=("z", "llama3:latest", "a"),
    source=NodeSource.DISCOVERY,
    admin_state=AdminState.MAINTENANCE,
    admin_reason="new memory; it's \"late\" -- '); DROP TABLE nodes",
    admin_since=1_763_690_000.123456,
)


async def test_a_new_storage_has_no_nodes(storage: Storage) -> None:
    assert await storage.nodes.list() == ()
    assert await storage.nodes.tombstones() == frozenset()


async def test_every_field_comes_back_as_it_was_put(storage: Storage) -> None:
    for spec in (PLAIN, FULL):
        await storage.nodes.put(spec)
    assert await storage.nodes.list() == (PLAIN, FULL)
    stored = (await storage.nodes.list())[1]
    assert type(stored.kind) is NodeKind
    assert type(stored.source) is NodeSource
    assert type(stored.admin_state) is AdminState
    assert stored.models == ("z", "llama3:latest", "a")


async def test_every_kind_source_and_state_is_kept(storage: Storage) -> None:
    specs = tuple(
        replace(PLAIN, id=f"{kind}-{source}-{state}", kind=kind, source=source, admin_state=state)
        for kind in sorted(NodeKind)
        for source in sorted(NodeSource)
        for state in sorted(AdminState)
    )
    for spec in specs:
        await storage.nodes.put(spec)
    assert await storage.nodes.list() == specs


async def test_nodes_are_listed_by_id_in_code_point_order(storage: Storage) -> None:
    for node_id in ("b", "A", "a.1", "a", "Z", "10", "9"):
        await storage.nodes.put(replace(PLAIN, id=node_id))
    assert [spec.id for spec in await storage.nodes.list()] == ["10", "9", "A", "Z", "a", "a.1", "b"]


async def test_a_literal_api_key_is_kept_and_never_shown(storage: Storage) -> None:
    await storage.nodes.put(replace(PLAIN, api_key="sk-literal"))
    (stored,) = await storage.nodes.list()
    assert stored.api_key == "sk-literal"
    assert "sk-literal" not in repr(stored)


async def test_put_replaces_the_whole_node(storage: Storage) -> None:
    await storage.nodes.put(replace(FULL, id="a"))
    await storage.nodes.put(PLAIN)
    assert await storage.nodes.list() == (PLAIN,)


async def test_a_removed_node_leaves_a_tombstone_until_it_is_put_again(storage: Storage) -> None:
    await storage.nodes.put(PLAIN)
    assert await storage.nodes.delete("a") is True
    assert await storage.nodes.list() == ()
    assert await storage.nodes.tombstones() == {"a"}
    assert await storage.nodes.delete("a") is False
    assert await storage.nodes.tombstones() == {"a"}
    await storage.nodes.put(PLAIN)
    assert await storage.nodes.tombstones() == frozenset()


async def test_a_node_that_was_never_stored_can_be_removed(storage: Storage) -> None:
    assert await storage.nodes.delete("found-by-discovery") is False
    assert await storage.nodes.tombstones() == {"found-by-discovery"}


async def test_what_a_caller_does_to_its_labels_changes_no_stored_node(storage: Storage) -> None:
    labels = {"zone": "a"}
    await storage.nodes.put(replace(PLAIN, labels=labels))
    labels["zone"] = "b"
    (stored,) = await storage.nodes.list()
    assert stored.labels == {"zone": "a"}
    stored.labels["zone"] = "c"  # type: ignore[index]  # a caller that ignores the type
    assert (await storage.nodes.list())[0].labels == {"zone": "a"}


@pytest.mark.parametrize(
    "spec",
    [
        replace(PLAIN, id="a\0b"),
        replace(PLAIN, id="a" * 513),
        replace(PLAIN, url="http://\ud800"),
        replace(PLAIN, weight=float("nan")),
        replace(PLAIN, weight=float("inf")),
        replace(PLAIN, max_concurrency=2**63),
        replace(PLAIN, labels={"a": "\0"}),
        replace(PLAIN, labels={"\0": "a"}),
    ],
)
async def test_what_one_database_cannot_hold_every_store_refuses(storage: Storage, spec: NodeSpec) -> None:
    with pytest.raises(InvalidRequest):
        await storage.nodes.put(spec)
    assert await storage.nodes.list() == ()


@pytest.mark.parametrize("node_id", ["a\0b", "\ud800", "a" * 100_000])
async def test_an_impossible_id_is_not_found(storage: Storage, node_id: str) -> None:
    assert await storage.nodes.delete(node_id) is False
    assert await storage.nodes.tombstones() == frozenset()
