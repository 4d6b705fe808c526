"""Whatever is done, in whatever order, a database shows what memory shows."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.adapters.sql.database import open_database
from orchestrator.adapters.sql.location import locate
from orchestrator.adapters.sql.tables import meta, metadata
from orchestrator.domain.alias import Alias
from orchestrator.domain.api_key import ApiKey
from orchestrator.domain.ban import Ban
from orchestrator.domain.breaker_record import BreakerRecord
from orchestrator.domain.errors import Conflict, InvalidRequest
from orchestrator.domain.node import AdminState, NodeKind, NodeSource, NodeSpec
from orchestrator.ports.store import Storage
from orchestrator.storage import open_storage

Operation = tuple[Any, ...]  # a method, as store.verb, and its arguments

# Few names, so that operations meet; any text elsewhere, NUL and surrogates included.
names = st.sampled_from(["a", "b", "B", "é", "a:b", "a'b", "x" * 512, "x" * 513, "a\0", "\ud800", ""])
# Mostly values that can be kept: a record of many impossible ones is refused and tests little.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20) | st.sampled_from(["", "a", "\0"])
times = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 1.5, 2.5, 1e300, float("nan")])
optional_times = st.none() | times
counts = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 2**31, 2**53 + 1, 2**63])
documents = st.dictionaries(
    texts,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | texts,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)
nodes = st.builds(
    NodeSpec,
    id=names,
    url=texts,
    kind=st.sampled_from(NodeKind),
    max_concurrency=counts,
    api_key=st.none() | texts,
    weight=times,
    labels=st.dictionaries(texts, texts, max_size=3),
    models=st.lists(texts, max_size=3).map(tuple),
    source=st.sampled_from(NodeSource),
    admin_state=st.sampled_from(AdminState),
    admin_reason=texts,
    admin_since=times,
)
bans = st.builds(Ban, node=names, model=names, reason=texts, until=optional_times, created_at=times, created_by=texts)
records = st.builds(
    BreakerRecord,
    node=st.sampled_from(["a", "b", "a\0"]),
    model=names,
    state=texts,
    failure_count=counts,
    success_count=counts,
    opened_at=times,
    open_until=optional_times,
    open_count=counts,
    reason=texts,
    last_failure_at=times,
    last_success_at=times,
    forced=st.booleans(),
)
targets = st.lists(texts.filter(lambda text: text not in {"", "a", "b", "é"}), min_size=1, max_size=3).map(tuple)
aliases = st.builds(Alias, name=st.sampled_from(["a", "b", "é"]), targets=targets)
keys = st.builds(
    ApiKey,
    id=names,
    name=texts,
    prefix=texts,
    hash=names,
    role=texts,
    models=st.lists(texts, max_size=3).map(tuple),
    rate_limit=st.none() | counts,
    priority=counts,
    created_at=times,
    expires_at=optional_times,
    revoked_at=optional_times,
    last_used_at=optional_times,
)
some_names = st.lists(names, max_size=4)
operations: st.SearchStrategy[Operation] = st.one_of(
    st.tuples(st.just("nodes.put"), nodes),
    st.tuples(st.just("nodes.delete"), names),
    st.tuples(st.just("bans.put"), bans),
    st.tuples(st.just("bans.delete"), names, names),
    st.tuples(st.just("bans.clear"), st.none() | names, st.none() | names),
    st.tuples(st.just("breakers.save"), st.lists(records, max_size=4)),
    st.tuples(st.just("breakers.delete"), some_names),
    st.tuples(st.just("aliases.put"), aliases),
    st.tuples(st.just("aliases.delete"), names),
    st.tuples(st.just("overrides.put"), documents, texts, times),
    st.tuples(st.just("keys.put"), keys),
    st.tuples(st.just("keys.revoke"), names, times),
    st.tuples(st.just("keys.find"), names),
    st.tuples(st.just("keys.touch"), some_names, times),
)


async def _outcome(operation: Operation, storage: Storage) -> object:
    name, *arguments = operation
    store, _, verb = name.partition(".")
    try:
        if name == "bans.clear":
            node, model = arguments
            return await storage.bans.clear(node=node, model=model)
        answer = await getattr(getattr(storage, store), verb)(*arguments)
    except (InvalidRequest, Conflict) as error:
        return type(error)
    # Versions are the database's own.
    return None if name == "overrides.put" else answer


async def _content(storage: Storage) -> tuple[object, ...]:
    return (
        await storage.nodes.list(),
        await storage.nodes.tombstones(),
        await storage.bans.list(),
        await storage.breakers.load(),
        await storage.aliases.list(),
        await storage.overrides.get(),
        [(entry.document, entry.who, entry.when) for entry in await storage.overrides.history()],
        await storage.keys.list(),
    )


async def _empty(url: str) -> None:
    async with open_database(locate(url)) as database, database.write() as connection:
        for table in metadata.sorted_tables:
            if table is not meta:
                await connection.execute(table.delete())


async def _compare(url: str, sequence: list[Operation]) -> None:
    async with open_storage("memory://") as memory, open_storage(url) as stored:
        await _empty(url)
        for operation in sequence:
            assert await _outcome(operation, stored) == await _outcome(operation, memory)
        assert await _content(stored) == await _content(memory)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequence=st.lists(operations, max_size=20))
def test_a_database_shows_what_memory_shows(database_url: str, sequence: list[Operation]) -> None:
    asyncio.run(_compare(database_url, sequence))
