"""Bodies of the routes of tools: JSON objects without unknown names."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.tool import TIMEOUT_LIMIT
from orchestrator.entrypoints.http.tasks.envelope import described, read_body

KEY_LIMIT, REASON_LIMIT = 200, 2_000  # characters
B = TypeVar("B", bound=BaseModel)


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Arguments(Body):
    arguments: dict[str, Any] = Field(default_factory=dict, description="What the tool is given, by name.")


class CallBody(Arguments):
    timeout: float | None = Field(
        None, gt=0, le=TIMEOUT_LIMIT, description="Seconds for one attempt; otherwise the tool's own."
    )
    wait: float | None = Field(
        None, ge=0, le=TIMEOUT_LIMIT, description="Most seconds until the answer; otherwise it comes with the end."
    )
    idempotency_key: str | None = Field(
        None, min_length=1, max_length=KEY_LIMIT, description="Or the header Idempotency-Key: called once, told again."
    )


class RejectBody(Body):
    reason: str = Field("", max_length=REASON_LIMIT, description="Kept with the call, shown to its caller.")


class ApproveBody(RejectBody):
    arguments: dict[str, Any] | None = Field(None, description="Call the tool with these instead; they are checked.")


async def read(request: Request, kind: type[B]) -> B:
    """The body. Raises InvalidRequest, whose `field` is the first that is wrong; UnsupportedMedia."""
    try:
        return kind.model_validate(await read_body(request))
    except ValidationError as error:
        told = [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors(include_url=False)]
        text = "; ".join(f"{field}: {message}" for field, message in told)
        raise InvalidRequest(text, details={"field": told[0][0]}) from None


def documented(kind: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """`openapi_extra` of a route that reads such a body."""
    named = {name: field.description or "" for name, field in kind.model_fields.items()}
    return described(named, required=required)
