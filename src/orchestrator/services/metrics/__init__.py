"""Numbers for Prometheus: names, counters that only records can tell, and the picture of one moment."""

from orchestrator.services.metrics.catalogue import METRICS
from orchestrator.services.metrics.metrics import Metrics
from orchestrator.services.metrics.tally import Tally

__all__ = ["METRICS", "Metrics", "Tally"]
