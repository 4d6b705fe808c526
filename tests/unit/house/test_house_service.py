"""scripts/service.py: what `make up`, `make down` and `make logs` do, with a small server in the service's place."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

# Answers like the service as far as `up` asks: readiness (given a chance to say no first) and the model list.
SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
print("starting with", *sys.argv[1:], flush=True)
if "--broken" in sys.argv:
    sys.exit("cannot start: no such file")
class Handler(BaseHTTPRequestHandler):
    refusals = 10**6 if "--lonely" in sys.argv else 2
    def do_GET(self):
        ready = self.path != "/health/ready" or Handler.refusals <= 0
        Handler.refusals -= self.path == "/health/ready"
        body = b'{"details": [{"name": "demo:small", "capabilities": []}], "servers": []}'
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


@dataclass
class House:
    folder: Path
    port: int

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.folder / "bin/python"), str(ROOT / "scripts/service.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder, timeout=60)

    def up(self, *extra: str, wait: str = "20") -> subprocess.CompletedProcess[str]:
        return self.run("up", "--port", str(self.port), "--data-dir", "data", "--wait", wait, "--", *extra)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/live", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    command = tmp_path / "bin/orchestrator"
    command.write_text(f"#!{sys.executable}\n{SERVER}")
    command.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    house = House(tmp_path, port)
    yield house
    house.run("down", "--data-dir", "data", "--grace", "5")


def test_up_waits_until_ready_and_says_what_to_try(house: House) -> None:
    result = house.up("--demo")

    assert result.returncode == 0, result.stdout
    assert house.answers()
    for route in ("/v1/chat/completions", "/v1/messages", "/api/chat"):
        assert f"curl http://localhost:{house.port}{route}" in result.stdout
    assert '"model": "demo:small"' in result.stdout
    assert "starting with start --port" in house.run("logs", "--data-dir", "data").stdout
    assert "--demo" in house.run("logs", "--data-dir", "data").stdout


def test_up_twice_starts_one(house: House) -> None:
    house.up()
    first = json.loads((house.folder / "data/service.json").read_text())

    again = house.up()

    assert again.returncode == 0
    assert "running already" in again.stdout
    assert json.loads((house.folder / "data/service.json").read_text()) == first


def test_down_stops_it_and_may_be_repeated(house: House) -> None:
    house.up()

    assert "stopped" in house.run("down", "--data-dir", "data").stdout
    assert not house.answers()
    again = house.run("down", "--data-dir", "data")
    assert again.returncode == 0
    assert "not running" in again.stdout


def test_a_start_that_fails_shows_the_log(house: House) -> None:
    result = house.up("--broken")

    assert result.returncode == 1
    assert "cannot start: no such file" in result.stdout


def test_a_service_without_a_healthy_node_is_left_running(house: House) -> None:
    result = house.up("--lonely", wait="1")

    assert result.returncode == 1
    assert "not ready after 1 s" in result.stdout
    assert house.answers()
    assert "stopped" in house.run("down", "--data-dir", "data").stdout


def test_a_foreign_server_on_the_port_is_named(house: House) -> None:
    house.up()

    other = house.run("up", "--port", str(house.port), "--data-dir", "elsewhere")

    assert other.returncode == 1
    assert "make up PORT=" in other.stdout
    assert house.answers()


def test_another_process_with_the_recorded_id_is_left_alone(house: House) -> None:
    (house.folder / "data").mkdir()
    record = {"pid": os.getpid(), "born": "1", "port": house.port}
    (house.folder / "data/service.json").write_text(json.dumps(record))

    result = house.run("down", "--data-dir", "data")

    assert result.returncode == 0
    assert "not running" in result.stdout
