"""The gateway's settings as plain numbers: read on every request, replaced as a whole when an operator changes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.domain.access import Role

# What a client says to the model, and not to us; lower-case. Credentials and cookies are never among them.
FORWARDED = (b"anthropic-version", b"anthropic-beta", b"openai-beta", b"traceparent", b"tracestate")


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds."""

    timeout: float = 300.0  # the whole request
    connect: float = 2.0
    first_byte: float = 120.0  # from sending to the first byte of the answer
    stall: float = 60.0  # the longest silence between two pieces of an answer
    max_attempts: int = 3
    longest_pause: float = 10.0  # a failed node is not waited for longer than this
    queue_enabled: bool = True
    queue_timeout: float = 300.0
    ollama_stream_default: bool = True
    continuation: bool = False
    max_continuations: int = 2
    slow_first_token: float | None = None  # a later first token counts as a failure
    keep_loading: bool = True  # a load goes on when the client whose request began it leaves
    answer_headers: bool = True  # X-Selected-Server on every answer
    policy_roles: frozenset[Role] = frozenset({Role.DEVELOPER, Role.ADMIN})  # who may name a placement policy
    fallbacks: Mapping[str, Sequence[str]] = field(default_factory=dict)  # models to take where one cannot be served
    forward_headers: tuple[bytes, ...] = FORWARDED
