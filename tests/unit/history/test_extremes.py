"""The shortest and the longest answer since any minute, against a plain list of all of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.ports.history import DAY, MINUTE
from orchestrator.services.history.extremes import Extremes

PAIR = ("a", "m")
START = 28_000_000 * MINUTE
answers = st.lists(st.tuples(st.integers(0, 90), st.floats(0.001, 100, allow_nan=False)), min_size=1, max_size=60)


@given(answers, st.integers(0, 95))
def test_they_are_those_of_all_answers(found: list[tuple[int, float]], since: int) -> None:
    extremes = Extremes(START)
    for minute, seconds in found:  # in any order: a request counts by its arrival
        extremes.add(PAIR, START + minute * MINUTE, [seconds])
    within = [seconds for minute, seconds in found if minute >= since]
    expected = (min(within), max(within)) if within else None
    assert extremes.between(PAIR, START + since * MINUTE, len(within)) == expected


def test_nothing_is_told_of_answers_before_the_start() -> None:
    extremes = Extremes(START + 30)
    extremes.add(PAIR, START, [0.2, 0.3])
    assert extremes.between(PAIR, START, 3) is None
    assert extremes.between(PAIR, START, 2) == (0.2, 0.3)  # this process gave them all
    assert extremes.between(("b", "m"), START, 0) is None


def test_a_day_later_they_are_forgotten() -> None:
    extremes = Extremes(START)
    extremes.add(PAIR, START, [0.2])
    extremes.add(("b", "m"), START + DAY + 2 * MINUTE, [0.3])
    assert extremes.between(PAIR, START, 1) is None
    assert extremes.between(("b", "m"), START, 1) == (0.3, 0.3)
