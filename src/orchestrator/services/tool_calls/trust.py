"""Who may say that calls of a tool need nobody's approval."""

from __future__ import annotations

from orchestrator.domain.access import Permission, Principal, allowed
from orchestrator.domain.errors import Forbidden
from orchestrator.domain.tool import ApprovalRule, Execution, SideEffect, ToolKind

_ORDER = tuple(SideEffect)


def least(kind: ToolKind) -> SideEffect:
    """What calls of a kind are taken for, as long as nobody who may approve them says that they do less."""
    return SideEffect.EXTERNAL if kind is ToolKind.HTTP else SideEffect.DANGEROUS


def permit(who: Principal, execution: Execution | None) -> None:
    """Otherwise whoever may register tools could pass by the inbox, and by what the operator has set for a side effect.
    Raises Forbidden."""
    if execution is None or allowed(who, Permission.TOOLS_APPROVE):
        return
    if execution.approval is ApprovalRule.NEVER:
        raise _refused("execution.approval", "'never'")
    floor = least(execution.kind)
    if _ORDER.index(execution.side_effect) < _ORDER.index(floor):
        raise _refused("execution.side_effect", f"less than '{floor}' for the kind '{execution.kind}'")


def _refused(field: str, what: str) -> Forbidden:
    permission = Permission.TOOLS_APPROVE
    return Forbidden(
        f"{field}: {what} may be said with the permission '{permission}'.",
        details={"field": field, "permission": permission.value},
    )
