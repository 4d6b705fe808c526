"""The admission queue is bounded, ordered, fair, and never serves who is too late."""

from __future__ import annotations

from collections import Counter

import pytest

from orchestrator.domain.errors import QueueFull, QueuePaused
from orchestrator.domain.queue import AdmissionQueue, QueuePolicy


def every(model: str) -> bool:
    return True


def put(
    queue: AdmissionQueue[str],
    ticket: str,
    now: float = 0.0,
    model: str = "m",
    principal: str = "p",
    priority: int = 0,
    deadline: float | None = None,
) -> int:
    return queue.push(ticket, model=model, principal=principal, priority=priority, now=now, deadline=deadline)


def drain(queue: AdmissionQueue[str], now: float) -> list[str]:
    served: list[str] = []
    while (ticket := queue.pop(every, now)) is not None:
        served.append(ticket)
    return served


def test_priority_first_then_arrival() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue()
    assert put(queue, "low") == 1
    assert put(queue, "high", priority=50) == 1
    assert put(queue, "low2") == 3
    assert put(queue, "high2", priority=50) == 2
    assert drain(queue, 1) == ["high", "high2", "low", "low2"]


def test_principals_take_turns_however_long_ones_backlog_is() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue()
    for number in range(20):
        put(queue, f"spam{number}", principal="spammer")
    put(queue, "ada1", now=90, principal="ada")
    put(queue, "bob1", now=95, principal="bob")
    put(queue, "ada2", now=95, principal="ada")
    served = drain(queue, 100)
    assert served[:6] == ["spam0", "ada1", "bob1", "spam1", "ada2", "spam2"]


def test_leaving_and_coming_back_wins_no_extra_turns() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue()
    for number in range(10):
        put(queue, f"steady{number}", principal="steady")
    served = []
    for number in range(10):
        put(queue, f"again{number}", principal="again")
        served.append(queue.pop(every, 1.0))
        put(queue, f"more{number}", principal="again")
        served.append(queue.pop(every, 1.0))
    assert sum(1 for ticket in served if str(ticket).startswith("steady")) >= 9


def test_a_model_without_room_delays_no_other() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue()
    for number in range(100):
        put(queue, f"stuck{number}", model="full", priority=100)
    put(queue, "free", model="open")
    assert queue.pop(lambda model: model == "open", 1) == "free"
    assert queue.pop(lambda model: model == "open", 1) is None
    assert queue.pop(["open", "never heard of"], 1) is None
    assert queue.pop(["open", "full"], 1) == "stuck0"


def test_waiting_raises_priority_up_to_the_limit() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue(QueuePolicy(boost_interval=10, boost_amount=5, max_priority=20))
    put(queue, "old", now=0, principal="a", priority=0)
    put(queue, "new", now=30, principal="b", priority=16)
    assert queue.snapshot(39)["items"][0]["ticket"] == "new"
    assert queue.pop(every, 39) == "new"
    put(queue, "newer", now=40, principal="b", priority=16)
    assert queue.snapshot(40)["items"][0] == {
        "ticket": "old",
        "model": "m",
        "priority": 20,
        "base_priority": 0,
        "principal": "a",
        "enqueue_time": 0,
        "deadline": None,
        "wait_time": 40,
    }
    assert queue.pop(every, 40) == "old"
    put(queue, "ancient", now=40, principal="a", priority=0)
    put(queue, "top", now=1000, principal="c", priority=20)
    assert drain(queue, 1000) == ["newer", "ancient", "top"], "at the limit the turn decides"


def test_only_the_request_that_has_risen_overtakes_and_none_of_its_class() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue(QueuePolicy(boost_interval=10, boost_amount=50))
    put(queue, "risen", now=0, principal="a", priority=0)
    put(queue, "fresh low", now=19, principal="b", priority=0)
    put(queue, "high", now=19, principal="c", priority=40)
    assert drain(queue, 20) == ["risen", "high", "fresh low"]


def test_nothing_ages_when_boosting_is_off() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue(QueuePolicy(boost_interval=0))
    put(queue, "old", now=0)
    put(queue, "high", now=1e6, priority=1)
    assert drain(queue, 1e6) == ["high", "old"]


def test_who_is_too_late_is_never_served_and_told_once() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue()
    put(queue, "late", deadline=10)
    put(queue, "later", deadline=20, priority=90)
    put(queue, "patient")
    assert queue.pop(every, 10) == "later"
    assert queue.pop(every, 20) == "patient"
    assert queue.pop(every, 20) is None
    assert queue.expire(30) == ["late"]
    assert queue.expire(30) == []
    assert queue.snapshot(30)["total_dropped"] == 1
    put(queue, "alone", now=40, deadline=50)
    assert queue.expire(49.9) == []
    assert queue.expire(50) == ["alone"]
    assert len(queue) == 0


def test_a_client_that_leaves_is_forgotten() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue()
    for name in ("a", "b", "c"):
        put(queue, name, deadline=5)
    assert queue.remove("b") is True
    assert queue.remove("b") is False
    assert "b" not in queue
    assert queue.pop(every, 1) == "a"
    assert queue.expire(9) == ["c"]


def test_a_ticket_may_wait_again() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue()
    put(queue, "a", deadline=5)
    assert queue.pop(every, 1) == "a"
    put(queue, "a", now=2, deadline=50)
    assert queue.expire(10) == [], "the first deadline is over with the first wait"
    assert queue.pop(every, 11) == "a"


def test_full_is_refused_with_an_honest_time() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue(QueuePolicy(max_size=10))
    for number in range(10):
        put(queue, f"t{number}")
    with pytest.raises(QueueFull) as unknown:
        put(queue, "x")
    assert unknown.value.retry_after == 10.0, "a second each, before anything was measured"
    for second in range(1, 6):  # one is served every two seconds
        assert queue.pop(every, second * 2.0)
        put(queue, f"n{second}", now=second * 2.0)
    with pytest.raises(QueueFull) as known:
        put(queue, "x", now=10.0)
    assert known.value.retry_after == pytest.approx(20.0, rel=0.15)
    with pytest.raises(QueueFull) as stuck:
        put(queue, "x", now=200.0)
    assert (stuck.value.retry_after or 0) > 100, "a standstill shows"
    assert queue.snapshot(10)["total_dropped"] == 3


def test_idle_time_is_no_slow_drain() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue()
    for minute in range(10):
        put(queue, f"t{minute}", now=minute * 60.0)
        queue.pop(every, minute * 60.0 + 0.5)
    for number in range(8):
        put(queue, f"b{number}", now=700.0)
    assert queue.expected_wait(700.0) == pytest.approx(4.0, rel=0.1)
    assert queue.expected_wait(700.0, "m", 2) == pytest.approx(1.0, rel=0.1)


def test_one_principal_may_fill_only_its_share() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue(QueuePolicy(max_size=10, principal_share=0.3))
    for number in range(3):
        put(queue, f"t{number}", principal="greedy")
    with pytest.raises(QueueFull):
        put(queue, "t3", principal="greedy")
    put(queue, "other", principal="modest")
    queue.pop(every, 1)
    put(queue, "t3", principal="greedy")


def test_pause_takes_nobody_in_and_serves_nobody() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue()
    put(queue, "early", deadline=100)
    put(queue, "hasty", deadline=5)
    queue.pause()
    with pytest.raises(QueuePaused) as refused:
        put(queue, "x")
    assert refused.value.retry_after
    assert queue.pop(every, 1) is None
    assert queue.expire(6) == ["hasty"]
    assert queue.snapshot(6)["paused"] is True
    queue.resume()
    assert queue.pop(every, 7) == "early"


def test_a_smaller_queue_turns_nobody_out() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue()
    for number in range(5):
        put(queue, f"t{number}")
    queue.adopt(QueuePolicy(max_size=2))
    with pytest.raises(QueueFull):
        put(queue, "x")
    assert len(drain(queue, 1)) == 5
    assert queue.snapshot(1)["max_size"] == 2


def test_snapshot_and_position() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue()
    put(queue, "a", now=0, model="m1")
    put(queue, "b", now=1, model="m2", principal="q", priority=7, deadline=60)
    put(queue, "c", now=2, model="m1", priority=9)
    assert queue.position("a", 4) == 2
    assert queue.position("c", 4) == 1
    assert queue.position("nobody", 4) is None
    assert queue.waiting("m1") == 2
    assert queue.waiting("m9") == 0
    assert queue.pop(["m2"], 4) == "b"
    shown = queue.snapshot(5, limit=1)
    assert shown["current_size"] == 2
    assert shown["max_size"] == 1000
    assert shown["total_queued"] == 3
    assert shown["total_popped"] == 1
    assert shown["avg_wait_time"] == 3.0
    assert shown["by_model"] == {"m1": 2}
    assert [item["ticket"] for item in shown["items"]] == ["c"]


def test_what_left_leaves_nothing_behind() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue()
    put(queue, "stays", model="stuck", principal="stays")
    for number in range(5000):
        put(queue, f"t{number}", model="stuck", principal=f"p{number}", deadline=1e9)
        assert queue.remove(f"t{number}")
    lane = queue._lanes["stuck"][0]
    assert len(queue._deadlines) < 200
    assert len(lane._turns) < 200
    assert len(queue._turns) == 1
    assert queue.pop(every, 1) == "stays"
    assert not queue._lanes


def test_shares_are_equal_over_a_long_overload() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue(QueuePolicy(max_size=20_000))
    served: Counter[str] = Counter()
    now, ticket = 0.0, 0
    arrivals = {"flood": 20, "some": 3, "few": 1}
    for _ in range(600):
        now += 1.0
        for principal, count in arrivals.items():
            for _ in range(count):
                ticket += 1
                put(queue, f"{principal}:{ticket}", now=now, principal=principal)
        for _ in range(4):
            got = queue.pop(every, now)
            assert got is not None
            served[got.split(":")[0]] += 1
    assert served["few"] >= 590, "who asks for less than its share waits for nobody"
    assert abs(served["flood"] - served["some"]) <= 10


def test_nobody_starves_under_a_flood_of_higher_priority() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue(QueuePolicy(max_size=20_000))
    put(queue, "patient", principal="low", priority=0)
    now = 0.0
    for number in range(2000):
        now += 1.0
        put(queue, f"h{number}a", now=now, principal="high", priority=50)
        put(queue, f"h{number}b", now=now, principal="high", priority=50)
        if queue.pop(every, now) == "patient":
            break
    waited_for_rise = (100 - 0) / 5 * 30
    assert now <= waited_for_rise + 2


def test_a_principal_keeps_its_turn_when_it_asks_for_another_model() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue()
    put(queue, "x1", model="m3", principal="x")
    put(queue, "w", model="m2", principal="w")
    put(queue, "y", model="m1", principal="y")
    assert queue.pop(["m1", "m2"], 1) == "w"
    put(queue, "x2", model="m1", principal="x")
    assert queue.pop(["m1"], 1) == "x2"


def test_a_look_takes_nothing_out() -> None:
    queue: AdmissionQueue[str] = AdmissionQueue()
    put(queue, "a1", principal="a")
    put(queue, "a2", principal="a")
    put(queue, "b1", principal="b")
    assert queue.peek(every, 1) == queue.peek(every, 1) == "a1"
    assert len(queue) == 3
    queue.take("a1", 2)
    assert queue.snapshot(2)["avg_wait_time"] == 2.0
    assert drain(queue, 3) == ["b1", "a2"]
    assert queue.peek(every, 4) is None
