"""What is measured: the stub alone, nginx, LiteLLM and the orchestrator, each with the same four nodes behind it."""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.environment import UnavailableError, litellm, nginx
from benchmarks.fleet import free_ports
from benchmarks.process import Process
from benchmarks.prompts import MODEL, Dialect, Prompt

KEY = "sk-bench-0123456789abcdef0123456789abcdef"  # made up here and valid on loopback for one run only
KEY_VARIABLE = "BENCH_GATEWAY_KEY"
NODE_CONCURRENCY = 1000  # four nodes must take 3,000 streams


@dataclass(frozen=True)
class Launch:
    """How to start a target: the command, its environment and how long it may take until it answers."""

    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    patience: float = 30.0


@dataclass(frozen=True)
class Target:
    """A gateway (or none: `direct`). `prepare` writes its files into a folder and says how to start it.

    `sluggish` ones keep one process for a whole round, because their start takes longer than a measurement.
    """

    name: str
    prepare: Callable[[Path, int, Sequence[int]], Launch] | None
    authenticated: bool = False
    sluggish: bool = False

    def headers(self, dialect: Dialect) -> dict[str, str]:
        """The credentials a client of this dialect would send."""
        if not self.authenticated:
            return {}
        return {"x-api-key": KEY} if dialect == "anthropic" else {"Authorization": f"Bearer {KEY}"}


class Running:
    """A started target: where it listens and the process to watch."""

    def __init__(self, target: Target, nodes: Sequence[int], core: int, folder: Path) -> None:
        self.target, self.port = target, nodes[0]
        self.process: Process | None = None
        if target.prepare is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_ports(1)[0]
        launch = target.prepare(folder, self.port, nodes)
        self.process = Process(launch.command, core=core, log=folder / "output.log", env=launch.env)
        try:
            self._await_answer(self.process, launch.patience)
            self.process.pin(core)
        except BaseException:
            self.stop()
            raise

    def _await_answer(self, process: Process, patience: float) -> None:
        until, seen = time.monotonic() + patience, "no answer"
        while time.monotonic() < until and process.running:
            try:
                seen = f"status {self.ask()}"
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
                continue
            if seen == "status 200":
                return
            time.sleep(0.3)
        how = "still running" if process.running else "ended"
        raise UnavailableError(f"{self.target.name} did not start ({how}, {seen}): {process.last_words()}")

    def call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of one request with the client's credentials."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers = {"Content-Type": "application/json", **self.target.headers("openai")}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def ask(self) -> int:
        """Status of one small chat completion through the target."""
        return self.call("POST", "/v1/chat/completions", Prompt().body())[0]

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()


NGINX_CONF = """
daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 20000;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_buffer_size 64k;
  client_body_temp_path tmp_body;
  proxy_temp_path tmp_proxy;
  fastcgi_temp_path tmp_fastcgi;
  uwsgi_temp_path tmp_uwsgi;
  scgi_temp_path tmp_scgi;
  keepalive_requests 100000000;
  upstream fleet {{
    {servers}
    keepalive 128;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://fleet;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


def _nginx(folder: Path, port: int, nodes: Sequence[int]) -> Launch:
    program = nginx()
    servers = "\n    ".join(f"server 127.0.0.1:{node};" for node in nodes)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX_CONF.format(servers=servers, port=port, user=user))
    return Launch([program, "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"])


def _litellm(folder: Path, port: int, nodes: Sequence[int]) -> Launch:
    """One worker, telemetry and retries off, a master key, no database: its fastest documented set-up."""
    command = litellm()
    config = {
        "model_list": [
            {
                "model_name": MODEL,
                "litellm_params": {
                    "model": f"openai/{MODEL}",
                    "api_base": f"http://127.0.0.1:{node}/v1",
                    "api_key": "none",
                },
            }
            for node in nodes
        ],
        "litellm_settings": {"telemetry": False, "num_retries": 0, "set_verbose": False},
        "general_settings": {"master_key": KEY},
    }
    (folder / "litellm.json").write_text(json.dumps(config))  # JSON is YAML
    env = {"LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    flags = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1", "--telemetry", "False"]
    return Launch([str(command), "--config", str(folder / "litellm.json"), *flags], env, patience=180)


def _ours(data_plane: str) -> Callable[[Path, int, Sequence[int]], Launch]:
    """Every name of a setting or flag of the orchestrator that the benches use stands in this function."""

    def prepare(folder: Path, port: int, nodes: Sequence[int]) -> Launch:
        command = Path(sys.executable).parent / "orchestrator"
        if not command.exists():
            raise UnavailableError("the orchestrator command is not installed beside this Python")
        config = {
            "auth": {"enabled": True, "keys": [{"name": "bench", "key": f"env:{KEY_VARIABLE}", "role": "admin"}]},
            "server": {"data_plane": data_plane},
            "logging": {"requests": False},  # as nginx's access log
            "gateway": {"max_connections_per_node": NODE_CONCURRENCY},
            "nodes": [
                {
                    "id": f"node-{i}",
                    "url": f"http://127.0.0.1:{node}",
                    "kind": "openai",
                    "max_concurrency": NODE_CONCURRENCY,
                }
                for i, node in enumerate(nodes)
            ],
        }
        (folder / "orchestrator.yaml").write_text(json.dumps(config))  # JSON is YAML
        flags = ["--host", "127.0.0.1", "--port", str(port), "--no-discover", "--no-demo"]
        files = ["--config", str(folder / "orchestrator.yaml"), "--data-dir", str(folder / "data")]
        return Launch([str(command), "start", *flags, *files], {KEY_VARIABLE: KEY})

    return prepare


TARGETS = {
    target.name: target
    for target in (
        Target("direct", None),
        Target("nginx", _nginx),
        Target("litellm", _litellm, authenticated=True, sluggish=True),
        Target("ours", _ours("protocol"), authenticated=True),
        Target("ours-asgi", _ours("asgi"), authenticated=True),
    )
}
