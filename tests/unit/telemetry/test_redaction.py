"""Secrets never get through, whatever they stand in."""

from __future__ import annotations

import time

import pytest

from orchestrator.adapters.logging import Redactor

SECRET = "Zq8-secret_value.77"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"authorization=Basic {SECRET}",
        f"{{'authorization': 'Bearer {SECRET}'}}",
        f'{{"Authorization": "{SECRET} and a second word"}}',
        f"headers={{b'authorization': b'Bearer {SECRET}'}}",
        f"sent Bearer {SECRET} to the node",
        f"x-api-key: {SECRET}",
        f"GET /v1/models?apiKey={SECRET}&x=1",
        f'\\"api_key\\": \\"{SECRET}\\"',
        f"password='{SECRET}'",
        f"NodeSpec(api_key='{SECRET}')",
        f"postgresql://user:{SECRET}@db.example/orchestrator",
        f"http://user:{SECRET}@@node.example:11434/v1",
        f"client_secret={SECRET}; access_token={SECRET}",
        f"Set-Cookie={SECRET}",
    ],
)
def test_what_is_named_as_a_secret_is_masked(text: str) -> None:
    assert SECRET not in Redactor().text(text)


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdefghij0123456789",
        "hf_abcdefghijklmnop",
        "gsk_abcdefghijklmnop",
        "ghp_abcdefghijklmnop",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    ],
)
def test_what_looks_like_a_key_is_masked_anywhere(secret: str) -> None:
    shown = Redactor().text(f"the node said: {secret} is wrong")

    assert secret not in shown
    assert shown.startswith("the node said: ")
    assert shown.endswith(" is wrong")


def test_a_key_of_ours_keeps_its_visible_part() -> None:
    assert Redactor().text("orc_abcd1234_" + "x" * 32 + " used") == "orc_abcd1234_*** used"


def test_a_secret_that_was_told_is_masked_without_any_sign() -> None:
    redactor = Redactor()

    assert redactor.hide("correct horse") == "correct horse"
    redactor.hide("correct horse battery")

    assert redactor.text("it was correct horse battery, not correct horse") == "it was ***, not ***"


def test_ordinary_text_stays() -> None:
    for text in (
        "node a: 3 failures in a row: HTTP 500: injected fault",
        "http://127.0.0.1:11434/api/chat took 12 tokens, prompt_tokens=5 max_tokens: 7",
        "the key of the map; a token of thanks",
        "sk-8 is a bus line",
    ):
        assert Redactor().text(text) == text


def test_fields_by_name_and_by_content() -> None:
    fields = {
        "api_key": SECRET,
        "node": {"headers": {"Authorization": SECRET}, "url": f"http://u:{SECRET}@host"},
        "tried": [f"token={SECRET}", 3],
        "first_token": 0.25,
        "error": ValueError(f"password={SECRET}"),
    }

    shown = Redactor().fields(fields)

    assert SECRET not in repr(shown)
    assert shown["first_token"] == 0.25
    assert shown["tried"][1] == 3


@pytest.mark.parametrize(
    "hostile", ["a" * 200_000, "eyJ-" * 50_000, "a://b:" * 30_000, "bearer " * 30_000, "sk-" * 60_000]
)
def test_hostile_text_takes_no_time(hostile: str) -> None:
    began = time.process_time()

    Redactor().text(hostile)

    assert time.process_time() - began < 2
