"""Asks a node to pull or create a model, and reads how it goes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from orchestrator.domain.errors import MalformedAnswer, Truncated, UpstreamTimeout
from orchestrator.domain.model_job import JobKind, ModelJob, Progress
from orchestrator.domain.storable import plain_text
from orchestrator.services.fleet.library import Library
from orchestrator.services.fleet.node import FleetNode

STALL_SECONDS = 120.0  # without a line; Ollama goes on where it was when it is asked again
LONGEST_LINE = 1 << 20
WORDS = 500  # characters of what a node says that are kept
_ELSEWHERE = re.compile(r"no space left|not enough (disk )?space|requires a newer version", re.IGNORECASE)
_FINAL = re.compile(
    r"does not exist|not found|unauthori[sz]ed|forbidden|denied|invalid|unsupported|is required",
    re.IGNORECASE,
)
_JSON = {"Content-Type": "application/json"}


class Refused(Exception):
    """The node will not do it. `elsewhere`: another node may."""

    def __init__(self, reason: str, *, elsewhere: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.elsewhere = elsewhere


class Broken(Exception):
    """The node could not do it this time; asked again it goes on where it was."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def run(library: Library, node: FleetNode, job: ModelJob) -> AsyncGenerator[Progress]:
    """Each thing that the node says, until it says that it is done. Raises Refused, Broken and UpstreamError."""
    path = "/api/create" if job.kind is JobKind.CREATE else "/api/pull"
    body = json.dumps({**job.request, "model": job.model, "stream": True}).encode()
    try:
        async with asyncio.timeout(STALL_SECONDS):
            status, _, content = await library.act(node, "POST", path, _JSON, body)
    except TimeoutError:
        raise UpstreamTimeout(f"'{node.id}' did not answer within {STALL_SECONDS:g} s.") from None
    done = False
    async with aclosing(_lines(content)) as lines:
        async for line in lines:
            told = _object(line)
            error = told.get("error")
            if status >= 300 or error is not None:
                raise _refusal(status, error if isinstance(error, str) else f"HTTP {status}")
            done = told.get("status") == "success"
            yield _progress(told)
    if status >= 300:
        raise _refusal(status, f"HTTP {status}")
    if not done:
        raise Truncated(f"'{node.id}' ended its answer before it was done.")


async def _lines(content: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    waiting = b""
    pieces = aiter(content)
    try:
        while True:
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    waiting += await anext(pieces)
            except StopAsyncIteration:
                break
            except TimeoutError:
                raise UpstreamTimeout(f"No progress within {STALL_SECONDS:g} s.") from None
            *whole, waiting = waiting.split(b"\n")
            for line in whole:
                if line.strip():
                    yield line
            if len(waiting) > LONGEST_LINE:
                raise MalformedAnswer("A progress line of the node is too long.")
        if waiting.strip():
            yield waiting
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


def _object(line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        raise MalformedAnswer("A progress line of the node is no JSON.") from None
    if not isinstance(told, dict):
        raise MalformedAnswer("A progress line of the node is no JSON object.")
    return told


def _progress(told: dict[str, Any]) -> Progress:
    return Progress(
        plain_text(str(told.get("status", "")), WORDS),
        plain_text(str(told.get("digest", "")), WORDS),
        _size(told.get("completed")),
        _size(told.get("total")),
    )


def _size(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**62 else 0


def _refusal(status: int, reason: str) -> Exception:
    reason = plain_text(reason, WORDS)
    if _ELSEWHERE.search(reason):
        return Refused(reason, elsewhere=True)
    if _FINAL.search(reason) or 400 <= status < 500:
        return Refused(reason)
    return Broken(reason)
