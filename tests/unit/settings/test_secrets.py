"""Where secrets come from, and that they go nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.domain.errors import ConfigurationError
from orchestrator.settings import MASK, NO_FILE, Settings, apply, diff, dump, legacy_view, load

SECRET = "hunter2-hunter2"


@pytest.fixture
def settings() -> Settings:
    return apply(
        Settings(),
        {
            "auth.keys": [{"name": "a", "key": SECRET}],
            "nodes": [
                {"id": "a", "url": "http://h:1", "api_key": SECRET},
                {"id": "b", "url": "http://h:2", "api_key": "env:NODE_KEY"},
            ],
            "database.url": f"postgresql+asyncpg://user:{SECRET}@h/d?sslpassword={SECRET}",
            "tracing.headers": {"authorization": SECRET},
        },
    )


def test_secrets_are_nowhere_to_be_seen(settings: Settings) -> None:
    shown = json.dumps(dump(settings)) + repr(settings) + str(settings) + json.dumps(legacy_view(settings))
    shown += (
        repr([*diff(Settings(), settings)])
        + repr(load(NO_FILE, {"API_KEYS": SECRET}))
        + settings.model_dump_json(exclude={"database"})
    )
    assert SECRET not in shown
    assert dump(settings)["nodes"][1]["api_key"] == "env:NODE_KEY"
    assert dump(settings)["database"]["url"] == f"postgresql+asyncpg://user:{MASK}@h/d?sslpassword={MASK}"
    assert json.dumps(dump(settings, redact=False)).count(SECRET) == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"auth.keys": SECRET},
        {"auth.keys": [SECRET]},
        {"auth.keys": [{"name": "a", "key": [SECRET]}]},
        {"nodes": [{"id": "a", "url": f"http://u:{SECRET}@h"}]},
        {"database.url": f"mysql://u:{SECRET}@h"},
        {"tracing.headers": {"a": [SECRET]}},
        {"tracing.headers": SECRET},
        {"tracing.endpoint": f"http://u:{SECRET}@h"},
    ],
)
def test_errors_do_not_repeat_secrets(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        apply(Settings(), changes)
    error = caught.value
    assert "hunter2" not in f"{error} {error.details} {error.__cause__}"
    assert error.__suppress_context__ or error.__context__ is None or "hunter2" not in str(error.__context__)


def test_what_is_shown_can_be_sent_back(settings: Settings) -> None:
    assert apply(settings, dump(settings)) == settings
    nodes = dump(settings)["nodes"]
    changed = apply(settings, {"nodes": [nodes[1], {**nodes[0], "weight": 3.0}]})
    assert changed.nodes[1].api_key == settings.nodes[0].api_key
    assert changed.nodes[1].weight == 3.0
    with pytest.raises(ConfigurationError, match=r"nodes\[0\]\.api_key: is the mask of a secret"):
        apply(settings, {"nodes": [{"id": "new", "url": "http://h:3", "api_key": MASK}]})


def test_the_unmasked_dump_is_a_file_that_gives_the_same_settings(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    path.write_text(json.dumps(dump(settings, redact=False)))
    assert load(path, {}).settings == settings


def test_secrets_are_read_from_files_and_variables(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    path = tmp_path / "orchestrator.yaml"
    path.write_text(
        "auth:\n  keys:\n"
        f"  - {{name: a, key: '${{file:{secret}}}'}}\n"
        "  - {name: b, key: 'env:KEY_B'}\n"
        "  - {name: c, key: 'c-${env:KEY_B}'}\n"
        "nodes:\n- {id: a, url: 'http://h', api_key: 'env:KEY_B'}\n"
        "gateway: {forward_headers: ['$${x}']}\n"
    )
    environ = {"KEY_B": "key-b-key-b", "ORCHESTRATOR_DATABASE__URL_FILE": str(tmp_path / "url")}
    (tmp_path / "url").write_text(f"postgresql://u:{SECRET}@h/d\n")
    settings = load(path, environ).settings
    assert [key.key.get_secret_value() for key in settings.auth.keys] == [SECRET, "key-b-key-b", "c-key-b-key-b"]
    assert settings.nodes[0].api_key is not None
    assert settings.nodes[0].api_key.get_secret_value() == "env:KEY_B"
    assert settings.database.url == f"postgresql://u:{SECRET}@h/d"
    assert settings.gateway.forward_headers == ("${x}",)


def test_a_missing_secret_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text("auth:\n  keys:\n  - {name: a, key: '${file:/nonexistent}'}\n  - name: b\n    key: env:NOT_SET\n")
    with pytest.raises(ConfigurationError) as caught:
        load(path, {})
    assert f"{path}:3: auth.keys[0].key: the file '/nonexistent' cannot be read" in str(caught.value)
    assert f"{path}:5: auth.keys[1].key: the environment variable NOT_SET is not set" in str(caught.value)


def test_a_short_key_is_a_warning() -> None:
    loaded = load(NO_FILE, {"API_KEYS": f"short-key,{SECRET}-long"})
    assert loaded.warnings == ["the API key 'environment-developer-1' is shorter than 16 characters: it can be guessed"]


def test_changes_at_run_time_read_no_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    text = f"${{file:{secret}}}"
    assert apply(Settings(), {"tracing.service_name": text}).tracing.service_name == text
