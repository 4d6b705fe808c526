"""What the gateway remembers of one request: its attempts while it runs, one record when it is over. Never content."""

from __future__ import annotations

import msgspec


class Attempt(msgspec.Struct):
    """One try on one node. `started` and `ended` are monotonic seconds."""

    node_id: str
    model: str  # as the node names it
    dialect: str
    started: float
    phase: int = 1  # 1 first choice, 2 another node, 3 the same node again
    status: int = 0
    error: str = ""
    kind: str = ""  # the failure's kind, empty on success
    ended: float = 0.0
    overlooked: bool = False  # the node's breaker was open and the caller asked to bypass it


class RequestRecord(msgspec.Struct, frozen=True):
    """A finished request, as history and log keep it. Times in seconds; token counts 0 when unknown."""

    id: str
    at: float  # seconds since the epoch, when it arrived
    endpoint: str
    principal: str
    model: str
    node: str
    status: int
    stream: bool
    duration: float
    queue_wait: float
    ttft: float | None
    prompt_tokens: int
    completion_tokens: int
    estimated: bool  # completion_tokens was counted from chunks
    attempts: tuple[Attempt, ...]
    error: str  # the error's code, empty on success
    outcome: str  # ok, error, cancelled
    continuations: int = 0  # times that another node went on with a broken stream
    trace: str = ""  # the client's traceparent header
    chunks: int = 0  # of a stream, that reached the client; the durable history keeps them in sums only
