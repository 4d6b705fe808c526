"""The gateway's benchmark: direct, nginx, LiteLLM and ours in one run on loopback, the gateway on one core.

Run it with `make bench-gateway` or `python -m benchmarks.gateway --quick`. Writes gateway.json, gateway.md and
gateway.png. Exit status: 0; with --gate 1 when a goal is missed or could not be measured; 2 when nothing could run.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import plan, plot
from benchmarks.environment import BUILD, RESULTS, UnavailableError, program, raise_file_limit
from benchmarks.fleet import StubFleet
from benchmarks.machine import conditions
from benchmarks.measure import Cores
from benchmarks.report import Report
from benchmarks.rounds import Rounds
from benchmarks.summary import Summary
from benchmarks.targets import TARGETS, Target

DEFAULT_TARGETS = "direct,nginx,litellm,ours"
LONGEST_RUN = 4 * 3600  # seconds after which the stub ends by itself


def cores() -> Cores:
    """The gateway gets the first core of this process, the stub and the clients the last."""
    available = sorted(os.sched_getaffinity(0))
    return Cores(available[0], available[-1])


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short round of a smaller plan: about a minute")
    parser.add_argument("--targets", default=DEFAULT_TARGETS, help=f"of {', '.join(TARGETS)} (default: %(default)s)")
    parser.add_argument("--scenarios", default="", help="only these, separated by commas (default: all of the plan)")
    parser.add_argument("--rounds", type=int, help="how often each measurement is made (default: 3, quick: 1)")
    parser.add_argument("--seconds", type=int, default=4, help="length of one closed-loop measurement (default: 4)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--no-litellm", action="store_true", help="leave LiteLLM out")
    parser.add_argument("--gate", action="store_true", help="exit with 1 unless every goal is met")
    options = parser.parse_args(arguments)
    if unknown := set(options.targets.split(",")) - set(TARGETS):
        parser.error(f"unknown targets: {', '.join(sorted(unknown))}; known: {', '.join(TARGETS)}")
    return options


def chosen_targets(options: argparse.Namespace) -> list[Target]:
    names = options.targets.split(",")
    return [each for name, each in TARGETS.items() if name in names and not (options.no_litellm and name == "litellm")]


def run(options: argparse.Namespace, console: Console) -> Summary:
    """Measures, prints and writes; returns the summary."""
    targets, where = chosen_targets(options), cores()
    scenarios = plan.quick() if options.quick else plan.full(options.seconds)
    scenarios = plan.chosen(scenarios, filter(None, options.scenarios.split(",")))
    raise_file_limit()
    for name in ("stub", "closed_loop", "streams"):
        program(name)
    facts = conditions(where, [each.name for each in targets])
    os.sched_setaffinity(0, {where.load})
    with tempfile.TemporaryDirectory(dir=BUILD) as name, StubFleet(where.load, Path(name), LONGEST_RUN) as fleet:
        rounds = Rounds(targets, fleet, where, Path(name), lambda text: console.print(text, style="dim"))
        rounds.run(scenarios, options.rounds or (1 if options.quick else 3))
    if not rounds.measurements:
        raise UnavailableError("; ".join(rounds.left_out.values()) or "no scenario was chosen")
    summary = Summary(rounds.measurements, rounds.rest_mib)
    report = Report(summary, scenarios, facts, rounds.left_out)
    report.show(console)
    report.write(options.out, rounds.measurements)
    plot.write(options.out / "gateway.png", summary.medians(), scenarios)
    return summary


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    console = Console(width=None if sys.stdout.isatty() else 170)
    try:
        summary = run(options, console)
    except UnavailableError as error:
        console.print(f"cannot run: {error}", style="red")
        return 2
    return 1 if options.gate and not all(each.met for each in summary.verdicts()) else 0


if __name__ == "__main__":
    sys.exit(main())
