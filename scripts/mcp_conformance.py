"""Runs the Model Context Protocol's own conformance checks of a server (npm: @modelcontextprotocol/conformance) against
a service of this working tree. Needs Node 22 and npx, and fetches that package; its version is fixed here.

    python scripts/mcp_conformance.py

Checked is what the service offers: it declares neither prompts, logging, completions nor subscriptions of single
resources, and other scenarios call tools that only the suite's own example server has. Exit status 1: one failed.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE = "@modelcontextprotocol/conformance@0.1.16"
SCENARIOS = (
    "server-initialize",
    "ping",
    "tools-list",
    "tools-call-simple-text",
    "tools-call-error",
    "json-schema-2020-12",
    "resources-list",
    "dns-rebinding-protection",
)
ADDRESS = {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}
# The suite calls tools by these names.
FUNCTIONS = {
    "test_simple_text": {"function": "os:getcwd"},
    "test_error_handling": {"function": "os:abort"},
    "json_schema_2020_12_tool": {
        "function": "os:getcwd",
        "input_schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": {"address": ADDRESS},
            "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
            "additionalProperties": False,
        },
    },
}
_RESULT = re.compile(r"Passed: (\d+)/(\d+), (\d+) failed, (\d+) warnings")


@contextmanager
def served() -> Iterator[str]:
    """The URL of a service with an empty database."""
    with tempfile.TemporaryDirectory() as folder:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            place = sock.getsockname()
        config = Path(folder, "orchestrator.json")
        config.write_text(json.dumps({"tools": {"functions": FUNCTIONS}, "data_dir": f"{folder}/data"}))
        flags = ["--config", str(config), "--port", str(place[1])]
        command = [sys.executable, "-m", "orchestrator", "start", *flags]
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - this working tree's own command
        try:
            while not listens(place):
                if process.poll() is not None:
                    raise SystemExit(Path(folder, "log").read_text())
                time.sleep(0.2)
            yield f"http://127.0.0.1:{place[1]}"
        finally:
            process.terminate()
            process.wait()


def listens(place: tuple[str, int]) -> bool:
    try:
        socket.create_connection(place, 1).close()
    except OSError:
        return False
    return True


def passes(npx: str, url: str, scenario: str) -> bool:
    command = [npx, "--yes", PACKAGE, "server", "--url", f"{url}/mcp", "--scenario", scenario]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)  # noqa: S603 - the package named above
    found = _RESULT.search(done.stdout + done.stderr)
    good = done.returncode == 0 and found is not None and int(found[1]) > 0 and found[3] == found[4] == "0"
    print(f"{scenario}: {found[0] if found else 'no result'}")
    if not good:
        print(done.stdout[-4_000:], done.stderr[-2_000:], sep="\n")
    return good


def main() -> int:
    npx = shutil.which("npx")
    if npx is None:
        raise SystemExit("npx is not here: install Node 22.")
    with served() as url:
        failed = [scenario for scenario in SCENARIOS if not passes(npx, url, scenario)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
