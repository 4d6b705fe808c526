"""What holds for every command, and the commands that need no service."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cli_command import COMMAND, CommandLine, environment, terminal
from cyclopts import App

from orchestrator import __version__
from orchestrator.entrypoints.cli import application
from orchestrator.testing.model_server import ModelServer


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CommandLine:
    """In an empty folder, where no configuration lies about."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ORCHESTRATOR_URL", raising=False)
    return CommandLine(capsys)


def commands(parent: App, way: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that does something."""
    for name in parent:
        if name.startswith("-"):
            continue
        child = parent[name]
        if child.default_command is None:
            yield from commands(child, (*way, name))
        else:
            yield (*way, name)


EVERY = list(commands(application()))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Every command


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_help_begins_with_examples_and_every_command_knows_json(command: CommandLine, words: tuple[str, ...]) -> None:
    text = command.run(*words, "--help").out
    assert "--json" in text
    assert f"orchestrator {' '.join(words)}" in text
    frames = [text.index(title) for title in ("Arguments ─", "Parameters ─", "Common options ─") if title in text]
    assert 0 < text.index("xample") < min(frames)
    assert "Exit status: 0 done" in text


def test_a_misspelled_command_is_guessed(command: CommandLine) -> None:
    result = command.run("nodse")
    assert result.status == 2
    assert result.out == ""
    assert 'Did you mean "nodes"?' in result.err
    assert "See `orchestrator --help`." in result.err


@pytest.mark.parametrize("noun", ["nodes", "models", "queue", "breakers", "bans", "keys"])
def test_a_noun_alone_is_asked_for_its_list(command: CommandLine, noun: str) -> None:
    result = command.run(noun, "--json", "--url", f"http://127.0.0.1:{free_port()}")
    assert result.status == 3
    assert json.loads(result.out)["code"] == "service_unreachable"
    assert "Commands" in command.run(noun, "--help").out


def test_a_misspelled_word_of_a_command_is_guessed(command: CommandLine) -> None:
    result = command.run("nodes", "lst")
    assert result.status == 2
    assert 'Did you mean "list"?' in result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("nodes", "add", "a"),
        ("status", "--wrong"),
        ("queue", "show", "--limit", "-1"),
        ("breakers", "open", "a", "--for", "soon"),
        ("tasks", "list", "-"),
        ("tasks", "submit", "resize", "--wtach"),
        ("tasks", "submit", "resize", "--many", "--watch"),
    ],
)
def test_mistakes_are_json_where_json_was_asked_for(command: CommandLine, arguments: tuple[str, ...]) -> None:
    result = command.run(*arguments, "--json")
    assert result.status == 2
    assert result.json["code"] == "usage"
    assert result.json["error"]
    assert result.err == ""


@pytest.mark.parametrize(
    "words", [("status",), ("nodes", "list"), ("chat", "m", "hello"), ("config", "show", "--live")]
)
def test_nothing_listens(command: CommandLine, words: tuple[str, ...]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    plain = command.run(*words, "--url", url)
    assert plain.status == 3
    assert plain.out == ""
    assert f"Nothing answers at {url}" in plain.err
    assert "Is it running? Start it with `orchestrator start`" in plain.err
    assert command.run(*words, "--url", url, "--json").json["code"] == "service_unreachable"


@pytest.mark.parametrize("text", ['{"width": NaN}', "[-Infinity]", "1e999", "[" * 100_000, '"\\ud800"', "9" * 5000])
@pytest.mark.parametrize(
    "words",
    [
        ("tasks", "submit", "resize", "{}"),
        ("schedules", "create", "s1", '{{"task_type":"r","input_data":{}}}', "--interval", "10m"),
        ("tools", "call", "t", "--arg-json", "a={}"),
    ],
    ids=lambda words: words[0],
)
def test_what_json_cannot_say(command: CommandLine, words: tuple[str, ...], text: str) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = command.run(*(word.format(text) for word in words), "--json", "--url", url)
    assert (result.status, result.json["code"], result.err) == (2, "usage", ""), result.out[:300]


@pytest.mark.parametrize("name", ["", " ", ".", ".."])
@pytest.mark.parametrize(
    "words",
    [
        ("tasks", "get"),
        ("tasks", "cancel", "a"),
        ("tasks", "watch"),
        ("nodes", "get"),
        ("models", "status"),
        ("requests", "get"),
        ("webhooks", "replay", "a"),
        ("artifacts", "delete", "--yes"),
        ("tools", "show"),
    ],
    ids=" ".join,
)
def test_an_id_that_makes_another_path(command: CommandLine, words: tuple[str, ...], name: str) -> None:
    """Before anything is sent: nothing listens there."""
    url = f"http://127.0.0.1:{free_port()}"
    result = command.run(*words, name, "--json", "--url", url)
    assert (result.status, result.json) == (2, {"error": f"'{name}' is no id or name.", "code": "usage"})


@pytest.mark.parametrize("url", ["127.0.0.1:9000", "ftp://host", "http://", "http://[::1"])
def test_a_url_that_is_none(command: CommandLine, url: str) -> None:
    result = command.run("status", "--url", url)
    assert result.status == 2
    assert "--url:" in result.err


async def test_something_else_listens(command: CommandLine) -> None:
    async with ModelServer(["llama3"]) as server:
        result = await command("queue", "show", "--url", server.url)
    assert result.status == 1
    assert "404" in result.err or "not an orchestrator" in result.err


def test_a_key_file_that_cannot_be_read(command: CommandLine, tmp_path: Path) -> None:
    assert "cannot be read: No such file" in command.run("status", "--api-key-file", "nowhere").err
    empty = tmp_path / "empty"
    empty.touch()
    result = command.run("status", "--api-key-file", str(empty))
    assert result.status == 2
    assert "is empty" in result.err


def test_a_reader_that_leaves_is_no_failure(tmp_path: Path) -> None:
    reader = subprocess.run(
        f"{' '.join(COMMAND)} config schema | head -c 10; exit ${{PIPESTATUS[0]}}",
        shell=True, executable=shutil.which("bash"), capture_output=True, text=True, check=False,
        cwd=tmp_path, env=environment(),
    )  # fmt: skip
    assert (reader.returncode, reader.stderr) == (0, "")


@pytest.mark.parametrize("words", ["--help", "config schema", "nodse --json"])
def test_a_reader_that_has_left_before(tmp_path: Path, words: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*COMMAND, *words.split()], stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
            cwd=tmp_path, env=environment(),
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="another system: it has no /dev/full")
@pytest.mark.parametrize("words", ["--help", "config schema", "version --json", "nodse --json"])
def test_output_that_cannot_be_written(tmp_path: Path, words: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *words.split()], stdout=full, stderr=subprocess.PIPE, text=True, check=False,
            cwd=tmp_path, env=environment(),
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "error: The output cannot be written: No space left on device\n")


async def test_a_terminal_gets_colour_unless_it_does_not_want_it() -> None:
    async with terminal("nodse") as screen:
        assert await screen.end() == 2
        assert "\x1b[1;31merror:" in screen.text
    async with terminal("nodse", environ=environment(NO_COLOR="1")) as screen:
        assert await screen.end() == 2
        assert "\x1b[" not in screen.text.replace("\x1b[1m", "").replace("\x1b[0m", "")


# version, completion


def test_version(command: CommandLine) -> None:
    assert command.run("version").out.startswith(f"orchestrator {__version__} ")
    assert command.run("--version").out.strip() == __version__
    assert command.run("version", "--json").json["version"] == __version__


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_that_its_shell_takes(command: CommandLine, shell: str, tmp_path: Path) -> None:
    script = command.run("completion", "show", shell).out
    assert "breakers" in script
    file = tmp_path / "script"
    installed = command.run("completion", "install", shell, "--path", str(file), "--no-startup", "--json")
    assert installed.json == {"shell": shell, "path": str(file)}
    assert file.read_text().strip() == script.strip()
    if program := shutil.which(shell):
        subprocess.run([program, "-n", str(file)], check=True)


def test_bash_completes_words(command: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "script"
    file.write_text(command.run("completion", "show", "bash").out)
    program = (
        f"source {file}; COMP_WORDS=(orchestrator nodes dr); COMP_CWORD=2; COMP_LINE='orchestrator nodes dr'; "
        "COMP_POINT=${#COMP_LINE}; $(complete -p orchestrator | sed -E 's/.*-F ([^ ]+).*/\\1/') orchestrator dr nodes; "
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.split() == ["drain"]


# config


def test_config_show_tells_where_everything_comes_from(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "orchestrator.yaml").write_text(
        "queue:\n  max_size: 7\ndatabase:\n  url: postgresql://me:hidden@host/name\n"
    )
    monkeypatch.setenv("ORCHESTRATOR_GATEWAY__POLICY", "random")
    shown = command.run("config", "show", "--origin")
    rows = {row["key"]: row for row in shown.rows}
    assert rows["queue.max_size"] == {
        "key": "queue.max_size", "value": "7", "origin": "file", "where": "orchestrator.yaml:2",
    }  # fmt: skip
    assert rows["gateway.policy"]["where"] == "ORCHESTRATOR_GATEWAY__POLICY"
    assert rows["server.port"]["origin"] == "default"
    assert "hidden" not in shown.out
    data = command.run("config", "show", "queue.max_size", "--origin", "--json").json
    assert data == {"queue.max_size": {"value": 7, "source": "file", "where": "orchestrator.yaml:2"}}
    whole = command.run("config", "show")
    assert yaml.safe_load(whole.out)["queue"]["max_size"] == 7
    assert command.run("config", "show", "--json").json["gateway"]["policy"] == "random"


def test_config_show_guesses_a_misspelled_section(command: CommandLine) -> None:
    result = command.run("config", "show", "quue")
    assert result.status == 2
    assert "did you mean 'queue'?" in result.err


def test_what_config_show_prints_is_a_valid_configuration(command: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "saved.yaml"
    file.write_text(command.run("config", "show").out)
    checked = command.run("config", "validate", str(file))
    assert checked.status == 0
    assert checked.out == ""
    assert "is valid" in checked.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("queue: {max_sise: 1}", "did you mean 'queue.max_size'?"),
        ("queue: [", "bad.yaml"),
        ("server: {host: 0.0.0.0}", "other machines can reach"),
    ],
)
def test_config_validate_refuses(command: CommandLine, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    result = command.run("config", "validate", "bad.yaml")
    assert result.status == 2
    assert said in result.err
    assert command.run("config", "validate", "bad.yaml", "--json").json["code"] == "configuration"


def test_config_schema_describes_the_file(command: CommandLine) -> None:
    schema = command.run("config", "schema").json
    assert "queue" in schema["properties"]


# doctor


def test_doctor_finds_a_healthy_place(command: CommandLine, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "orchestrator.yaml").write_text(f"server: {{port: {port}}}\ndiscovery: {{enabled: false}}\n")
    result = command.run("doctor", "--json")
    found = {one["check"]: one for one in result.json["checks"]}
    assert result.status == 0
    assert result.json["ok"] is True
    assert found["python"]["found"] == ".".join(map(str, sys.version_info[:3]))
    assert found[f"port {port}"]["verdict"] == "OK"
    assert found["nodes"]["verdict"] == "WARN"
    assert "demo nodes" in found["nodes"]["found"]
    assert not (tmp_path / "data").exists()


async def test_doctor_fails_where_the_service_would(command: CommandLine, tmp_path: Path) -> None:
    away = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        settings = {
            "server": {"port": port},
            "nodes": [{"id": "away", "url": f"http://127.0.0.1:{away}"}],
            "database": {"url": "postgresql://nobody@127.0.0.1:1/none"},
            "models": {"embedded": ["nowhere.gguf"]},
        }
        (tmp_path / "orchestrator.yaml").write_text(json.dumps(settings))
        result = await command("doctor")
    rows = {row["check"]: row for row in result.rows}
    assert result.status == 1
    for check in (f"port {port}", "node away", "database", "embedded model"):
        assert rows[check][""] == "FAIL"
        assert rows[check]["what to do"]
    (tmp_path / "orchestrator.yaml").write_text("wrong: 1")
    assert "unknown key 'wrong'" in (await command("doctor")).out


def test_doctor_does_not_touch_the_database(command: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    file.write_text("not a database, certainly not one")
    (tmp_path / "orchestrator.yaml").write_text(f"database: {{url: 'sqlite:///{file}'}}\n")
    before = file.stat().st_mtime_ns
    rows = {row["check"]: row for row in command.run("doctor").rows}
    assert rows["database"][""] == "FAIL"
    assert "not a SQLite database" in rows["database"]["found"]
    assert file.stat().st_mtime_ns == before
