"""Compiles the data plane's modules to machine code with mypyc: `make compiled`.

The package is copied to build/compiled/ and its hot modules are compiled there; the sources stay as they are, and what
is not listed runs as it does everywhere. Whoever puts build/compiled first on PYTHONPATH runs the compiled form, as
`make up COMPILED=1`, `make test COMPILED=1` and the gateway's benchmark do. Needs a C compiler (docs/adr/0008).
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from mypyc.build import mypycify
from setuptools import setup

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "build" / "compiled"
# What an inference request and a task pass through. Left out are `entrypoints/http/wire.py`, whose class is subclassed
# when the service starts, classes of msgspec and the modules with them, because it reads annotations, which compiled
# classes do not keep, asynchronous generators, and `domain/placement/bits.py`, whose shifts of large integers the
# compiled form does not survive.
MODULES = (
    "adapters/http1/connection.py",
    "adapters/http1/fetch.py",
    "adapters/http1/framing.py",
    "adapters/http1/pool.py",
    "adapters/sql/ledger/rows.py",
    "adapters/sql/ledger/sqlite_write.py",
    "domain/breaker.py",
    "domain/breaker_window.py",
    "domain/histogram.py",
    "domain/placement/arm.py",
    "domain/placement/board.py",
    "domain/placement/latency.py",
    "domain/placement/learned.py",
    "domain/placement/load.py",
    "domain/placement/node_state.py",
    "domain/placement/placement.py",
    "domain/placement/policy.py",
    "domain/placement/prefix.py",
    "domain/placement/record.py",
    "domain/placement/request.py",
    "domain/placement/roster.py",
    "domain/placement/rotation.py",
    "domain/placement/warm.py",
    "domain/placement/weighted.py",
    "domain/storable.py",
    "domain/task/change.py",
    "domain/task/lifecycle.py",
    "domain/task/ready.py",
    "domain/task/requirements.py",
    "domain/task/state.py",
    "domain/task/storable.py",
    "domain/task/task.py",
    "domain/worker.py",
    "entrypoints/http/tasks/direct.py",
    "entrypoints/http/tasks/work.py",
    "services/clock.py",
    "services/fleet/fleet.py",
    "services/fleet/node.py",
    "services/gateway/admit.py",
    "services/gateway/attempt.py",
    "services/gateway/exchange.py",
    "services/gateway/gateway.py",
    "services/gateway/place.py",
    "services/gateway/relay.py",
    "services/gateway/settle.py",
    "services/metrics/tally.py",
    "services/tasks/alarms.py",
    "services/tasks/carrier.py",
    "services/tasks/carriers.py",
    "services/tasks/delivery.py",
    "services/tasks/events.py",
    "services/tasks/figures.py",
    "services/tasks/intake.py",
    "services/tasks/large_results.py",
    "services/tasks/numbers.py",
    "services/tasks/reach.py",
    "services/tasks/report.py",
    "services/tasks/reporting.py",
    "services/tasks/scheduler.py",
    "services/tasks/seats.py",
    "services/tasks/submission.py",
    "services/tasks/timers.py",
    "services/tasks/waits.py",
    "services/tasks/webhooks.py",
    "services/tasks/wire.py",
    "services/tasks/writer.py",
    "services/workers/registry.py",
)
MYPY = "[mypy]\nstrict = True\nplugins = pydantic.mypy\n"


def main() -> int:
    if shutil.which(sysconfig.get_config_var("CC").split()[0]) is None:
        print("error: compiling needs a C compiler: on Debian, apt-get install gcc", file=sys.stderr)
        return 1
    work = TARGET.with_name("compiling")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(ROOT / "src" / "orchestrator", work / "orchestrator", ignore=shutil.ignore_patterns("__pycache__"))
    (work / "mypy.ini").write_text(MYPY)
    os.chdir(work)
    extensions: Any = mypycify(  # two packages' names for one class
        ["--config-file", "mypy.ini", *(f"orchestrator/{name}" for name in MODULES)],
        opt_level="1",  # more takes longer and gains nothing: what is left is in the interpreter and the kernel
        debug_level="0",
        multi_file=True,  # one file of all would take the compiler twice as long
    )
    setup(
        name="orchestrator-compiled",
        ext_modules=extensions,
        script_args=["--quiet", "build_ext", "--inplace", f"--parallel={os.cpu_count() or 1}"],
    )
    shutil.rmtree(work / "build")
    shutil.rmtree(TARGET, ignore_errors=True)
    work.rename(TARGET)
    print(f"{len(MODULES)} modules compiled into {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
