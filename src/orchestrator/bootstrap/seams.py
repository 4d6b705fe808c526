"""Where something may be put around parts of the service: faults, in tests (`orchestrator.testing.failpoints`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.ports.ledger import Ledger
from orchestrator.ports.upstream import Upstream
from orchestrator.services.tasks.keeper import LEASE
from orchestrator.services.tasks.scheduler import Carrier


@dataclass(frozen=True, slots=True)
class Seams:
    """Each function is given a part once, while the service is put together, and returns what is used in its place.
    `upstream` is the way by which tasks are pushed. `lease` is how long (seconds) a replica's tasks stay its own after
    its last word."""

    ledger: Callable[[Ledger], Ledger] = lambda ledger: ledger
    carrier: Callable[[Carrier], Carrier] = lambda carrier: carrier
    upstream: Callable[[Upstream], Upstream] = lambda upstream: upstream
    lease: float = LEASE


PLAIN = Seams()
