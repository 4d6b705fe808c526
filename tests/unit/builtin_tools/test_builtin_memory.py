"""The tool `mcp-memory`."""

from __future__ import annotations

import jsonschema_rs
import pytest
from builtin_calls import Caller

from orchestrator.adapters.memory.notes import MemoryNotes
from orchestrator.domain.errors import QuotaExceeded
from orchestrator.services.builtin_tools.notes import Memory


class Time:
    now = 100.0


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def tool(time: Time) -> Memory:
    return Memory(MemoryNotes(), lambda: time.now, most=3)


async def test_a_value_is_remembered_for_its_caller(tool: Memory) -> None:
    anna, bert = Caller(tool), Caller(tool, "bert")
    stored = await anna(action="store", key="k", value={"a": [1]})
    assert stored["stored"] is True
    assert stored["metadata"] == {"stored_at": 100.0, "expires_at": None, "ttl": None}
    found = await anna(action="retrieve", key="k")
    assert (found["found"], found["value"], found["namespace"]) == (True, {"a": [1]}, "default")
    assert (await bert(action="retrieve", key="k")) == {
        "action": "retrieve",
        "namespace": "default",
        "key": "k",
        "found": False,
        "value": None,
    }
    assert (await anna(action="retrieve", key="k", namespace="other"))["found"] is False


async def test_it_is_forgotten_in_time(tool: Memory, time: Time) -> None:
    caller = Caller(tool)
    assert (await caller(action="store", key="k", value=1, ttl=5))["metadata"]["expires_at"] == 105.0
    time.now = 104.9
    assert (await caller(action="retrieve", key="k"))["found"] is True
    time.now = 105.0
    assert (await caller(action="retrieve", key="k"))["found"] is False


async def test_list_and_clear(tool: Memory) -> None:
    caller = Caller(tool)
    for key in ("b", "a", "c"):
        await caller(action="store", key=key, value=1, namespace="n")
    with pytest.raises(QuotaExceeded, match="3 values"):
        await caller(action="store", key="d", value=1)
    assert await caller(action="list", namespace="n", limit=2, skip=1) == {
        "action": "list",
        "namespace": "n",
        "keys": ["b", "c"],
        "count": 2,
        "total": 3,
    }
    assert (await caller(action="clear", namespace="n", key="a"))["cleared"] == 1
    assert (await caller(action="clear", namespace="n"))["cleared"] == 2


@pytest.mark.parametrize(
    "arguments",
    [{"action": "store", "key": "k"}, {"action": "store", "value": 1}, {"action": "retrieve"}, {"action": "drop"}],
)
async def test_arguments_that_do_not_fit(tool: Memory, arguments: dict[str, object]) -> None:
    with pytest.raises(jsonschema_rs.ValidationError):
        await Caller(tool)(**arguments)
