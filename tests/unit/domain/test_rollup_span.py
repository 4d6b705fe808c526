from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.rollup_span import DAY, HOUR, MINUTE, rollup_spans

T0 = 1_763_683_200  # a midnight
seconds = st.integers(0, 5 * DAY)


@given(seconds, seconds, st.sampled_from([0, 60, 300, 1800, HOUR, 5400, 6 * HOUR, DAY, 2 * DAY]), st.integers(0, 120))
def test_each_minute_counts_once_where_there_are_minutes_and_each_hour_before(
    since: int, length: int, step: int, folded_hours: int
) -> None:
    start, end, minutes_from = T0 + since, T0 + since + length, T0 + folded_hours * HOUR
    covered: list[int] = []
    for span, first, last in rollup_spans(start, end, step, minutes_from):
        for begin in range(-(-first // span) * span, last, span):
            assert span != MINUTE or begin >= minutes_from
            assert not step or begin // step == (begin + span - 1) // step or (span == HOUR and begin < minutes_from)
            covered.extend(range(begin, begin + span, MINUTE))
    hours = range(-(-start // HOUR) * HOUR, min(end, minutes_from), HOUR)
    folded = [minute for hour in hours for minute in range(hour, hour + HOUR, MINUTE)]
    whole = [minute for minute in range(-(-start // MINUTE) * MINUTE, end, MINUTE) if minute >= minutes_from]
    assert sorted(covered) == sorted(folded + whole)


def test_few_rows_are_read_for_a_long_time() -> None:
    since, until = T0 + 90, T0 + 30 * DAY + 5 * HOUR + 90
    assert rollup_spans(since, until, DAY, 0) == [
        (MINUTE, since, T0 + HOUR),
        (HOUR, T0 + HOUR, T0 + DAY),
        (DAY, T0 + DAY, T0 + 30 * DAY),
        (HOUR, T0 + 30 * DAY, T0 + 30 * DAY + 5 * HOUR),
        (MINUTE, T0 + 30 * DAY + 5 * HOUR, until),
    ]
