"""Logs, metrics and traces of a service."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator import __version__
from orchestrator.adapters.logging import Logs, RequestLog, set_level
from orchestrator.bootstrap import values
from orchestrator.bootstrap.service import Service
from orchestrator.domain.errors import ConfigurationError
from orchestrator.ports.telemetry import RequestSink
from orchestrator.services.fleet.fleet import Fleet
from orchestrator.settings import Settings


@contextmanager
def open_logs(settings: Settings) -> Iterator[Logs]:
    """Configures logging until the block ends. Raises ConfigurationError."""
    wanted = settings.logging
    logs = Logs(
        level=wanted.level,
        json=wanted.format == "json",
        keep=wanted.keep,
        file=Path(wanted.file) if wanted.file is not None else None,
        colors=sys.stderr.isatty(),
    )
    try:
        for key in settings.auth.keys:
            logs.redactor.hide(values.secret_text(key.key))
        for header in settings.tracing.headers.values():
            logs.redactor.hide(header.get_secret_value())
        for server in settings.tools.mcp_servers.values():
            for value in (*server.env.values(), *server.headers.values()):
                logs.redactor.hide(values.secret_text(value))
        logs.redactor.hide(urlsplit(settings.database_url).password)
        yield logs
    finally:
        logs.close()


@contextmanager
def observed(service: Service, logs: Logs) -> Iterator[None]:
    """Logs what happens to the fleet and to requests, traces and counts these. Raises ConfigurationError."""
    settings = service.settings
    set_level(settings.logging.level)  # the database may know another than file and flags
    service.log_entries = logs.entries
    sinks: list[RequestSink] = [RequestLog(logs, lambda: service.settings.logging.requests)]
    if settings.tracing.enabled:
        sinks.append(traces(settings, service.fleet))
    if settings.metrics.otlp:
        sinks.append(genai_metrics(settings, service.fleet))
    for sink in sinks:
        service.gateway.on_record.append(sink.add)
    try:
        yield
    finally:
        for sink in sinks:
            service.gateway.on_record.remove(sink.add)
            sink.close()


def traces(settings: Settings, fleet: Fleet) -> RequestSink:
    """Raises ConfigurationError when the extra is not installed."""
    try:
        from orchestrator.adapters.otel.traces import Server, Traces
    except ImportError as error:
        raise ConfigurationError(
            f"tracing.enabled needs the extra 'otel' (pip install 'orchestrator[otel]'): {error}."
        ) from None
    tracing = settings.tracing
    return Traces(
        endpoint=tracing.endpoint,
        headers=_headers(settings),
        service_name=tracing.service_name,
        version=__version__,
        sample_ratio=tracing.sample_ratio,
        rand=random.random,
        server_of=lambda node_id: Server(*where) if (where := _where(fleet, node_id)) else None,
    )


def genai_metrics(settings: Settings, fleet: Fleet) -> RequestSink:
    """Raises ConfigurationError when the extra is not installed."""
    try:
        from orchestrator.adapters.otel.metrics import GenAiMetrics, Server
    except ImportError as error:
        raise ConfigurationError(
            f"metrics.otlp needs the extra 'otel' (pip install 'orchestrator[otel]'): {error}."
        ) from None
    tracing = settings.tracing
    return GenAiMetrics(
        endpoint=tracing.endpoint,
        headers=_headers(settings),
        service_name=tracing.service_name,
        version=__version__,
        interval=settings.metrics.otlp_interval,
        server_of=lambda node_id: Server(*where) if (where := _where(fleet, node_id)) else None,
        known=lambda model: bool(fleet.catalogue.nodes(model)),
    )


def _headers(settings: Settings) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in settings.tracing.headers.items()}


def _where(fleet: Fleet, node_id: str) -> tuple[str, int, str] | None:
    """A node's address, port and kind. None for one that is gone."""
    node = fleet.get(node_id)
    return (node.target.host, node.target.port, node.spec.kind.value) if node is not None else None
