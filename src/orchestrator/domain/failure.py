"""Whose fault a failed attempt is: whether a breaker counts it, and whether another node may try.

A client's own error goes back to the client once: it neither counts nor fails over. Everything else is the node's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum

from orchestrator.domain.errors import (
    ConnectFailed,
    MalformedAnswer,
    Stalled,
    Truncated,
    UpstreamError,
    UpstreamStatus,
    UpstreamTimeout,
)


class FailureKind(StrEnum):
    """What went wrong, as metrics, traces and breakers name it."""

    CONNECT = "connect"
    TIMEOUT = "timeout"
    STATUS = "status"  # 5xx, 408, or a status that no answer to an inference call has
    RATE_LIMITED = "rate_limited"
    TRUNCATED = "truncated"
    STALLED = "stalled"
    SLOW_FIRST_TOKEN = "slow_first_token"  # noqa: S105 - not a password
    MALFORMED = "malformed"
    AUTH = "auth"  # the node refused the key that we hold for it
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Failure:
    """The verdict on one attempt. `retryable`: another node may succeed. `retry_after` is in seconds."""

    kind: FailureKind
    counts_for_breaker: bool
    retryable: bool
    retry_after: float | None = None
    reason: str = ""


MAX_REASON = 200
MAX_RETRY_AFTER = 86_400.0
_MAX_SNIPPET = 2_000

_KINDS: tuple[tuple[type[UpstreamError], FailureKind], ...] = (
    (ConnectFailed, FailureKind.CONNECT),
    (UpstreamTimeout, FailureKind.TIMEOUT),
    (Stalled, FailureKind.STALLED),
    (Truncated, FailureKind.TRUNCATED),
    (MalformedAnswer, FailureKind.MALFORMED),
)
# The model cannot do what was asked: no other node's copy of it can either.
_WRONG_MODEL = re.compile(
    r"does not support (?:generate|chat|completions?|embed\w*|tools?|thinking|vision|images?|insert)\b"
    r"|\b(?:image|audio) input is not supported"  # llama.cpp, with status 500
    r"|only supports? embeddings?|is an embedding model|unsupported model (?:format|type)",
    re.IGNORECASE,
)
_SECRET = re.compile(
    r"\b(?:sk|pk|rk|key|orc|hf|gsk|xai)[-_][\w*.-]{6,}|\bbearer\s+\S+|\beyJ[\w-]+\.[\w-]+\.[\w-]*", re.IGNORECASE
)
_MESSAGE = re.compile(r'"(?:message|error|detail)"\s*:\s*"((?:[^"\\]|\\.){1,400})"')
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+|\s{2,}")
_KEY_REFUSED = frozenset({401, 402, 403})


def classify(
    cause: UpstreamError | int,
    snippet: str = "",
    *,
    own_key: bool = False,
    retry_after: str | None = None,
    now: float = 0.0,
) -> Failure:
    """The verdict on an error of the upstream port, or on the status of a node's answer.

    The other arguments are those of `classify_status` and matter for a status only.
    """
    if isinstance(cause, int):
        return classify_status(cause, snippet, own_key=own_key, retry_after=retry_after, now=now)
    if isinstance(cause, UpstreamStatus):
        status = cause.details.get("status")
        if isinstance(status, int):
            verdict = classify_status(status, cause.message, own_key=own_key, now=now)
            return Failure(
                verdict.kind, verdict.counts_for_breaker, verdict.retryable, cause.retry_after, _clean(cause.message)
            )
    kind = next((kind for error, kind in _KINDS if isinstance(cause, error)), FailureKind.STATUS)
    return Failure(kind, True, True, cause.retry_after, _clean(cause.message))


def classify_status(
    status: int, snippet: str = "", *, own_key: bool = False, retry_after: str | None = None, now: float = 0.0
) -> Failure:
    """The verdict on an answer that is not 2xx.

    `snippet` is the start of its body. `own_key`: we hold a key for this node, so a 401, 402 or 403 concerns that key
    and not the client. `retry_after` is the header's text; its date form needs `now`, in seconds since
    the epoch.
    """
    text = snippet[:_MAX_SNIPPET]
    reason = _reason(status, text)
    wait = parse_retry_after(retry_after, now) if retry_after else None
    if status >= 400 and _WRONG_MODEL.search(text):
        return Failure(FailureKind.CLIENT, False, False, None, reason)
    if status == 429:
        return Failure(FailureKind.RATE_LIMITED, True, True, wait, reason)
    if own_key and status in _KEY_REFUSED:
        return Failure(FailureKind.AUTH, True, True, None, reason)
    if status >= 500 or status == 408:
        return Failure(FailureKind.STATUS, True, True, wait, reason)
    if status >= 400:
        return Failure(FailureKind.CLIENT, False, False, None, reason)
    return Failure(FailureKind.MALFORMED, True, True, None, reason)


def slow_first_token(seconds: float, limit: float) -> Failure:
    """The answer came, but its first token took too long: the breaker counts it, the client keeps its answer."""
    reason = f"first token after {seconds:.1f} s, limit {limit:.1f} s"
    return Failure(FailureKind.SLOW_FIRST_TOKEN, True, False, None, reason)


def parse_retry_after(value: str, now: float) -> float | None:
    """Seconds to wait, from either form of the header (RFC 9110, 10.2.3). None when it cannot be read."""
    text = value.strip()[:64]
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return None
    if seconds != seconds:  # float() reads "nan"
        return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _reason(status: int, text: str) -> str:
    """`HTTP 503: what the node said`, short and without anything that looks like a credential."""
    found = _MESSAGE.search(text)
    said = _clean(found.group(1) if found else text)
    return f"HTTP {status}: {said}"[:MAX_REASON] if said else f"HTTP {status}"


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub(" ", _SECRET.sub("***", text)).strip()[:MAX_REASON]
