"""The orchestrator and nginx as keepers of large files, each in a process of its own and with the same questions."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import UnavailableError, nginx
from benchmarks.fleet import free_ports
from benchmarks.process import Process
from benchmarks.transfers_wire import Connection, WireError

PIECE = 64 << 20  # bytes of one request of an upload in several
ARTIFACTS = "/api/v1/artifacts"
BOUNDARY = "transfers-5e0f8b1c"
JSON = {"Content-Type": "application/json"}
READY = 30.0  # seconds that a start may take
KEY = "sk-bench-0123456789abcdef0123456789abcdef"  # made up here and valid on loopback for one run only
KEY_VARIABLE = "BENCH_TRANSFERS_KEY"

NGINX_CONF = """
daemon off;
{user}
worker_processes 1;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 64; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  client_max_body_size 0;
  client_body_buffer_size 1m;
  client_body_temp_path tmp_body;
  proxy_temp_path tmp_proxy;
  fastcgi_temp_path tmp_fastcgi;
  uwsgi_temp_path tmp_uwsgi;
  scgi_temp_path tmp_scgi;
  keepalive_requests 100000000;
  server {{
    listen 127.0.0.1:{port};
    root files;
    location / {{ dav_methods PUT DELETE; }}
  }}
}}
"""


class Server(ABC):
    """A process that listens on loopback, and one kept connection to it."""

    def __init__(self, command: Sequence[str], folder: Path, port: int, key: str = "") -> None:
        """Raises UnavailableError when it does not start. `key` is what it asks for."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._process = Process(command, log=folder / "output.log", env={KEY_VARIABLE: key} if key else None)
        try:
            self.wire = self._connection(port, headers)
        except BaseException:
            self._process.stop()
            raise
        self._pids = self._process.tree()

    def _connection(self, port: int, headers: dict[str, str]) -> Connection:
        until = time.monotonic() + READY
        while time.monotonic() < until and self._process.running:
            try:
                return Connection(port, headers)
            except ConnectionRefusedError:
                time.sleep(0.02)
        raise UnavailableError(f"a server did not start: {self._process.last_words()}")

    def cpu(self) -> float:
        """CPU seconds since the start."""
        return self._process.sample(self._pids).cpu

    def forget_peak(self) -> None:
        """The peak is what is resident now. Where the kernel does not allow that, peaks count from the start."""
        for pid in self._pids:
            try:
                Path(f"/proc/{pid}/clear_refs").write_text("5")
            except OSError:
                continue

    def peak_mib(self) -> float:
        """The most that was resident."""
        return self._mib("VmHWM")

    def resident_mib(self) -> float:
        return self._mib("VmRSS")

    def _mib(self, field: str) -> float:
        kib = 0
        for pid in self._pids:
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                name, _, value = line.partition(":")
                kib += int(value.split()[0]) if name == field else 0
        return kib / 1024

    @abstractmethod
    def delete(self, name: str) -> None:
        """What an upload named."""

    def stop(self) -> None:
        self.wire.close()
        self._process.stop()


class Ours(Server):
    """The service on SQLite, as it is by default, with a key that it asks for."""

    def __init__(self, folder: Path) -> None:
        self._data, port = folder / "data", free_ports(1)[0]
        config = {
            "auth": {"enabled": True, "keys": [{"name": "bench", "key": f"env:{KEY_VARIABLE}", "role": "admin"}]},
            "security": {"rate_limit_max": None, "admin_rate_limit_max": None},
            "discovery": {"enabled": False},
            "demo": {"enabled": False},
            "logging": {"requests": False, "level": "error"},
        }
        folder.mkdir()
        (folder / "orchestrator.yaml").write_text(json.dumps(config))  # JSON is YAML
        files = ["--config", str(folder / "orchestrator.yaml"), "--data-dir", str(self._data)]
        super().__init__(
            [sys.executable, "-m", "orchestrator", "start", *files, "--port", str(port)], folder, port, KEY
        )

    def upload(self, file: Path) -> str:
        """The body is the file. The artifact's id."""
        return _id(self.wire.send("POST", f"{ARTIFACTS}?file_name=large.bin", file))

    def upload_form(self, file: Path) -> str:
        """The file in a form."""
        disposition = 'Content-Disposition: form-data; name="file"; filename="large.bin"'
        before = f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n"
        after = f"\r\n--{BOUNDARY}--\r\n"
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        return _id(self.wire.send("POST", ARTIFACTS, file, headers=headers, around=(before.encode(), after.encode())))

    def upload_pieces(self, file: Path) -> str:
        """In requests of 64 MiB, each of them durable when it is answered."""
        size = file.stat().st_size
        said = json.dumps({"file_name": "large.bin", "size_bytes": size}).encode()
        begun = json.loads(self.wire.call("POST", f"{ARTIFACTS}/uploads", said, JSON))
        path = f"{ARTIFACTS}/uploads/{begun['upload_id']}"
        for offset in range(0, size, PIECE):
            span = (offset, min(PIECE, size - offset))
            self.wire.send("PATCH", path, file, headers={"Upload-Offset": str(offset)}, span=span)
        return _id(self.wire.call("POST", f"{path}/complete"))

    def delete(self, artifact_id: str) -> None:
        self.wire.call("DELETE", f"{ARTIFACTS}/{artifact_id}")

    @staticmethod
    def path(artifact_id: str) -> str:
        """Where the bytes are read."""
        return f"{ARTIFACTS}/{artifact_id}/content"

    def verify(self, artifact_id: str) -> str:
        """What a look at all bytes finds: stored, damaged, missing."""
        found: dict[str, Any] = json.loads(self.wire.call("POST", f"{ARTIFACTS}/{artifact_id}/verify"))
        return str(found["state"])

    def damage(self, artifact_id: str, offset: int) -> None:
        """One bit of the bytes on the disk is another one from now on."""
        [file] = self._data.rglob(artifact_id)
        with file.open("r+b") as opened:
            opened.seek(offset)
            [byte] = opened.read(1)
            opened.seek(offset)
            opened.write(bytes([byte ^ 1]))


class Nginx(Server):
    """One worker that writes what is PUT and serves by sendfile. It neither digests nor syncs."""

    KEPT = "/kept"  # where the file to download is

    def __init__(self, folder: Path) -> None:
        self._files, port = folder / "files", free_ports(1)[0]
        self._files.mkdir(parents=True)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(NGINX_CONF.format(port=port, user=user))
        super().__init__([nginx(), "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"], folder, port)

    def upload(self, file: Path) -> str:
        """The name under which it is there."""
        self.wire.send("PUT", "/upload", file)
        return "upload"

    def take(self, file: Path) -> None:
        """The file to download."""
        self.wire.send("PUT", self.KEPT, file)

    def upload_kept(self, file: Path) -> str:
        """The same, and afterwards the file is read for its SHA-256 and made durable, as ours does while it comes."""
        name = self.upload(file)
        with (self._files / name).open("rb") as written:
            hashlib.file_digest(written, "sha256")
            os.fsync(written.fileno())
        return name

    def delete(self, name: str) -> None:
        self.wire.call("DELETE", f"/{name}")

    @staticmethod
    def version() -> str:
        done = subprocess.run([nginx(), "-v"], capture_output=True, text=True, timeout=10, check=False)
        return done.stderr.strip().rpartition("/")[2]


def _id(answer: bytes) -> str:
    told: dict[str, Any] = json.loads(answer)
    if "artifact_id" not in told:
        raise WireError(f"no artifact: {answer[:300]!r}")
    return str(told["artifact_id"])
