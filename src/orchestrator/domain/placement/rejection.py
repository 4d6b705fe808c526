"""Why a node is not considered, and what a caller is told when none is left."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from orchestrator.domain.errors import ModelNotFound, NoNode, OrchestratorError, QueueFull, Unsupported
from orchestrator.domain.node import AdminState


class Rejection(StrEnum):
    """One reason per node: the first that applies, in this order."""

    MODEL_MISSING = "model_missing"
    CAPABILITY_MISSING = "capability_missing"
    MAINTENANCE = "maintenance"
    DRAINING = "draining"
    BANNED = "banned"
    UNHEALTHY = "unhealthy"
    BREAKER_OPEN = "breaker_open"
    EXCLUDED = "excluded"  # tried before by the same request
    FAILING = "failing"  # rests after failures in a row
    NO_ROOM = "no_room"


TEXT = {
    Rejection.MODEL_MISSING: "model '{model}' not found on any server",
    Rejection.CAPABILITY_MISSING: "No servers support what the request needs of model '{model}'",
    Rejection.MAINTENANCE: "All servers with model '{model}' are in maintenance",
    Rejection.DRAINING: "All servers with model '{model}' are draining",
    Rejection.BANNED: "All servers with model '{model}' are banned",
    Rejection.UNHEALTHY: "All servers with model '{model}' are unhealthy",
    Rejection.BREAKER_OPEN: "All servers with model '{model}' have an open circuit breaker",
    Rejection.EXCLUDED: "All servers with model '{model}' were tried",
    Rejection.FAILING: "All servers with model '{model}' failed just now",
    Rejection.NO_ROOM: "All servers at max concurrency",
}


def eligibility(
    *,
    healthy: bool,
    admin_state: AdminState = AdminState.ACTIVE,
    has_model: bool = True,
    has_capability: bool = True,
    banned: bool = False,
    breaker_open: bool = False,
    excluded: bool = False,
    failing: bool = False,
    room: bool = True,
) -> Rejection | None:
    """The first reason not to use a node, None when it may be used."""
    checks = (
        (has_model, Rejection.MODEL_MISSING),
        (has_capability, Rejection.CAPABILITY_MISSING),
        (admin_state is not AdminState.MAINTENANCE, Rejection.MAINTENANCE),
        (admin_state is not AdminState.DRAINING, Rejection.DRAINING),
        (not banned, Rejection.BANNED),
        (healthy, Rejection.UNHEALTHY),
        (not breaker_open, Rejection.BREAKER_OPEN),
        (not excluded, Rejection.EXCLUDED),
        (not failing, Rejection.FAILING),
        (room, Rejection.NO_ROOM),
    )
    return next((reason for passed, reason in checks if not passed), None)


def no_candidate(model: str, reasons: Collection[Rejection]) -> OrchestratorError:
    """The error for a request that no node can take. `reasons` holds one entry per registered node.

    ModelNotFound when no node has the model, Unsupported when those that have it cannot do what is asked, QueueFull
    when all are busy, else NoNode; `details["reasons"]` counts them.
    """
    having = [reason for reason in reasons if reason is not Rejection.MODEL_MISSING]
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason.value] = counts.get(reason.value, 0) + 1
    details = {"model": model, "reasons": counts}
    if not having:
        return ModelNotFound(TEXT[Rejection.MODEL_MISSING].format(model=model), details=details)
    able = [reason for reason in having if reason is not Rejection.CAPABILITY_MISSING]
    if not able:
        return Unsupported(TEXT[Rejection.CAPABILITY_MISSING].format(model=model), details=details)
    kinds = set(able)
    if Rejection.NO_ROOM in kinds and kinds <= {Rejection.NO_ROOM, Rejection.EXCLUDED}:
        return QueueFull(TEXT[Rejection.NO_ROOM], details=details)
    if len(kinds) == 1:
        return NoNode(TEXT[able[0]].format(model=model), details=details)
    mixed = ", ".join(f"{able.count(kind)} {kind.value}" for kind in Rejection if kind in kinds)
    return NoNode(f"No available servers for model '{model}': {mixed}", details=details)
