"""Configuration files that are broken or mean harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.domain.errors import ConfigurationError
from orchestrator.settings import load

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


def refusal(tmp_path: Path, text: str | bytes, name: str = "orchestrator.yaml") -> str:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as caught:
        load(path, {})
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server:\n  port: 1\n  port: 2\n", "orchestrator.yaml:3: the key 'port' stands here twice"),
        ("server: {}\nqueue: {}\nserver: {}\n", "orchestrator.yaml:3: the key 'server' stands here twice"),
        (BOMB, "values once aliases are expanded"),
        ("a: &a [*a]\n", "once aliases are expanded"),
        ("a: &a {<<: *a}\n", "once aliases are expanded"),
        ("[" * 100_000, "nested deeper than 32 levels"),
        ("- " * 50_000, "nested deeper than 32 levels"),
        ("a: *nothing\n", "orchestrator.yaml:1: not valid YAML: found undefined alias"),
        ("a: 1\n---\nb: 2\n", "more than one document"),
        ("a: [1\n", "not valid YAML"),
        ("server: !!python/object/apply:os.system [id]\n", "server: must be a mapping"),
        ("a: !!python/name:os.system x\n", "orchestrator.yaml:1: not valid YAML: could not determine a constructor"),
        ("a: 2024-99-99\n", "orchestrator.yaml:1: not a valid value"),
        ("a: " + "9" * 5000 + "\n", "orchestrator.yaml:1: not a valid value"),
        ("on: 1\n", "the key on is not a text for YAML: put it in quotes"),
        ("? [a]\n: 1\n", "a key must be a plain text"),
        ("<<: 5\n", "'<<' takes a mapping"),
        ("- a\n", "must be a mapping of sections"),
        ("text", "must be a mapping of sections"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        ("a: \x00\n", "not valid YAML"),
        ("#" + "x" * 1024**2, "is larger than 1024 KiB"),
    ],
)
def test_yaml(tmp_path: Path, text: str | bytes, expected: str) -> None:
    assert expected in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[server]\nport = 1\nport = 2\n", "orchestrator.toml:3: not valid TOML: Cannot overwrite a value"),
        ("a = " + "[" * 50_000, "orchestrator.toml"),
        ("a =\n", "orchestrator.toml:1: not valid TOML"),
    ],
)
def test_toml(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refusal(tmp_path, text, "orchestrator.toml")


def test_other_formats_are_refused(tmp_path: Path) -> None:
    assert "must be a .yaml, .yml, .toml or .json file" in refusal(tmp_path, "a=1", "orchestrator.ini")


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text(
        "nodes:\n- &first {id: a, url: 'http://h:1', kind: openai, weight: 2}\n- {<<: *first, id: b, url: 'http://h:2'}\n"
    )
    nodes = load(path, {}).settings.nodes
    assert [(node.id, node.url, node.weight) for node in nodes] == [("a", "http://h:1", 2.0), ("b", "http://h:2", 2.0)]
