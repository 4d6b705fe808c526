"""Reads what a client submits. JSON that only nodes look at is kept as it came."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import msgspec

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.storable import KEY_LIMIT, is_text
from orchestrator.domain.task.requirements import MAX_LOAD, Requirements, TaskClass
from orchestrator.domain.task.task import LOWEST, PRIORITIES, Backoff, TaskSpec
from orchestrator.services.body_fault import UNREADABLE, unreadable, wrong
from orchestrator.services.tasks.callback_url import read_callback_url
from orchestrator.services.tasks.task_body import BackoffBody, BatchBody, RequirementsBody, TaskBody, TasksBody

MAX_BODY = 8 << 20  # bytes of one task
NOTHING = "No task data provided"
MAX_TIMEOUT = 30 * 86_400.0
MAX_RETRIES = 1_000
MAX_DEPENDENCIES = 1_000
MAX_PAUSE = 86_400.0
MAX_KNOWN = 1_000  # bytes of requirements that are remembered with what they mean
RESERVED = frozenset({"failed", "batch", "bulk", "types", "results"})  # words of the routes below /tasks
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:~-]{0,199}\Z")
T = TypeVar("T")
_NO_FIELDS = b"{}"
_LABELS = "requirements.labels"
_EMPTY = (_NO_FIELDS, b"null", b"")
_STANDARD = Backoff()


@dataclass(frozen=True, slots=True)
class TaskDefaults:
    """What counts for a task that says nothing itself; `timeout` in seconds."""

    timeout: float = 300.0
    max_retries: int = 3


DEFAULTS = TaskDefaults()
_task = msgspec.json.Decoder(TaskBody)
_batch = msgspec.json.Decoder(BatchBody)
_tasks = msgspec.json.Decoder(TasksBody)
_requirements = msgspec.json.Decoder(RequirementsBody)


def read_task(body: bytes | msgspec.Raw) -> TaskBody:
    """Raises InvalidRequest that names the field."""
    if len(body) < 10 and bytes(body).strip() in (b"", b"{}"):
        raise InvalidRequest(NOTHING)
    if len(body) > MAX_BODY:
        raise InvalidRequest(f"a task is at most {MAX_BODY >> 20} MiB")
    return _decoded(_task.decode, body)


def read_batch(body: bytes) -> list[TaskBody | InvalidRequest]:
    """Each task, or what is wrong with it. Raises InvalidRequest for what is no list of tasks."""
    if len(body) <= MAX_BODY:
        try:
            tasks = _tasks.decode(body).tasks
        except UNREADABLE:
            tasks = []  # what is wrong with one is found out one by one
        if tasks and all(task.task_type for task in tasks):
            return list(tasks)
    if body.strip() in (b"", b"{}"):
        raise InvalidRequest(NOTHING)
    return [_task_or_error(raw) for raw in _decoded(_batch.decode, body).tasks]


def _task_or_error(raw: msgspec.Raw) -> TaskBody | InvalidRequest:
    try:
        return read_task(raw)
    except InvalidRequest as error:
        return error


def spec_of(
    body: TaskBody,
    task_id: str,
    seq: int,
    now: float,
    principal: str,
    key: str = "",
    defaults: TaskDefaults = DEFAULTS,
) -> TaskSpec:
    """What was asked for. `task_id` is for a task that brought none, `key` an idempotency key from a header. Raises
    InvalidRequest that names the field."""
    if not body.task_type:
        raise InvalidRequest("task_type is required", details={"field": "task_type"})
    if body.task_id is not None:
        if not _ID.match(body.task_id) or body.task_id in RESERVED:
            raise wrong("task_id", "letters, digits and ._:~- only, at most 200, and no word of a route")
        task_id = body.task_id
    requirements = bytes(body.requirements) or _NO_FIELDS
    known = _known_class if len(requirements) <= MAX_KNOWN else _class
    of, requirements = known(body.task_type, requirements)
    return TaskSpec(
        id=task_id,
        seq=seq,
        of=of,
        created_at=now,
        priority=_priority(body.priority),
        input=bytes(body.input_data) or b"null",
        requirements=requirements,
        metadata=_mapping("metadata", body.metadata),
        timeout=_within("timeout", body.timeout, defaults.timeout, 0.001, MAX_TIMEOUT),
        max_retries=int(_within("max_retries", body.max_retries, defaults.max_retries, 0, MAX_RETRIES)),
        backoff=_backoff(body.backoff),
        deadline=_moment("deadline", body.deadline),
        not_before=_moment("not_before", body.not_before),
        callback_url=_url(body.callback_url),
        dependencies=_dependencies(body.dependencies, task_id),
        on_dependency_failure=body.on_dependency_failure,
        principal=principal,
        idempotency_key=_short("idempotency_key", body.idempotency_key or key),
    )


def same(there: TaskSpec, asked: TaskSpec, defaults: TaskDefaults = DEFAULTS) -> bool:
    """Whether a submission asks for what an earlier one did. What it leaves to the defaults, which may be others now,
    agrees with everything."""
    return (
        _asked(there) == _asked(asked)
        and asked.timeout in (there.timeout, defaults.timeout)
        and asked.max_retries in (there.max_retries, defaults.max_retries)
        and _same_json(there.input, asked.input)
        and _same_json(there.metadata, asked.metadata)
    )


def _asked(spec: TaskSpec) -> tuple[object, ...]:
    return (
        spec.of,
        spec.priority,
        spec.backoff,
        spec.deadline,
        spec.not_before,
        spec.callback_url,
        spec.dependencies,
        spec.on_dependency_failure,
    )


def _same_json(one: bytes, other: bytes) -> bool:
    """Whether they say the same, however it is written."""
    try:
        return one == other or _plainly(one) == _plainly(other)
    except (msgspec.MsgspecError, OverflowError, RecursionError, UnicodeError):
        return False


def _plainly(raw: bytes) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(raw), order="deterministic")


def _decoded(decode: Callable[[bytes], T], body: bytes | msgspec.Raw, inside: str = "") -> T:
    raw = bytes(body)
    try:
        return decode(raw)
    except UNREADABLE as error:
        raise unreadable(error, raw, inside) from None


def _class(task_type: str, requirements: bytes) -> tuple[TaskClass, bytes]:
    """The class, and what it was read from."""
    return TaskClass(_short("task_type", task_type), _read_requirements(requirements)), requirements


# Tasks have few classes: most need not be read again, and equal ones are one object.
_known_class = lru_cache(10_000)(_class)


def _read_requirements(raw: bytes) -> Requirements:
    if raw in (b"{}", b"null"):
        return Requirements()
    body = _decoded(_requirements.decode, raw, "requirements")
    return Requirements(
        frozenset(_short("requirements.capabilities", name) for name in body.capabilities),
        tuple(sorted((_short(_LABELS, name), _short(_LABELS, value)) for name, value in body.labels.items())),
        _within("requirements.min_cpu", body.min_cpu, 0.0, 0.0, 100.0),
        _within("requirements.min_memory", body.min_memory, 0.0, 0.0, 1e9),
        _within("requirements.max_load", body.max_load, MAX_LOAD, 0.0, 1.0),
        frozenset(body.preferred_nodes),
        frozenset(body.exclude_nodes),
    )


def _priority(given: int | str | None) -> int:
    if given is None:
        return PRIORITIES["normal"]
    if isinstance(given, str):
        named = PRIORITIES.get(given.lower())
        if named is not None:
            return named
    elif 1 <= given <= LOWEST:
        return given
    raise wrong("priority", f"1 to {LOWEST} or one of {', '.join(PRIORITIES)}, not {given!r}")


def _backoff(given: BackoffBody | None) -> Backoff:
    if given is None:
        return _STANDARD
    return Backoff(
        _within("backoff.base", given.base, _STANDARD.base, 0.0, MAX_PAUSE),
        _within("backoff.most", given.most, _STANDARD.most, 0.0, MAX_PAUSE),
    )


def _within(field: str, given: float | None, default: float, least: float, most: float) -> float:
    if given is None:
        return default
    if not least <= given <= most:  # NaN is not either
        raise wrong(field, f"from {least:g} to {most:g}, not {given:g}")
    return given


def _moment(field: str, given: float | None) -> float | None:
    if given is not None and not 0 <= given < 1e11:
        raise wrong(field, f"seconds since the epoch, not {given:g}")
    return given


def _url(given: str | None) -> str:
    if not given:
        return ""
    try:
        read_callback_url(given)
    except InvalidRequest as error:
        raise wrong("callback_url", error.message) from None
    return given


def _short(field: str, given: str) -> str:
    if len(given) > KEY_LIMIT or not is_text(given):
        raise wrong(field, f"plain text of at most {KEY_LIMIT} characters")
    return given


def _dependencies(given: list[str], task_id: str) -> tuple[str, ...]:
    if len(given) > MAX_DEPENDENCIES:
        raise wrong("dependencies", f"at most {MAX_DEPENDENCIES}")
    if task_id in given:
        raise wrong("dependencies", "a task cannot wait for itself")
    if not given:
        return ()
    if not all(map(is_text, given)):
        raise wrong("dependencies", "plain texts")
    return tuple(dict.fromkeys(given))


def _mapping(field: str, raw: msgspec.Raw) -> bytes:
    found = bytes(raw)
    if found in _EMPTY:
        return _NO_FIELDS
    if not found.lstrip().startswith(b"{"):
        raise wrong(field, "an object")
    return found
