from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from orchestrator.services.tasks.alarms import STEP, Alarm, Alarms

SOON = 0.01


async def test_an_alarm_rings_within_a_step_of_its_moment() -> None:
    loop = asyncio.get_running_loop()
    rung: asyncio.Future[float] = loop.create_future()
    begun = loop.time()
    Alarms().after(SOON, lambda: rung.set_result(loop.time()))
    took = await asyncio.wait_for(rung, 5.0) - begun
    assert took >= SOON
    assert took < SOON + STEP + 1.0  # the machine may be busy


async def test_alarms_ring_in_the_order_of_their_moments_however_they_were_set() -> None:
    alarms, rung, over = Alarms(), [], asyncio.Event()
    alarms.after(SOON + 2 * STEP, over.set)
    alarms.after(SOON + STEP, lambda: rung.append("second"))
    alarms.after(SOON, lambda: rung.append("first"))
    await asyncio.wait_for(over.wait(), 5.0)
    assert rung == ["first", "second"]


async def test_a_cancelled_alarm_is_silent_and_so_are_all_after_the_end() -> None:
    alarms, others, rung, over = Alarms(), Alarms(), [], asyncio.Event()
    alarms.after(SOON, lambda: rung.append("cancelled")).cancel()
    others.after(SOON, lambda: rung.append("stopped"))
    others.stop()
    last = alarms.after(SOON + STEP, over.set)
    await asyncio.wait_for(over.wait(), 5.0)
    assert rung == []
    last.cancel()  # of no effect


async def test_alarms_of_one_moment_may_cancel_each_other() -> None:
    alarms, over = Alarms(), asyncio.Event()
    rung: list[int] = []
    set_ones: list[Alarm] = []

    def ring(number: int) -> Callable[[], None]:
        def cancel_all() -> None:
            rung.append(number)
            for one in set_ones:
                one.cancel()

        return cancel_all

    set_ones += [alarms.after(SOON, ring(number)) for number in range(5)]
    alarms.after(SOON + STEP, over.set)
    await asyncio.wait_for(over.wait(), 5.0)
    assert len(rung) == 1


async def test_one_that_fails_does_not_silence_the_others() -> None:
    alarms, over = Alarms(), asyncio.Event()
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))

    def fail() -> None:
        raise ValueError("on purpose")

    alarms.after(SOON, fail)
    alarms.after(SOON + STEP, over.set)
    await asyncio.wait_for(over.wait(), 5.0)
    assert [str(one["exception"]) for one in failures] == ["on purpose"]
