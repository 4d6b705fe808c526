"""Whose fault a failed attempt is."""

from __future__ import annotations

import pytest

from orchestrator.domain.errors import (
    ConnectFailed,
    MalformedAnswer,
    Stalled,
    Truncated,
    UpstreamError,
    UpstreamStatus,
    UpstreamTimeout,
)
from orchestrator.domain.failure import FailureKind, classify, parse_retry_after, slow_first_token


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 406, 409, 410, 413, 415, 422, 451])
def test_a_clients_error_neither_counts_nor_fails_over(status: int) -> None:
    failure = classify(status, '{"error":"no"}')
    assert failure.kind is FailureKind.CLIENT
    assert not failure.counts_for_breaker
    assert not failure.retryable


@pytest.mark.parametrize("status", [408, 429, 500, 501, 502, 503, 504, 529])
def test_a_nodes_error_counts_and_fails_over(status: int) -> None:
    failure = classify(status)
    assert failure.kind is (FailureKind.RATE_LIMITED if status == 429 else FailureKind.STATUS)
    assert failure.counts_for_breaker
    assert failure.retryable
    assert failure.reason == f"HTTP {status}"


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refusal_of_our_own_key_is_the_nodes_fault(status: int) -> None:
    failure = classify(status, "denied", own_key=True)
    assert failure.kind is FailureKind.AUTH
    assert failure.counts_for_breaker
    assert failure.retryable
    assert classify(404, own_key=True).kind is FailureKind.CLIENT


@pytest.mark.parametrize("status", [301, 304])
def test_a_status_that_answers_nothing_is_malformed(status: int) -> None:
    assert classify(status).kind is FailureKind.MALFORMED
    assert classify(status).counts_for_breaker


@pytest.mark.parametrize(
    "said",
    [
        '{"error":"\\"nomic-embed-text\\" does not support generate"}',
        '{"error":"registry.ollama.ai/library/llama3:latest does not support tools"}',
        "this model only supports embeddings",
    ],
)
@pytest.mark.parametrize("status", [400, 500])
def test_what_the_model_cannot_do_is_the_clients_fault(said: str, status: int) -> None:
    failure = classify(status, said)
    assert failure.kind is FailureKind.CLIENT
    assert not failure.counts_for_breaker
    assert not failure.retryable


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectFailed("refused"), FailureKind.CONNECT),
        (UpstreamTimeout("late"), FailureKind.TIMEOUT),
        (Stalled("silent"), FailureKind.STALLED),
        (Truncated("cut"), FailureKind.TRUNCATED),
        (MalformedAnswer("noise"), FailureKind.MALFORMED),
        (UpstreamStatus("in band"), FailureKind.STATUS),
        (UpstreamError("other"), FailureKind.STATUS),
    ],
)
def test_errors_of_the_connection(error: UpstreamError, kind: FailureKind) -> None:
    failure = classify(error)
    assert failure.kind is kind
    assert failure.counts_for_breaker
    assert failure.retryable
    assert failure.reason == error.message


def test_an_error_that_carries_its_status_is_judged_by_it() -> None:
    error = UpstreamStatus("HTTP 429: slow down", retry_after=3.0, details={"status": 429})
    failure = classify(error)
    assert failure.kind is FailureKind.RATE_LIMITED
    assert failure.retry_after == 3.0
    assert failure.reason == "HTTP 429: slow down"


def test_a_slow_first_token_counts_but_the_answer_stays() -> None:
    failure = slow_first_token(12.34, 5)
    assert failure.kind is FailureKind.SLOW_FIRST_TOKEN
    assert failure.counts_for_breaker
    assert not failure.retryable
    assert "12.3 s" in failure.reason


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("-3", 0.0),
        ("99999999", 86_400.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 60.0),
        ("Wed, 21 Oct 2015 07:20:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        ("", None),
        ("Wed, 99 Foo 99999", None),
    ],
)
def test_retry_after_in_both_forms(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value, 1_445_412_420.0) == seconds


def test_the_reason_is_the_message_short_and_without_secrets() -> None:
    said = '{"error":{"message":"Incorrect API key provided: sk-proj-abcdef123456.\\u0007","type":"x"}}'
    reason = classify(401, said, own_key=True).reason
    assert reason.startswith("HTTP 401: Incorrect API key provided: ***")
    assert "abcdef" not in reason
    assert len(classify(500, "x" * 10_000).reason) == 200
    assert classify(500, "a\nb\x00c  d").reason == "HTTP 500: a b c d"
    assert "s3cret" not in classify(ConnectFailed("sent Authorization: Bearer s3cret")).reason
