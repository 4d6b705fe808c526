"""Structured logs, by structlog."""

from orchestrator.adapters.logging.logs import Logs
from orchestrator.adapters.logging.redact import Redactor
from orchestrator.adapters.logging.request import RequestLog

__all__ = ["Logs", "Redactor", "RequestLog"]
