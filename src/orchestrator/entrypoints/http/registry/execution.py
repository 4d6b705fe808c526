"""How a tool is called: as it is sent, and as it is shown."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.domain.tool import (
    ATTEMPTS_LIMIT,
    COST_LIMIT,
    TIMEOUT_LIMIT,
    ApprovalRule,
    Execution,
    SideEffect,
    ToolKind,
)


class ExecutionBody(BaseModel):
    """How a tool is called; without it a tool is only described."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    kind: ToolKind = Field(description="What runs a call.")
    binding: dict[str, Any] = Field(default_factory=dict, description="The fields of the kind.")
    side_effect: SideEffect = Field(SideEffect.EXTERNAL, description="The worst that a call may do.")
    approval: ApprovalRule = Field(
        ApprovalRule.INHERIT,
        description="Whether a person agrees to each call; inherit: as the operator has set.",
    )
    timeout: float | None = Field(
        None, gt=0, le=TIMEOUT_LIMIT, description="Seconds for one attempt; null: the operator's default."
    )
    attempts: int = Field(1, ge=1, le=ATTEMPTS_LIMIT, description="How often a call is tried at most.")
    cost: float = Field(0.0, ge=0, le=COST_LIMIT, description="US dollars for a call that was carried out.")

    def execution(self) -> Execution:
        return Execution(**dict(self))


def execution_view(execution: Execution | None) -> dict[str, Any] | None:
    if execution is None:
        return None
    return {
        "kind": execution.kind.value,
        "binding": execution.binding,
        "side_effect": execution.side_effect.value,
        "approval": execution.approval.value,
        "timeout": execution.timeout,
        "attempts": execution.attempts,
        "cost": execution.cost,
    }
