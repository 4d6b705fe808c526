"""The requests of tools, as `calls` has those of tasks."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator_client.calls import Call, Json, get, key, segment
from orchestrator_client.tool_models import SearchHit, ToolCall, ToolInfo


def new_key() -> str:
    return f"call_{uuid.uuid4().hex}"


def _call(answer: Json) -> ToolCall:
    return ToolCall.of(answer["call"])


def _listed(name: str) -> Any:
    def read(answer: Json) -> list[ToolCall]:
        return [ToolCall.of(one) for one in answer[name]]

    return read


def get_tools(filters: Mapping[str, Any], limit: int, skip: int) -> Call[list[ToolInfo]]:
    def read(answer: Json) -> list[ToolInfo]:
        return [ToolInfo.of(one) for one in answer["tools"]]

    return get("/tools", read, **filters, limit=limit, skip=skip or None)


def search(q: str, kind: str | None, mode: str, limit: int) -> Call[list[SearchHit]]:
    def read(answer: Json) -> list[SearchHit]:
        return [SearchHit.of(one) for one in answer["results"]]

    return get("/search", read, q=q, kind=kind, mode=mode, limit=limit)


def get_tool(name: str) -> Call[ToolInfo]:
    return get(f"/tools/{segment(name)}", lambda answer: ToolInfo.of(answer["tool"]))


def call_tool(
    name: str, arguments: Mapping[str, Any] | None, timeout: float | None, wait: float, idempotency_key: str
) -> Call[ToolCall]:
    """It always has an idempotency key: sent again, it is the same call. `wait`: seconds that the service may take."""
    body: Json = {"arguments": dict(arguments or {}), "wait": round(wait, 3), "idempotency_key": idempotency_key}
    if timeout is not None:
        body["timeout"] = timeout
    return Call("POST", f"/tools/{segment(name)}/call", ToolCall.of, body=body, again=True, patience=wait)


def validate_tool(name: str, arguments: Mapping[str, Any]) -> Call[list[Json]]:
    body = {"arguments": dict(arguments)}
    return Call("POST", f"/tools/{segment(name)}/validate", key("problems"), body=body, again=True)


def get_calls(filters: Mapping[str, Any], limit: int, skip: int) -> Call[list[ToolCall]]:
    return get("/tool-calls", _listed("calls"), **filters, limit=limit, skip=skip or None)


def get_call(call_id: str, wait: float = 0.0) -> Call[ToolCall]:
    """`wait`: the service answers when the call has ended, at the latest after so many seconds, at most 30."""
    found = get(f"/tool-calls/{segment(call_id)}", _call, wait=round(wait, 3) or None)
    return replace(found, patience=wait)


def cancel_call(call_id: str) -> Call[ToolCall]:
    return Call("POST", f"/tool-calls/{segment(call_id)}/cancel", _call)


def get_approvals(limit: int, skip: int) -> Call[list[ToolCall]]:
    return get("/approvals", _listed("approvals"), limit=limit, skip=skip or None)


def decide(call_id: str, what: str, reason: str, arguments: Mapping[str, Any] | None) -> Call[ToolCall]:
    body: Json = {"reason": reason} if reason else {}
    if arguments is not None:
        body["arguments"] = dict(arguments)
    return Call("POST", f"/approvals/{segment(call_id)}/{what}", _call, body=body)
