"""The clock that everything of one moment shares."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.services.clock import Clock

MOMENTS = (0.0, 0.000001, 1_795_000_000.0, 1_795_000_000.25, 1_795_000_000.999999, 1_795_000_001.5, 1_795_000_000.5)


def test_timestamps_are_of_their_moment_though_seconds_are_remembered() -> None:
    clock = Clock()
    for moment in MOMENTS:
        clock.epoch = moment
        text = clock.timestamp()
        assert text.endswith("Z")
        assert len(text) == len("2026-11-22T00:00:00.000000Z")
        assert datetime.fromisoformat(text).timestamp() == pytest.approx(moment, abs=2e-6)


def test_a_timestamp_is_of_now() -> None:
    clock = Clock()
    before = datetime.now(UTC)
    clock.adjust()
    found = datetime.fromisoformat(clock.timestamp())
    assert (found - before).total_seconds() == pytest.approx(0.0, abs=60.0)
    assert found.tzinfo is not None
