"""The HTTP surface."""

from orchestrator.entrypoints.http.app import openapi_document

__all__ = ["openapi_document"]
