"""Tasks on the wire to nodes, and what nodes answer (tasks contract 1.6)."""

from __future__ import annotations

import msgspec

from orchestrator.domain.storable import plain_text
from orchestrator.domain.task.task import MAX_RESULT, Task
from orchestrator.services.body_fault import UNREADABLE, beyond
from orchestrator.services.tasks.node_body import ReportBody, WireTask
from orchestrator.services.tasks.report import Report

ACCEPTED = frozenset({200, 201, 202})
BUSY = frozenset({429, 503})
MAX_TEXT = 4_000
NOT_A_NODE = 502
SHOWN = 200  # bytes of an answer that make no sense
_OTHERS = (b"[", b'"')  # how JSON begins that is no object and no plain word
_STRUCTURED = (b"{", b"<", *_OTHERS)


encode = msgspec.json.Encoder().encode
_report = msgspec.json.Decoder(ReportBody)


def wire(task: Task, result_url: str = "") -> WireTask:
    """The task as a node gets it. `result_url` is where it may send its report."""
    spec = task.spec
    return WireTask(
        spec.id,
        spec.type,
        spec.priority,
        msgspec.Raw(spec.requirements),
        msgspec.Raw(spec.input),
        spec.timeout,
        msgspec.Raw(spec.metadata),
        task.attempt,
        spec.deadline,
        result_url or None,
    )


def read_answer(status: int, body: bytes, seconds: float) -> Report | None:
    """What the answer to a delivery says; None: the node has taken the task and will report."""
    if status in BUSY:
        return Report(None, error=f"the node is busy (HTTP {status})", status=status, seconds=seconds)
    if status not in ACCEPTED:
        text = body[:300].decode("utf-8", "replace").strip()
        return Report(False, error=f"the node answered HTTP {status}: {text}", status=status, seconds=seconds)
    if not body.strip():
        return None  # accepted, and nothing is said
    try:
        told = _report.decode(body)
    except msgspec.ValidationError:
        # An old node's answer means accepted, whatever its fields are, or if it is a word.
        return _not_understood(status, body, "no object", seconds) if body.lstrip()[:1] in _OTHERS else None
    except UNREADABLE as error:
        why = beyond(error, body)
        if why:  # the next attempt would say the same
            return Report(False, error=f"the node's answer {why}", final=True, seconds=seconds)
        return _not_understood(status, body, "no JSON", seconds) if body.lstrip()[:1] in _STRUCTURED else None
    return as_report(told, seconds)


def _not_understood(status: int, body: bytes, what: str, seconds: float) -> Report:
    """Something else answers at the node's address, such as a login page: nobody has the task."""
    text = plain_text(body[:SHOWN].decode("utf-8", "replace").strip())
    return Report(
        False, error=f"the node answered HTTP {status} with {what}: {text}", status=NOT_A_NODE, seconds=seconds
    )


def as_report(told: ReportBody, seconds: float = 0.0) -> Report | None:
    """None where nothing is said about the end of the attempt."""
    seconds = told.execution_time if told.execution_time is not None and told.execution_time >= 0 else seconds
    if told.status == "released":
        return Report(None, seconds=seconds)
    if told.status in ("failed", "error", "timeout") or (told.success is False and (told.error or told.error_message)):
        error = told.error_message or _text(told.error) or "the node reported a failure"
        return Report(False, error=error[:MAX_TEXT], final=not told.retryable, seconds=seconds)
    result = bytes(told.result_data) or bytes(told.result)
    if told.status not in ("completed", "success") and not result:
        return None
    if not _is_text(result):
        return Report(False, error="the result is not UTF-8", final=True, seconds=seconds)
    performance = bytes(told.performance_metrics) or None
    if performance is not None and (len(performance) > MAX_RESULT or not _is_text(performance)):
        performance = None  # the result is worth more than what it cost
    return Report(True, result or b"null", agent=told.agent_id or "", performance=performance, seconds=seconds)


def _is_text(raw: bytes) -> bool:
    try:
        return "\0" not in raw.decode()
    except UnicodeDecodeError:
        return False


def _text(error: object) -> str:
    if isinstance(error, dict):
        error = error.get("message", error)
    return error if isinstance(error, str) else "" if error is None else str(error)
