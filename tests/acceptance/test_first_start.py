"""A fresh clone, `make up`, and what the documents say to do next: every line is run as it is written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.settings import check_exposure, load
from service import free_port

ROOT = Path(__file__).resolve().parents[2]
# One worker makes the environment once; a cold package cache takes its time.
pytestmark = [pytest.mark.xdist_group("first_start"), pytest.mark.timeout(400)]


@dataclass(frozen=True)
class FirstStart:
    """A clone whose service runs. `said` is what `make up` printed."""

    folder: Path
    port: int
    said: str

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def run(self, command: str) -> str:
        """A command as a reader types it, in the clone, with its environment active."""
        path = f"{self.folder}/.venv/bin:{os.environ['PATH']}"
        done = shell(command, self.folder, {**os.environ, "PATH": path, "ORCHESTRATOR_URL": self.url})
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def here(self, text: str) -> str:
        """Text of a document, with this service's address and a model that it has."""
        text = text.replace("localhost:9000", f"localhost:{self.port}").replace("llama3.2", "demo")
        return re.sub(r"\bMODEL\b", "demo", text)


def shell(command: str, folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=False
    )


def clone(folder: Path) -> None:
    """The working tree as it would be committed now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=60,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstStart]:
    folder = tmp_path_factory.mktemp("clone")
    clone(folder)
    port = free_port()
    # Under `make test` this is a make inside a make, which would talk of entering folders.
    environ = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    # What runs on this machine's usual ports is not ours to talk to.
    up = shell(f"make up PORT={port} ARGS=--no-discover", folder, environ)
    try:
        assert up.returncode == 0, f"{up.stdout}\n{up.stderr}\n{shell('make logs', folder, environ).stdout}"
        yield FirstStart(folder, port, up.stdout)
    finally:
        down = shell("make down", folder, environ)
    assert (down.returncode, down.stdout.strip()) == (0, "Orchestrator stopped."), down.stdout + down.stderr


def commands(text: str) -> list[str]:
    """The curl commands of a text, continued lines joined."""
    return re.findall(r"^ *(curl .*)$", text.replace("\\\n", ""), re.MULTILINE)


def python_blocks(document: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def answered(output: str) -> str:
    """The text of a whole answer, in whichever dialect it came."""
    body = json.loads(output)
    if "choices" in body:
        return str(body["choices"][0]["message"]["content"])
    return str(body["content"][0]["text"] if "content" in body else body["message"]["content"])


def test_make_up_says_plainly_that_demo_nodes_answer(first_start: FirstStart) -> None:
    assert f"ready at {first_start.url}" in first_start.said
    assert "2 demo nodes answer canned text" in first_start.said


def test_the_lines_that_make_up_prints_work(first_start: FirstStart) -> None:
    lines = commands(first_start.said)
    assert [re.search(r"localhost:\d+(\S+)", line)[1] for line in lines] == [  # type: ignore[index]
        "/v1/chat/completions",
        "/v1/messages",
        "/api/chat",
    ]
    for line in lines:
        assert "demo node" in answered(first_start.run(line)), line


def test_the_lines_that_make_up_prints_stream(first_start: FirstStart) -> None:
    openai, anthropic, ollama = (
        re.sub(r"-d '\{(\"stream\": false, )?", '-d \'{"stream": true, ', line).replace('"stream": false, ', "")
        for line in commands(first_start.said)
    )
    events = first_start.run(openai).split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    assert len(events) > 10
    events = first_start.run(anthropic).split("\n\n")
    assert events[0].startswith("event: message_start\n")
    assert events[-2].startswith("event: message_stop\n")
    lines = [json.loads(line) for line in first_start.run(ollama).splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]


def test_the_lines_of_the_readme_work(first_start: FirstStart) -> None:
    lines = commands(first_start.here((ROOT / "README.md").read_text()))
    assert len(lines) == 3
    for line in lines:
        output = first_start.run(line)
        if "/api/chat" in line:  # nothing said of streaming: a stream
            text = "".join(json.loads(part)["message"]["content"] for part in output.splitlines())
        else:
            text = answered(output)
        assert "demo node" in text, line


def test_the_python_of_the_how_to_works(first_start: FirstStart) -> None:
    blocks = [first_start.here(block) for block in python_blocks("docs/how-to/connect-clients.md")]
    assert len(blocks) >= 3
    for block in blocks:
        done = subprocess.run(
            [sys.executable, "-c", block],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=first_start.folder,
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        assert "demo node" in done.stdout, block


def test_the_environment_variables_of_the_how_to_are_enough(first_start: FirstStart) -> None:
    table = (ROOT / "docs/how-to/connect-clients.md").read_text()
    names = dict(re.findall(r"`((?:OPENAI|ANTHROPIC|OLLAMA)_[A-Z_]+)=(\S+)`", first_start.here(table)))
    assert names.keys() == {"OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "OLLAMA_HOST"}
    program = """
import anthropic, ollama, openai
said = [{"role": "user", "content": "Hello"}]
print(openai.OpenAI().chat.completions.create(model="demo", messages=said).choices[0].message.content)
print(anthropic.Anthropic().messages.create(model="demo", max_tokens=64, messages=said).content[0].text)
print(ollama.chat("demo", messages=said).message.content)
"""
    environ = {**os.environ, **names, "OPENAI_API_KEY": "any", "ANTHROPIC_API_KEY": "any"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, env=environ
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("demo node") == 3


def test_the_command_line_sees_the_fleet(first_start: FirstStart) -> None:
    assert "demo-1" in first_start.run("orchestrator nodes list")
    assert "demo" in first_start.run("orchestrator models list")
    assert "demo node" in first_start.run("orchestrator chat demo Hello")


@pytest.mark.parametrize(
    "document",
    ["README.md", "docs/how-to/connect-clients.md", "docs/how-to/add-nodes.md", "docs/tutorial/first-fleet.md"],
)
def test_the_settings_in_the_documents_are_accepted(document: str, tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    assert blocks
    environ = {name: "a-key-of-some-length" for block in blocks for name in re.findall(r"env:(\w+)", block)}
    for number, block in enumerate(blocks):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block)
        loaded = load(file, {name: f"{value}-{name}" for name, value in environ.items()}, {})
        check_exposure(loaded.settings)
        assert loaded.warnings == []


def test_a_second_make_up_finds_the_first(first_start: FirstStart) -> None:
    said = first_start.run(f"make up PORT={first_start.port}")
    assert f"running already at {first_start.url}" in said
