"""What handlers need of a cluster, as they say it."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator_client import Worker
from orchestrator_client.resources import Resources


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"cpus": 1}, "none of num_cpus"),
        ({"num_cpus": -1}, "at least 0"),
        ({"num_cpus": float("inf")}, "at least 0"),
        ({"num_cpus": "many"}, "is a number"),
        ({"num_gpus": True}, "is a number"),
        ({"num_gpus": 1.5}, "whole number"),
        ({"custom": {"GPU": 1}}, "use num_cpus"),
        ({"custom": {"disk": -1}}, "at least 0"),
    ],
)
def test_wrong_resources_are_refused_where_the_handler_is_made(told: dict[str, Any], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        Worker().task("any", resources=told)(lambda data: data)


@pytest.mark.parametrize(
    ("told", "node", "count"),
    [
        (None, {"CPU": 4.0}, 4),
        (None, {}, 0),
        ({"num_cpus": 0.1}, {"CPU": 1.0}, 10),
        ({"num_cpus": 2, "num_gpus": 0.5}, {"CPU": 64.0, "GPU": 2.0}, 4),
        ({"num_cpus": 1, "memory": 2**30}, {"CPU": 8.0, "memory": 3.5 * 2**30}, 3),
        ({"num_cpus": 0, "custom": {"disk": 1}}, {"CPU": 8.0, "disk": 2.0}, 2),
        ({"num_cpus": 0}, {"CPU": 8.0}, 8),
    ],
)
def test_how_many_fit_on_a_node(told: dict[str, Any] | None, node: dict[str, float], count: int) -> None:
    assert Resources.of(told).fits(node) == count
