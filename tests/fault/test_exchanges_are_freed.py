"""What a request leaves behind is freed at once, not when the garbage collector comes: a busy service is long between
two of its visits, and grew by what failing requests had tied in circles."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from fleet_under_test import OPENAI, fleet
from orchestrator.services.gateway.exchange import Exchange


def alive() -> int:
    return sum(isinstance(one, Exchange) for one in gc.get_objects())


@pytest.mark.parametrize("fault", ["ok", "status", "malformed"])
async def test_no_exchange_waits_for_the_garbage_collector(fault: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, ["a"], config={"circuit_breaker": {"enabled": False}}) as tried:
        if fault != "ok":
            tried.nodes["a"].mode(fault)
        gc.collect()
        before = alive()
        gc.disable()
        try:
            statuses = {(await tried.post(OPENAI)).status_code for _ in range(5)}
            assert (statuses == {200}) is (fault == "ok")
            await tried.running.until(lambda: alive() <= before, 5)
        finally:
            gc.enable()
