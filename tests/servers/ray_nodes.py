"""A private Ray cluster of several nodes on this machine's loopback, in a process of its own: Ray changes the process
that it is imported into. Run as a program it takes a command a line, as JSON, and answers each with a line."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

STORE = 80 * 1024 * 1024  # bytes, about the least that Ray takes
# For whatever talks to the cluster. Off, the last one keeps Ray from taking another address of this machine for
# 127.0.0.1, where nothing listens.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class RayNodes:
    """A head without CPUs, and the nodes that `add` starts. Every method blocks for seconds."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short: sockets are in it
        with (self._folder / "nodes.log").open("wb") as log:
            self._process = subprocess.Popen(
                (sys.executable, __file__),
                env={name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
                | {**ENVIRONMENT, "RAY_TMPDIR": str(self._folder)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        try:
            self.address: str = self._answer()["address"]
        except BaseException:
            self.close()
            raise

    def add(self, **node: Any) -> str:
        """Starts a node with `num_cpus`, `num_gpus`, `resources`; its id."""
        node_id: str = self._ask({"add": node})["node_id"]
        return node_id

    def kill(self, node_id: str) -> None:
        """Kills all processes of a node at once."""
        self._ask({"kill": node_id})

    def kill_head(self) -> None:
        """And with it all that knows of the cluster."""
        self._ask({"kill": "head"})

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError((self._folder / "nodes.log").read_text()[-4_000:])
        told: dict[str, Any] = json.loads(line)
        return told


def children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def main() -> None:
    # Only our answers go to standard output.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from ray.cluster_utils import Cluster

    def answer(**told: Any) -> None:
        answers.write(json.dumps(told) + "\n")
        answers.flush()

    common = {"object_store_memory": STORE, "node_ip_address": "127.0.0.1"}
    head = {**common, "num_cpus": 0, "include_dashboard": False, "include_log_monitor": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes: dict[str, Any] = {}
    answer(address=cluster.address)
    for line in sys.stdin:
        command = json.loads(line)
        if "add" in command:
            node = cluster.add_node(**common, **command["add"])
            nodes[node.node_id] = node
            answer(node_id=node.node_id)
        else:
            node = cluster.head_node if command["kill"] == "head" else nodes.pop(command["kill"])
            below = [one for kind in node.all_processes.values() for each in kind for one in children(each.process.pid)]
            cluster.remove_node(node, allow_graceful=False)
            for process in below:  # those of handlers live on for a moment otherwise, and finish
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            answer()
    cluster.shutdown()


if __name__ == "__main__":
    main()
