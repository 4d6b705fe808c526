"""Names of models."""

from __future__ import annotations

import pytest

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.model_name import check, key_of, normalise, split, with_tag


@pytest.mark.parametrize(
    ("name", "parts", "full", "key"),
    [
        ("llama3", ("llama3", ""), "llama3:latest", "llama3"),
        ("llama3:latest", ("llama3", "latest"), "llama3:latest", "llama3"),
        ("llama3:8b", ("llama3", "8b"), "llama3:8b", "llama3:8b"),
        ("hf.co/a/B:Q4_K_M", ("hf.co/a/B", "Q4_K_M"), "hf.co/a/B:Q4_K_M", "hf.co/a/B:Q4_K_M"),
        ("host:5000/a/b", ("host:5000/a/b", ""), "host:5000/a/b:latest", "host:5000/a/b"),
        ("host:5000/a/b:latest", ("host:5000/a/b", "latest"), "host:5000/a/b:latest", "host:5000/a/b"),
    ],
)
def test_parts_of_a_name(name: str, parts: tuple[str, str], full: str, key: str) -> None:
    assert split(name) == parts
    assert with_tag(name) == full
    assert key_of(name) == key


@pytest.mark.parametrize(
    "name", ["llama3", "Qwen/Qwen2.5-7B-Instruct", "gpt-4o", "a+b~c (x)", "@cf/meta/llama", "m" * 256]
)
def test_names_in_use_are_good(name: str) -> None:
    assert check(f" {name}\n") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "a\nb",
        "a\x00b",
        "../etc/passwd",
        "a/../b",
        "a//b",
        "/a",
        "a/",
        ".",
        "<script>",
        "a|b",
        "a,b",
        "m" * 257,
    ],
)
def test_what_can_be_no_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        check(name)


def test_the_stored_form() -> None:
    assert normalise(" Llama3 / X ") == "llama3/x"
    with pytest.raises(InvalidRequest):
        normalise(" / ")
