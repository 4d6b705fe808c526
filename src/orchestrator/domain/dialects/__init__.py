"""Inference dialects: OpenAI, Anthropic and Ollama, any of them translated to any other. Pure, without I/O."""

from orchestrator.domain.dialects.continuation import StreamText, continuation
from orchestrator.domain.dialects.endpoint import (
    ENDPOINTS,
    TERMINAL,
    Endpoint,
    Operation,
    target_endpoint,
)
from orchestrator.domain.dialects.errors import error_body, stream_error, translate_error
from orchestrator.domain.dialects.required import is_load, required_fields
from orchestrator.domain.dialects.stream import StreamTranslator
from orchestrator.domain.dialects.translation import Translation, translate
from orchestrator.domain.dialects.usage import Usage, usage_of

__all__ = [
    "ENDPOINTS",
    "TERMINAL",
    "Endpoint",
    "Operation",
    "StreamText",
    "StreamTranslator",
    "Translation",
    "Usage",
    "continuation",
    "error_body",
    "is_load",
    "required_fields",
    "stream_error",
    "target_endpoint",
    "translate",
    "translate_error",
    "usage_of",
]
