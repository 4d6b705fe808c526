"""Prometheus' text formats, by prometheus_client."""

from orchestrator.adapters.prometheus.exposition import PrometheusExposition

__all__ = ["PrometheusExposition"]
