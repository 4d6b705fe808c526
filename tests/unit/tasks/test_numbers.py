"""Ids and numbers of new tasks."""

from __future__ import annotations

import random
import re

from orchestrator.services.tasks.numbers import Numbers, seq_at

NOW = 1_795_000_000.0
IDS = 10_000  # over the end of what ids have in common, and more


def test_ids_are_different_and_in_the_order_in_which_they_were_drawn() -> None:
    numbers = Numbers(random.Random(1).random)
    found = [numbers.id(NOW) for _ in range(IDS)]
    assert all(re.fullmatch("task_[0-9a-f]{12}", one) for one in found)
    assert found == sorted(set(found))


def test_ids_begin_with_the_moment() -> None:
    for moment in (0.0, 1e-3, NOW, NOW + 0.001, NOW + 86_400 * 365 * 20):
        milliseconds = int(Numbers(lambda: 0.0).id(moment).removeprefix("task_"), 16) >> 10
        assert milliseconds == int(moment * 1e3) % (1 << 38)


def test_later_ones_come_later_though_the_clock_was_set_back() -> None:
    numbers = Numbers(lambda: 0.5)
    first, second = numbers.id(NOW), numbers.id(NOW - 3600)
    assert first < second
    assert seq_at(NOW) < numbers.seq(NOW) < numbers.seq(NOW - 3600)
