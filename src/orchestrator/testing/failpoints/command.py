"""The command line of a service with a failpoint."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator.__main__ import look_at_storage, schema
from orchestrator.bootstrap import run, watched
from orchestrator.domain.errors import ConfigurationError
from orchestrator.entrypoints import cli
from orchestrator.services.tasks.keeper import LEASE
from orchestrator.settings import Loaded
from orchestrator.testing.failpoints.failpoint import FAILPOINTS, Failpoint, victim
from orchestrator.testing.failpoints.parts import around

EXAMPLE = """
example:
  # a service that is gone when 300 tasks are durable and the client of the last one has not been told
  python -m orchestrator.testing.failpoints submit.before-answer:300 -- start --port 9000

  # a service that kills its database server instead, and goes on
  python -m orchestrator.testing.failpoints report.after-record:300 --victim postmaster.pid -- start --port 9000

The process, or the victim, ends by SIGKILL. What follows the two dashes is for the command `orchestrator`.
"""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    names = "\n".join(f"  {name:24}{text}" for name, text in FAILPOINTS.items())
    made = argparse.ArgumentParser(
        prog="python -m orchestrator.testing.failpoints",
        description=f"Runs the service, and kills it, or another process, at a failpoint.\n\nfailpoints:\n{names}",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("point", metavar="NAME[:HITS]", help="die when it is reached for the HITS-th time (default: 1)")
    made.add_argument(
        "--lease",
        type=float,
        default=LEASE,
        metavar="SECONDS",
        help="how long the tasks stay this replica's after its end (default: %(default)g)",
    )
    made.add_argument(
        "--victim",
        type=Path,
        metavar="FILE",
        help="kill the process whose id is in the file instead; it is read when the time has come",
    )
    made.add_argument("command", nargs="+", metavar="-- COMMAND", help="such as: start --port 9000")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; its exit code, if it gets so far."""
    asked = parser().parse_args(arguments)
    try:
        seams = around(Failpoint.of(asked.point, victim(asked.victim) if asked.victim else None), asked.lease)
    except ConfigurationError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 2

    def serve(loaded: Loaded, started: cli.Started, told: cli.Told | None = None) -> None:
        run(loaded, started, seams, watched(loaded, told) if told is not None else ())

    return cli.main(serve=serve, look_at_storage=look_at_storage, schema=schema, arguments=asked.command)
