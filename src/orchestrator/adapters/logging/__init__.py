"""Structured logs, by structlog."""

from orchestrator.adapters.logging.logs import Logs, set_level
from orchestrator.adapters.logging.redact import Redactor
from orchestrator.adapters.logging.request import RequestLog
from orchestrator.adapters.logging.ring import Ring

__all__ = ["Logs", "Redactor", "RequestLog", "Ring", "set_level"]
