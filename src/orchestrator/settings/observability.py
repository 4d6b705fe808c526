"""Logs, metrics and traces."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, SecretStr

from orchestrator.settings.section import Duration, Section, setting
from orchestrator.settings.url import NormalUrl

_LEVEL_SPELLINGS = {"warn": "warning", "fatal": "error", "critical": "error"}


def _level_spelling(value: object) -> object:
    if not isinstance(value, str):
        return value
    name = value.strip().lower()
    return _LEVEL_SPELLINGS.get(name, name)


Level = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_level_spelling)]


class Logging(Section):
    """Structured logs."""

    level: Level = setting("info", "Least serious level that is logged.", live=True)
    format: Literal["console", "json"] = setting("console", "For people, or one JSON object per line.")
    requests: bool = setting(True, "Whether every finished request is logged.", live=True)
    file: str | None = setting(None, "File to log to, besides standard error.", min_length=1)
    keep: int = setting(1000, "Log entries kept in memory for the API.", ge=0, le=100_000)


class Metrics(Section):
    """Prometheus metrics, and OpenTelemetry's metrics for generative AI. The latter need the `otel` extra."""

    enabled: bool = setting(True, "Whether GET /metrics answers.")
    require_auth: bool = setting(False, "Whether it asks for a key when authentication is on.")
    otlp: bool = setting(
        False, "Whether GenAI metrics are sent to tracing.endpoint, with its headers and service_name; traces or not."
    )
    otlp_interval: Duration = setting(60.0, "How often they are sent, in seconds.", ge=1, le=3600)


class Tracing(Section):
    """OpenTelemetry traces, sent by OTLP over HTTP. Needs the `otel` extra."""

    enabled: bool = setting(False, "Whether traces are sent.")
    endpoint: NormalUrl = setting("http://127.0.0.1:4318", "OTLP/HTTP address of the collector.")
    headers: dict[str, SecretStr] = setting(description="Headers for the collector.", factory=dict, secret=True)
    service_name: str = setting("orchestrator", "Name of this service in traces.", min_length=1)
    sample_ratio: float = setting(1.0, "Part of the requests that is traced, 0 to 1.", ge=0, le=1)
