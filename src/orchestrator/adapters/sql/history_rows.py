"""Requests and decisions as rows, and back. Times are microseconds in a row."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.domain.storable import plain_text
from orchestrator.ports.history import Candidate, Decision
from orchestrator.ports.outline import outline, troubled
from orchestrator.ports.record import Attempt, RequestRecord

MICRO = 1_000_000
STREAM, ESTIMATED = 1, 2
SMALL, INTEGER = 2**15 - 1, 2**31 - 1  # a node may claim any number of tokens: a batch must not fail for it


def micros(seconds: float) -> int:
    return round(seconds * MICRO)


def request_hash(request_id: str) -> int:
    """What the index holds of an id: 32 bits, the id itself is compared as well."""
    return zlib.crc32(request_id.encode()) - 2**31


def request_names(record: RequestRecord) -> tuple[str, ...]:
    return record.node, record.model, record.endpoint, record.principal, record.error, record.outcome


def request_row(record: RequestRecord, numbers: Mapping[str, int]) -> dict[str, Any]:
    request_id = plain_text(record.id)
    trouble = troubled(record)
    attempts = msgspec.json.encode([msgspec.structs.astuple(attempt) for attempt in record.attempts]).decode()
    return {
        "at": micros(record.at),
        "duration": micros(record.duration),
        "queue_wait": micros(record.queue_wait),
        "ttft": None if record.ttft is None else micros(record.ttft),
        "request_hash": request_hash(request_id),
        "node": numbers[record.node],
        "model": numbers[record.model],
        "endpoint": numbers[record.endpoint],
        "principal": numbers[record.principal],
        "error": numbers[record.error],
        "outcome": numbers[record.outcome],
        "prompt_tokens": min(record.prompt_tokens, INTEGER),
        "completion_tokens": min(record.completion_tokens, INTEGER),
        "status": record.status,
        "tries": min(len(record.attempts), SMALL),
        "continuations": min(record.continuations, SMALL),
        "flags": (STREAM if record.stream else 0) | (ESTIMATED if record.estimated else 0),
        "trouble": int(trouble or record.outcome != "ok"),
        "request_id": request_id,
        "trace": plain_text(record.trace) or None,
        "attempts": attempts if trouble else None,
    }


def request_numbers(row: sa.Row[Any]) -> tuple[int, ...]:
    return row.node, row.model, row.endpoint, row.principal, row.error, row.outcome


def request_record(row: sa.Row[Any], texts: Mapping[int, str]) -> RequestRecord:
    record = RequestRecord(
        id=row.request_id,
        at=row.at / MICRO,
        endpoint=texts[row.endpoint],
        principal=texts[row.principal],
        model=texts[row.model],
        node=texts[row.node],
        status=row.status,
        stream=bool(row.flags & STREAM),
        duration=row.duration / MICRO,
        queue_wait=row.queue_wait / MICRO,
        ttft=None if row.ttft is None else row.ttft / MICRO,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        estimated=bool(row.flags & ESTIMATED),
        attempts=tuple(Attempt(*values) for values in msgspec.json.decode(row.attempts)) if row.attempts else (),
        error=texts[row.error],
        outcome=texts[row.outcome],
        continuations=row.continuations,
        trace=row.trace or "",
    )
    return outline(record)


def decision_names(decision: Decision) -> Iterator[str]:
    yield from (decision.node, decision.model, decision.policy, decision.reason)
    for candidate in decision.candidates:
        yield candidate.node
        yield candidate.reason
        yield from candidate.parts


class Ranked(msgspec.Struct):
    """Candidates in a row: [node, score, reason, value of each of the parts], as names' numbers. The parts' names stand
    once and not beside each value: a decision is a third as long."""

    parts: list[int]
    rows: list[list[Any]]


def decision_row(decision: Decision, numbers: Mapping[str, int]) -> dict[str, Any]:
    parts = list(dict.fromkeys(name for candidate in decision.candidates for name in candidate.parts))
    ranked = Ranked(
        [numbers[name] for name in parts],
        [
            [
                numbers[candidate.node],
                candidate.score,
                numbers[candidate.reason],
                *(map(candidate.parts.get, parts) if candidate.parts else ()),
            ]
            for candidate in decision.candidates
        ],
    )
    return {
        "at": micros(decision.at),
        "node": numbers[decision.node],
        "model": numbers[decision.model],
        "policy": numbers[decision.policy],
        "reason": numbers[decision.reason],
        "request_id": plain_text(decision.request_id),
        "candidates": msgspec.json.encode(ranked).decode(),
    }


Former = list[tuple[int, float | None, int, dict[str, float]]]  # as rows were before: the parts by name
_candidates = msgspec.json.Decoder(Ranked | Former)


def decisions_of(rows: Sequence[sa.Row[Any]]) -> tuple[list[Ranked | Former], set[int]]:
    """The candidates of each row, and the numbers of all names in the rows."""
    candidates: list[Ranked | Former] = [_candidates.decode(row.candidates) for row in rows]
    numbers = {number for row in rows for number in (row.node, row.model, row.policy, row.reason)}
    for ranked in candidates:
        if isinstance(ranked, Ranked):
            numbers.update(ranked.parts)
            for one in ranked.rows:
                numbers.add(one[0])
                numbers.add(one[2])
        else:
            numbers.update(number for node, _, reason, _ in ranked for number in (node, reason))
    return candidates, numbers


def read_decisions(
    rows: Sequence[sa.Row[Any]], candidates: Sequence[Ranked | Former], texts: Mapping[int, str]
) -> tuple[Decision, ...]:
    return tuple(_decision(row, ranked, texts) for row, ranked in zip(rows, candidates, strict=True))


def _decision(row: sa.Row[Any], ranked: Ranked | Former, texts: Mapping[int, str]) -> Decision:
    return Decision(
        at=row.at / MICRO,
        request_id=row.request_id,
        model=texts[row.model],
        node=texts[row.node],
        policy=texts[row.policy],
        reason=texts[row.reason],
        candidates=tuple(_read(ranked, texts)),
    )


def _read(ranked: Ranked | Former, texts: Mapping[int, str]) -> Iterator[Candidate]:
    if not isinstance(ranked, Ranked):
        for node, score, reason, parts in ranked:
            yield Candidate(texts[node], score, parts, texts[reason])
        return
    names = [texts[number] for number in ranked.parts]
    for row in ranked.rows:
        node, score, reason, *values = row
        parts = dict(zip(names, values, strict=False))
        if None in values:
            parts = {name: value for name, value in parts.items() if value is not None}
        yield Candidate(texts[node], score, parts, texts[reason])
