"""OpenTelemetry traces and metrics. Importing modules of `orchestrator.adapters.otel` needs the extra `otel`."""
