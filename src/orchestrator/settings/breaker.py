"""When a node counts as broken, and how that is found out."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from orchestrator.settings.section import Duration, Section, setting


class CircuitBreaker(Section):
    """Breakers per node and per model on a node."""

    enabled: bool = setting(True, "Whether breakers keep traffic from failing nodes.", live=True)
    base_failure_threshold: int = setting(5, "Failures in a row that open a breaker.", live=True, ge=1, le=1000)
    min_failure_threshold: int = setting(3, "Lowest adaptive threshold.", live=True, ge=1, le=1000)
    max_failure_threshold: int = setting(10, "Highest adaptive threshold.", live=True, ge=1, le=1000)
    adaptive_thresholds: bool = setting(
        True, "Whether lasting failures lower the threshold and passing ones raise it.", live=True
    )
    threshold_adjustment: int = setting(2, "By how much they do.", live=True, ge=0, le=1000)
    error_rate_window: Duration = setting(60.0, "Window of the error rate, in seconds.", live=True, gt=0, le=3600)
    error_rate_threshold: float = setting(0.5, "Error rate in the window that opens a breaker.", live=True, gt=0, le=1)
    min_requests: int = setting(10, "Requests in the window before its error rate counts.", live=True, ge=1)
    open_time: Duration = setting(
        5.0, "How long a breaker stays open the first time, in seconds; doubled each time it reopens.", live=True, gt=0
    )
    open_max: Duration = setting(300.0, "Longest open time, in seconds.", live=True, gt=0)
    max_retry_after: Duration = setting(
        3600.0, "Longest Retry-After of a node that is honoured, in seconds.", live=True, ge=0
    )
    half_open_max_requests: int = setting(1, "Trial requests at a time while half open.", live=True, ge=1, le=100)
    half_open_time: Duration = setting(
        300.0, "When a trial without a verdict is given up, in seconds.", live=True, gt=0
    )
    recovery_success_threshold: int = setting(3, "Successful trials that close a breaker.", live=True, ge=1, le=100)
    recovery_tests: bool = setting(
        True, "Whether half-open breakers that no traffic tries are tested; no test loads a model.", live=True
    )
    recovery_test_interval: Duration = setting(
        2.0,
        "How long traffic has the first go, and the time between two tests of a breaker, in seconds.",
        live=True,
        ge=0.1,
        le=3600,
    )
    recovery_test_timeout: Duration = setting(
        120.0, "How long a test of a model may take, in seconds.", live=True, gt=0, le=3600
    )
    slow_first_token: Duration | None = setting(
        None, "A first token later than this counts as a failure, in seconds; none: never.", live=True, gt=0
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.min_failure_threshold <= self.base_failure_threshold <= self.max_failure_threshold:
            raise ValueError("min_failure_threshold <= base_failure_threshold <= max_failure_threshold must hold")
        if self.open_time > self.open_max:
            raise ValueError("open_time must not be above open_max")
        return self


class HealthCheck(Section):
    """Probes. None of them loads a model."""

    enabled: bool = setting(True, "Whether nodes are probed.", live=True)
    interval: Duration = setting(10.0, "Time between two probes of a healthy node, in seconds.", live=True, ge=0.1)
    recovery_interval: Duration = setting(
        5.0, "Time between two probes of an unhealthy node, in seconds.", live=True, ge=0.1
    )
    timeout: Duration = setting(5.0, "How long a probe may take, in seconds.", live=True, gt=0)
    failure_threshold: int = setting(3, "Failed probes in a row that make a node unhealthy.", live=True, ge=1, le=100)
    success_threshold: int = setting(1, "Good probes in a row that make it healthy again.", live=True, ge=1, le=100)
    concurrency: int = setting(10, "Probes at a time.", live=True, ge=1, le=1000)
