"""What may be kept, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain.artifact import Quota

DAY = 86_400.0
UNLIMITED = Quota()


@dataclass(frozen=True, slots=True)
class ArtifactRules:
    """Sizes in bytes, times in seconds. `keep` None: an artifact that names no end is kept for ever. `sweep` is the
    time between two clean-ups, `verify_after` how long bytes go without being looked at, `verify_rate` how many are
    looked at in a second at most."""

    max_size: int = 16 << 30
    max_result: int = 64 << 20
    quota: Quota = UNLIMITED
    keep: float | None = None
    keep_results: float = 30 * DAY
    upload_patience: float = DAY
    sweep: float = 300.0
    verify_after: float = 7 * DAY
    verify_rate: int = 8 << 20
