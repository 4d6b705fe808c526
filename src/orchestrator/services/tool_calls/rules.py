"""What the operator allows calls of tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.domain.tool import ApprovalRule, SideEffect


@dataclass(frozen=True, slots=True)
class CallRules:
    """Times in seconds. `timeout` is for an attempt where neither tool nor caller names one; none is longer than
    `max_timeout`. `concurrency` calls run in this process, others wait up to `patience` for a place."""

    timeout: float = 60.0
    max_timeout: float = 3600.0
    concurrency: int = 64
    patience: float = 10.0
    approval_expires: float = 86_400.0
    approvals: Mapping[SideEffect, ApprovalRule] = field(default_factory=dict)
    keep: float = 604_800.0  # finished calls
    max_pending: int = 10_000  # calls that wait for approval
