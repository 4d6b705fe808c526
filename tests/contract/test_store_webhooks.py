from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from orchestrator.domain import webhook as deliveries
from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.task import lifecycle
from orchestrator.domain.task.task import NOBODY
from orchestrator.domain.webhook import DeliveryState, Webhook
from orchestrator.ports.store import Storage
from orchestrator.storage import open_storage
from task_samples import NOW, finished, keep, move, queued

URL = "http://client/größe?a='b'"
ONE = deliveries.ended("t", 3, URL, "boss", 100.0)


async def test_every_field_comes_back(storage: Storage) -> None:
    full = Webhook("t", 4, URL, "p", 1.5, 2.5, 3.5, DeliveryState.FAILED, 2**40, 500, "no '); --", 4.5)
    await storage.webhooks.add([ONE, full])
    await storage.webhooks.add([replace(ONE, url="other"), full])
    await storage.webhooks.add([])
    assert await storage.webhooks.page(None, "", 10, 0) == (ONE, full)
    assert await storage.webhooks.page(DeliveryState.FAILED, "t", 10, 0) == (full,)
    assert await storage.webhooks.page(None, "", 1, 1) == (full,)
    assert await storage.webhooks.page(None, "x", 10, 0) == ()


async def test_who_claims_has_it_until_the_lease_is_over(storage: Storage) -> None:
    await storage.webhooks.add([ONE, replace(ONE, version=4, next_at=500.0)])
    assert await storage.webhooks.claim("a", 99.0, 120.0, 10) == ()
    assert await storage.webhooks.claim("a", 100.0, 120.0, 10) == (ONE,)
    assert await storage.webhooks.claim("b", 119.0, 140.0, 10) == ()
    assert await storage.webhooks.claim("b", 120.0, 140.0, 10) == (ONE,)
    done = deliveries.delivered(ONE, 121.0, 200)
    assert not await storage.webhooks.save(done, "a")
    assert await storage.webhooks.save(done, "b")
    assert not await storage.webhooks.save(done, "b")
    assert await storage.webhooks.claim("a", 400.0, 420.0, 10) == ()
    assert await storage.webhooks.page(DeliveryState.DELIVERED, "", 10, 0) == (done,)


async def test_two_who_claim_at_once_get_different_ones(storage_url: str) -> None:
    async with open_storage(storage_url) as one, open_storage(storage_url) as two:
        await one.webhooks.add([replace(ONE, version=number) for number in range(40)])
        claims = [
            store.webhooks.claim(name, 200.0, 220.0, 5) for name, store in zip("abab" * 2, (one, two) * 4, strict=True)
        ]
        found = [webhook.id for claim in await asyncio.gather(*claims) for webhook in claim]
        assert len(set(found)) == len(found) > 0


async def test_begun_anew(storage: Storage) -> None:
    await storage.webhooks.add([ONE])
    assert await storage.webhooks.again(ONE.id, 500.0) == ONE
    [claimed] = await storage.webhooks.claim("a", 100.0, 120.0, 10)
    assert await storage.webhooks.save(deliveries.given_up(claimed, 110.0, None, "no"), "a")
    again = await storage.webhooks.again(ONE.id, 500.0)
    assert again is not None
    assert (again.state, again.attempts, again.began_at, again.created_at) == (DeliveryState.PENDING, 0, 500.0, 100.0)
    assert await storage.webhooks.claim("b", 500.0, 520.0, 10) == (again,)
    assert await storage.webhooks.again("nobody", 500.0) is None
    assert await storage.webhooks.again("\0", 500.0) is None


async def test_ends_without_a_delivery_are_found(storage: Storage) -> None:
    [task] = await keep(storage.ledger, queued("t1", callback_url=URL, principal="boss"))
    task = await move(storage.ledger, task, lifecycle.cancel(task, NOW + 2))
    await finished(storage.ledger, queued("t2"))
    await finished(storage.ledger, queued('"callback_url":"', dependencies=('"callback_url":"http',)))
    expected = deliveries.ended("t1", task.version, URL, "boss", NOW + 2)
    assert await storage.webhooks.missing(NOW, 10) == (expected,)
    assert await storage.webhooks.missing(NOW + 3, 10) == ()
    await storage.webhooks.add([expected])
    assert await storage.webhooks.missing(NOW, 10) == ()
    anew = await move(storage.ledger, task, lifecycle.replay(task, "me", NOBODY, NOW))
    ended = await move(storage.ledger, anew, lifecycle.cancel(anew, NOW + 4))
    assert [one.version for one in await storage.webhooks.missing(NOW, 10)] == [ended.version]


async def test_old_ones_are_deleted(storage: Storage) -> None:
    done = replace(ONE, version=4, state=DeliveryState.FAILED, done_at=10.0)
    await storage.webhooks.add([ONE, done])
    assert await storage.webhooks.prune(10.0) == 0
    assert await storage.webhooks.prune(11.0) == 1
    assert await storage.webhooks.page(None, "", 10, 0) == (ONE,)


@pytest.mark.parametrize(
    "bad", [replace(ONE, task="\0"), replace(ONE, url="\ud800"), replace(ONE, next_at=float("nan"))]
)
async def test_what_no_database_can_hold_is_refused(storage: Storage, bad: Webhook) -> None:
    with pytest.raises(InvalidRequest):
        await storage.webhooks.add([ONE, bad])
    assert await storage.webhooks.page(None, "", 10, 0) == ()
