"""Points at which a service that is under test kills itself."""

from orchestrator.testing.failpoints.failpoint import FAILPOINTS, Failpoint, end
from orchestrator.testing.failpoints.parts import around

__all__ = ["FAILPOINTS", "Failpoint", "around", "end"]
