"""How inference requests are admitted, placed, tried and relayed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from orchestrator.domain.access import Role
from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.placement import policy_name
from orchestrator.settings.fleet import ModelName
from orchestrator.settings.section import Duration, Names, Section, setting


def _policy_spelling(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return policy_name(value)
    except InvalidRequest:
        return value  # the list of names refuses it, and tells the alternatives


PolicyName = Annotated[
    Literal[
        "round_robin",
        "weighted_round_robin",
        "random",
        "least_connections",
        "power_of_two",
        "resource_aware",
        "fastest_response",
        "latency_optimized",
        "prefix_affinity",
        "warm_first",
        "learned",
        "weighted",
    ],
    BeforeValidator(_policy_spelling),
]


class Gateway(Section):
    """The data plane."""

    policy: PolicyName = setting("warm_first", "Placement policy.", live=True)
    policy_header_roles: tuple[Role, ...] = setting(
        (Role.DEVELOPER, Role.ADMIN), "Roles that may choose a policy with the X-Placement-Policy header.", live=True
    )
    timeout: Duration = setting(300.0, "Time for a whole request, waiting included, in seconds.", live=True, gt=0)
    connect_timeout: Duration = setting(2.0, "Time to connect to a node, in seconds.", live=True, gt=0)
    first_byte_timeout: Duration = setting(
        120.0,
        "Time from sending a request to the first byte of the answer (a model may load), in seconds.",
        live=True,
        gt=0,
    )
    max_connections_per_node: int = setting(256, "Idle connections kept open to one node.", live=True, ge=1, le=10_000)
    ollama_stream_default: bool = setting(
        True,
        "Whether /api/generate and /api/chat stream when the request does not say; false is the legacy default.",
        live=True,
    )
    expose_decision_headers: bool = setting(
        True, "Whether every answer tells node, retries and queue time in headers.", live=True
    )
    forward_headers: tuple[str, ...] = setting((), "Client headers passed on to nodes.", live=True)
    model_fallbacks: dict[ModelName, Names] = setting(
        description="Models to try in turn when no node can serve the one asked for.", factory=dict, live=True
    )


class Queue(Section):
    """Waiting for room."""

    enabled: bool = setting(
        True, "Whether requests wait for room; otherwise a full fleet answers 503 at once.", live=True
    )
    max_size: int = setting(1000, "Requests that may wait.", live=True, ge=1, le=100_000)
    timeout: Duration = setting(300.0, "Longest wait, in seconds.", live=True, gt=0)
    priority_boost_interval: Duration = setting(
        30.0, "A waiting request gains priority each time this many seconds have passed; 0: never.", live=True, ge=0
    )
    priority_boost_amount: int = setting(5, "How much it gains.", live=True, ge=0, le=100)
    max_priority: int = setting(100, "Highest priority a request can have or reach.", live=True, ge=0, le=1000)
    per_principal_share: float = setting(
        1.0, "Part of the queue that one principal may fill, 0 to 1.", live=True, gt=0, le=1
    )


class Retry(Section):
    """Trying again, before the first byte has gone to the client."""

    max_attempts: int = setting(3, "Attempts of one request, the first included.", live=True, ge=1, le=20)
    budget_ratio: float = setting(
        0.2, "Retries allowed, as a part of the requests of the last 10 s.", live=True, ge=0, le=1
    )
    budget_min_per_second: float = setting(10.0, "Retries per second allowed in any case.", live=True, ge=0)
    backoff_base: Duration = setting(
        0.5, "Longest pause before the same node is tried again, in seconds.", live=True, ge=0
    )
    backoff_multiplier: float = setting(2.0, "Growth of that pause with each attempt.", live=True, ge=1, le=100)
    backoff_max: Duration = setting(5.0, "Longest pause at all, in seconds.", live=True, ge=0)


class Streaming(Section):
    """Streams that stop or break."""

    stall_threshold: Duration = setting(
        60.0,
        "Longest silence between two chunks of an answer before its node counts as stalled, in seconds.",
        live=True,
        gt=0,
    )
    continuation: bool = setting(
        False, "Whether a broken stream is continued on another node from the text so far.", live=True
    )
    max_continuations: int = setting(2, "Continuations of one request.", live=True, ge=0, le=10)
