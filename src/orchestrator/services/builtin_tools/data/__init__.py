"""Tables: converted, filtered, grouped, changed, described, cleaned and merged."""

from orchestrator.services.builtin_tools.data.tool import DataProcessing

__all__ = ["DataProcessing"]
