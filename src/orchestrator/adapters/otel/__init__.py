"""OpenTelemetry traces. Importing `orchestrator.adapters.otel.traces` needs the extra `otel`."""
