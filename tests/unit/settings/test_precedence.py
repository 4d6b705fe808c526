"""Defaults < file < environment < flags < database, and who set what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.domain.errors import ConfigurationError
from orchestrator.settings import NO_FILE, Origin, Settings, keys, load


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "orchestrator.yaml"
    path.write_text("server:\n  port: 1001\n  host: 127.0.0.2\n\nqueue:\n  max_size: 11\n  timeout: 2m\n")
    return path


def test_defaults_alone() -> None:
    loaded = load(NO_FILE, {})
    assert loaded.settings == Settings()
    assert set(loaded.origins) == set(keys())
    assert set(loaded.origins.values()) == {Origin("default")}
    assert loaded.warnings == []
    assert loaded.file is None


def test_each_layer_wins_over_the_one_below(config: Path) -> None:
    environ = {"ORCHESTRATOR_SERVER__PORT": "1002", "ORCHESTRATOR_QUEUE__MAX_SIZE": "12"}
    loaded = load(config, environ, {"queue.max_size": 13, "queue.timeout": None})
    settings = loaded.settings
    assert settings.server.host == "127.0.0.2"
    assert settings.server.port == 1002
    assert settings.queue.max_size == 13
    assert settings.queue.timeout == 120.0
    assert settings.retry == Settings().retry
    origins = loaded.origins
    assert origins["server.host"] == Origin("file", f"{config}:3")
    assert origins["server.port"] == Origin("env", "ORCHESTRATOR_SERVER__PORT")
    assert origins["queue.max_size"] == Origin("flag", "command line")
    assert origins["queue.timeout"] == Origin("file", f"{config}:7")
    assert origins["retry.max_attempts"] == Origin("default")


def test_the_database_wins_over_all(config: Path) -> None:
    loaded = load(config, {}, {"queue.max_size": 13}).override({"queue": {"max_size": 14}}, where="admin")
    assert loaded.settings.queue.max_size == 14
    assert loaded.settings.server.port == 1001
    assert loaded.origins["queue.max_size"] == Origin("database", "admin")
    assert loaded.origins["server.port"].source == "file"


def test_toml_has_lines_too(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.toml"
    path.write_text(
        'data_dir = "here"\n[server]\nport = 1001\n[[nodes]]\nid = "a"\nurl = "http://h:1"\n'
        '[[nodes]]\nid = "b"\nurl = "http://h:2/"\n[models.aliases]\nfast = "llama3"\n'
    )
    loaded = load(path, {})
    assert loaded.settings.data_dir == Path("here")
    assert [(node.id, node.url) for node in loaded.settings.nodes] == [("a", "http://h:1"), ("b", "http://h:2")]
    assert loaded.settings.models.aliases == {"fast": ("llama3",)}
    assert loaded.origins["server.port"].where == f"{path}:3"
    assert loaded.origins["nodes"].where == f"{path}:4"
    assert loaded.origins["models.aliases"].where == f"{path}:10"
    path.write_text('[[nodes]]\nid = "a"\nurl = "http://h:1"\n[[nodes]]\nid = "b"\nurl = "ftp://h:2/"\n')
    with pytest.raises(ConfigurationError, match=rf"{path}:6: nodes\[1\]\.url: must start with http"):
        load(path, {})


def test_json_is_a_file_format_too(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.json"
    path.write_text('{\n "queue": {\n  "max_size": 5}}')
    loaded = load(path, {})
    assert loaded.settings.queue.max_size == 5
    assert loaded.origins["queue.max_size"].where == f"{path}:3"


def test_free_mappings_merge_and_lists_replace(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text("models: {aliases: {a: x, b: [y, z], c: w}}\nserver: {allowed_hosts: [one]}\n")
    environ = {
        "ORCHESTRATOR_MODELS__ALIASES": '{"a": "q", "c": null}',
        "ORCHESTRATOR_SERVER__ALLOWED_HOSTS": "two, three",
    }
    settings = load(path, environ).settings
    assert settings.models.aliases == {"a": ("q",), "b": ("y", "z")}
    assert settings.server.allowed_hosts == ("two", "three")


def test_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, named, xdg = tmp_path / "here", tmp_path / "named.toml", tmp_path / "xdg"
    here.mkdir()
    (xdg / "orchestrator").mkdir(parents=True)
    monkeypatch.chdir(here)
    named.write_text("server.port = 1\n")
    (xdg / "orchestrator" / "orchestrator.yml").write_text("server: {port: 3}\n")
    environ = {"XDG_CONFIG_HOME": str(xdg)}
    assert load(None, environ).settings.server.port == 3
    (here / "orchestrator.toml").write_text("server.port = 2\n")
    assert load(None, environ).settings.server.port == 2
    (here / "orchestrator.yaml").write_text("server: {port: 4}\n")
    loaded = load(None, environ)
    assert loaded.settings.server.port == 4
    assert loaded.warnings == ["orchestrator.toml is not read, because orchestrator.yaml is there"]
    assert load(None, environ | {"ORCHESTRATOR_CONFIG_FILE": str(named)}).settings.server.port == 1
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(None, {"ORCHESTRATOR_CONFIG_FILE": str(tmp_path / "missing.yaml")})


def test_sections_left_empty_in_a_file_keep_their_defaults(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text("server:\n#  port: 1\nqueue:\n")
    assert load(path, {}).settings == Settings()
    path.write_text("")
    assert load(path, {}).settings == Settings()


def test_a_wrong_section_is_not_hidden_by_a_higher_layer(tmp_path: Path) -> None:
    path = tmp_path / "orchestrator.yaml"
    path.write_text("server: 5\n")
    with pytest.raises(ConfigurationError, match=rf"{path}:1: server: must"):
        load(path, {"ORCHESTRATOR_SERVER__PORT": "7"})


def test_no_file_is_the_null_device() -> None:
    assert Path(os.devnull) == NO_FILE
