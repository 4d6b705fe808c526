"""Tools and their calls as the service tells them. Times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from orchestrator_client.errors import ToolCallFailed


class CallState(StrEnum):
    PENDING_APPROVAL = "PENDING_APPROVAL"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


OPEN_STATES = frozenset({CallState.PENDING_APPROVAL, CallState.RUNNING})


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """A tool. `source` is registry, builtin, config or mcp; `kind` and `side_effect` are empty for one that is only
    described. `raw` is all that the service said."""

    tool_id: str
    name: str
    category: str = ""
    description: str | None = None
    version: str = ""
    status: str = ""
    source: str = ""
    kind: str = ""
    side_effect: str = ""
    input_schema: Mapping[str, Any] | None = None
    output_schema: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def callable(self) -> bool:
        return bool(self.kind) and self.status != "DISABLED"

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From the service's JSON."""
        execution = told.get("execution") or {}
        return cls(
            tool_id=told["tool_id"],
            name=told["name"],
            category=told.get("category", ""),
            description=told.get("description"),
            version=told.get("version", ""),
            status=told.get("status", ""),
            source=told.get("source", ""),
            kind=execution.get("kind", ""),
            side_effect=execution.get("side_effect", ""),
            input_schema=told.get("input_schema"),
            output_schema=told.get("output_schema"),
            tags=tuple(told.get("tags", ())),
            raw=told,
        )


@dataclass(frozen=True, slots=True)
class SearchHit:
    """Something that was found. `kind` is tool or artifact; `thing` is what the service tells of it."""

    kind: str
    id: str
    name: str
    score: float
    thing: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From the service's JSON."""
        return cls(told["kind"], told["id"], told["name"], told["score"], told.get(told["kind"]) or {})


@dataclass(frozen=True, slots=True)
class ToolError:
    """Why a call failed. `problems` has `path`, `message` and `schema_path` of each violation of a schema."""

    code: str
    message: str
    problems: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call now. `artifacts` are ids of files that it made, `cost` is in US dollars. `raw` is all that the service
    said."""

    call_id: str
    tool_id: str
    tool: str
    state: CallState
    result: Any = None
    error: ToolError | None = None
    artifacts: tuple[str, ...] = ()
    cost: float = 0.0
    attempts: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    principal: str = ""
    created_at: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    expires_at: float | None = None
    decision: Mapping[str, Any] | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def finished(self) -> bool:
        return self.state not in OPEN_STATES

    @property
    def ok(self) -> bool:
        return self.state is CallState.SUCCEEDED

    @property
    def needs_approval(self) -> bool:
        """Whether it waits until a person agrees."""
        return self.state is CallState.PENDING_APPROVAL

    def value(self) -> Any:
        """The result. Raises ToolCallFailed unless the call succeeded."""
        if self.ok:
            return self.result
        if self.error is not None:
            raise ToolCallFailed(self.error.message, self.error.code, self.error.problems, self.call_id)
        raise ToolCallFailed(f"Call {self.call_id} is {self.state}.", self.state.lower(), (), self.call_id)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """From the service's JSON."""
        error = told.get("error")
        return cls(
            call_id=told["call_id"],
            tool_id=told["tool_id"],
            tool=told["tool"],
            state=CallState(told["state"]),
            result=told.get("result"),
            error=ToolError(error["code"], error["message"], tuple(error["problems"])) if error else None,
            artifacts=tuple(told.get("artifacts", ())),
            cost=told.get("cost", 0.0),
            attempts=told.get("attempts", 0),
            arguments=told.get("arguments", {}),
            principal=told.get("principal", ""),
            created_at=told.get("created_at", 0.0),
            started_at=told.get("started_at"),
            ended_at=told.get("ended_at"),
            expires_at=told.get("expires_at"),
            decision=told.get("decision"),
            raw=told,
        )
