"""Which tasks every ledger can keep, so that memory, SQLite and PostgreSQL keep and refuse the same ones."""

from __future__ import annotations

from functools import lru_cache
from math import isfinite
from typing import Final

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.storable import INTEGER_LIMIT, KEY_LIMIT, is_key, is_text
from orchestrator.domain.task.requirements import TaskClass
from orchestrator.domain.task.state import FINISHED
from orchestrator.domain.task.task import LOWEST, MAX_RESULT, Task, TaskSpec

SMALL: Final = 1 << 40
_NUMBERS = "a number is not finite or does not fit 64 bits"
_TEXT = "text holds a NUL character, an unpaired surrogate or bytes that are not UTF-8"


def check_spec(spec: TaskSpec) -> None:
    """Raises `InvalidRequest` when a database would refuse or alter what was submitted."""
    _check_class(spec.of)
    names = f"{spec.id}{spec.of.type}{spec.principal}{spec.idempotency_key}"
    if len(names) > KEY_LIMIT or not _is_plain(names):
        _keys(spec.id, spec.type, spec.principal, spec.idempotency_key)
    if spec.callback_url or spec.dependencies:
        _texts(spec.callback_url, *spec.dependencies)
    _document(spec.input)
    _document(spec.metadata)
    _document(spec.requirements)
    if not 1 <= spec.priority <= LOWEST:
        raise InvalidRequest(f"priority is from 1 to {LOWEST}")
    backoff = spec.backoff
    total = spec.created_at + spec.timeout + backoff.base + backoff.most + _or_zero(spec.deadline)
    if not _is_finite(total + _or_zero(spec.not_before)):
        _finite(spec.created_at, spec.timeout, backoff.base, backoff.most, spec.deadline, spec.not_before)
    if not (_is_small(spec.seq) and _is_small(spec.max_retries)):
        _whole(spec.seq, spec.max_retries)


@lru_cache(10_000)
def _check_class(of: TaskClass) -> None:
    """Tasks have few classes: each is looked at once."""
    wanted = of.requirements
    _texts(*wanted.capabilities, *wanted.preferred_nodes, *wanted.exclude_nodes)
    for name, value in wanted.labels:
        _texts(name, value)
    _finite(wanted.min_cpu, wanted.min_memory, wanted.max_load)


def check_progress(task: Task) -> None:
    """Raises `InvalidRequest` when a database would refuse or alter what became of the task."""
    names = f"{task.spec.id}{task.node}{task.owner}"
    if len(names) > KEY_LIMIT or not _is_plain(names):
        _keys(task.spec.id, task.node, task.owner)
    if task.error or task.note or task.agent or task.waiting_for:
        _texts(task.error, task.note, task.agent, *task.waiting_for)
    total = _or_zero(task.wake_at) + _or_zero(task.assigned_at) + _or_zero(task.started_at)
    if not _is_finite(total + _or_zero(task.finished_at) + _or_zero(task.progress)):
        _finite(task.wake_at, task.assigned_at, task.started_at, task.finished_at, task.progress)
    if not (
        _is_small(task.version) and _is_small(task.attempt) and _is_small(task.retries) and _is_small(task.replays)
    ):
        _whole(task.version, task.attempt, task.retries, task.replays)
    if task.state in FINISHED:
        if task.finished_at is None:
            raise InvalidRequest("a finished task has no time at which it finished")
    elif task.finished_at is not None or task.result is not None or task.performance is not None:
        raise InvalidRequest("a task that has not finished has a result")
    if task.result is not None:
        _result(task.result)
    if task.performance is not None:
        _result(task.performance)


def _result(document: bytes) -> None:
    if len(document) > MAX_RESULT:
        raise InvalidRequest(f"a result is over {MAX_RESULT} bytes")
    _document(document)


def _keys(*keys: str) -> None:
    for key in keys:
        if not is_key(key):
            raise InvalidRequest(f"a name is over {KEY_LIMIT} characters or not plain text")


def _texts(*texts: str) -> None:
    if _is_plain("".join(texts)):
        return
    for text in texts:
        if text and not is_text(text):
            raise InvalidRequest(_TEXT)


def _is_plain(text: str) -> bool:
    """Whether a look tells that every part of the text can be held; most texts are of this kind."""
    return text.isascii() and "\0" not in text


def _document(document: bytes) -> None:
    if not document.isascii():
        try:
            document.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(_TEXT) from error
    if b"\0" in document:
        raise InvalidRequest(_TEXT)


def _finite(*numbers: float | None) -> None:
    for number in numbers:
        if number is not None and not isfinite(number):
            raise InvalidRequest(_NUMBERS)


def _or_zero(number: float | None) -> float:
    """For sums that tell at once whether one of many is not finite; nearly all are."""
    return 0.0 if number is None else number


def _is_finite(number: float) -> bool:
    """`isfinite` without a call: the difference is NaN where it is not."""
    return number - number == 0.0


def _is_small(number: int) -> bool:
    """Whether a look tells that it fits; nearly all do."""
    return 0 <= number < SMALL


def _whole(*numbers: int) -> None:
    for number in numbers:
        if not -INTEGER_LIMIT <= number < INTEGER_LIMIT:
            raise InvalidRequest(_NUMBERS)
