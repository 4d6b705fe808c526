"""Lines through points, against values worked out by hand."""

from __future__ import annotations

import pytest

from orchestrator.domain.regression import correlation, fit


def test_a_straight_line_is_found() -> None:
    line = fit([(x, 3.0 + 2.0 * x) for x in range(12)])
    assert (line.slope, line.intercept, line.confidence) == pytest.approx((2.0, 3.0, 1.0))
    assert line.direction == "increasing"
    assert line.at(20) == pytest.approx(43.0)
    assert fit([(x, 3.0 - x / 10) for x in range(12)]).direction == "decreasing"


def test_a_worked_example() -> None:
    line = fit([(1.0, 2.0), (2.0, 3.0), (3.0, 5.0), (4.0, 4.0)])
    assert line.slope == pytest.approx(0.8)
    assert line.intercept == pytest.approx(1.5)
    assert line.confidence == pytest.approx(0.64 * 4 / 10)


def test_too_little_to_tell() -> None:
    for points in ([], [(1.0, 5.0)], [(1.0, 5.0), (2.0, 9.0)], [(1.0, 5.0)] * 9):
        line = fit(points)
        assert (line.slope, line.confidence, line.direction) == (0.0, 0.0, "stable")


def test_noise_and_flat_curves_are_stable() -> None:
    assert fit([(x, 5.0) for x in range(20)]).direction == "stable"
    assert fit([(x, float(x % 2)) for x in range(40)]).direction == "stable"


def test_correlation() -> None:
    assert correlation([(1.0, 0.0), (2.0, 0.0), (3.0, 1.0), (4.0, 1.0)]) == pytest.approx(0.8944, abs=1e-4)
    assert correlation([(1.0, 1.0), (1.0, 0.0), (1.0, 1.0)]) is None
    assert correlation([(1.0, 1.0)]) is None
