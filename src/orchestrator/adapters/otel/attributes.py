"""Attributes by OpenTelemetry's semantic conventions for generative AI and for HTTP. Never content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes

from orchestrator.domain.dialects import ENDPOINTS, Endpoint, Operation
from orchestrator.ports.record import Attempt, RequestRecord

Attributes = dict[str, str | int | float | bool]

# The conventions have no name for counting tokens; they allow one of our own.
OPERATIONS: Mapping[Operation, str] = {
    Operation.CHAT: gen_ai.GenAiOperationNameValues.CHAT.value,
    Operation.COMPLETE: gen_ai.GenAiOperationNameValues.TEXT_COMPLETION.value,
    Operation.EMBED: gen_ai.GenAiOperationNameValues.EMBEDDINGS.value,
    Operation.COUNT_TOKENS: "count_tokens",
}
_ENDPOINTS: Mapping[str, Endpoint] = {endpoint.name: endpoint for endpoint in ENDPOINTS.values()}
ESTIMATED = "orchestrator.usage.estimated"  # our own: tokens were counted from chunks
LONGEST_NAME = 200  # characters; a model that does not exist has the name that a client made up


@dataclass(frozen=True, slots=True)
class Server:
    """Where a node is. `provider` is the software that answers there, as its registration says."""

    address: str
    port: int
    provider: str


def operation(record: RequestRecord) -> str:
    return OPERATIONS[_ENDPOINTS[record.endpoint].operation]


def dialect(record: RequestRecord) -> str:
    """The one that the client spoke."""
    return _ENDPOINTS[record.endpoint].dialect.value


def of_request(record: RequestRecord, server: Server | None) -> Attributes:
    """The inference span: what was asked for, what it took, and how it ended."""
    endpoint = _ENDPOINTS[record.endpoint]
    found: Attributes = {
        gen_ai.GEN_AI_OPERATION_NAME: operation(record),
        gen_ai.GEN_AI_REQUEST_MODEL: record.model[:LONGEST_NAME],
        gen_ai.GEN_AI_PROVIDER_NAME: server.provider if server is not None else endpoint.dialect.value,
        gen_ai.GEN_AI_REQUEST_STREAM: record.stream,
        http_attributes.HTTP_REQUEST_METHOD: "POST",
        http_attributes.HTTP_ROUTE: endpoint.path,
        "orchestrator.request.id": record.id,
        "orchestrator.principal": record.principal,
        "orchestrator.outcome": record.outcome,
        "orchestrator.attempts": len(record.attempts),
    }
    if record.status:
        found[http_attributes.HTTP_RESPONSE_STATUS_CODE] = record.status
    if record.prompt_tokens:
        found[gen_ai.GEN_AI_USAGE_INPUT_TOKENS] = record.prompt_tokens
    if record.completion_tokens:
        found[gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS] = record.completion_tokens
        if record.estimated:
            found[ESTIMATED] = True
    if record.ttft is not None and record.stream:
        found[gen_ai.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] = record.ttft
    if record.queue_wait:
        found["orchestrator.queue_wait"] = record.queue_wait
    if record.continuations:
        found["orchestrator.continuations"] = record.continuations
    if record.attempts:
        found[gen_ai.GEN_AI_RESPONSE_MODEL] = record.attempts[-1].model[:LONGEST_NAME]
    if record.error:
        found[error_attributes.ERROR_TYPE] = record.error
    return found | _where(record.node, server)


def of_attempt(record: RequestRecord, attempt: Attempt, server: Server | None) -> Attributes:
    """One try on one node. Token counts stand on the request alone, so that a sum over spans counts them once."""
    found: Attributes = {
        gen_ai.GEN_AI_OPERATION_NAME: operation(record),
        gen_ai.GEN_AI_REQUEST_MODEL: attempt.model[:LONGEST_NAME],
        gen_ai.GEN_AI_PROVIDER_NAME: server.provider if server is not None else attempt.dialect,
        "orchestrator.dialect": str(attempt.dialect),
    }
    if attempt.status:
        found[http_attributes.HTTP_RESPONSE_STATUS_CODE] = attempt.status
    if attempt.kind:
        found[error_attributes.ERROR_TYPE] = attempt.kind
    return found | _where(attempt.node_id, server)


def _where(node: str, server: Server | None) -> Attributes:
    found: Attributes = {"orchestrator.node": node} if node else {}
    if server is not None:
        found |= {server_attributes.SERVER_ADDRESS: server.address, server_attributes.SERVER_PORT: server.port}
    return found
