"""The tool `http-client`."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.tool import SideEffect
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.services.builtin_tools.offer import (
    COUNT,
    FLAG,
    NUMBER,
    TEXT,
    choice,
    described,
    fields,
    offered,
    results,
)
from orchestrator.services.builtin_tools.web.visit import plain_url, visited
from orchestrator.services.egress import MOST_REDIRECTS, Egress

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
TIMEOUT, MOST_SECONDS = 30.0, 300.0
SECONDS = {
    "type": "number",
    "exclusiveMinimum": 0,
    "maximum": MOST_SECONDS,
    "default": TIMEOUT,
    "description": "In seconds, for everything.",
}
_INPUT = fields(
    {
        "url": described(TEXT, "http or https; its host must be one that the operator allows.", minLength=1),
        "method": choice([*METHODS, *(one.lower() for one in METHODS)], "Of HTTP.", default="GET"),
        "headers": {"type": "object", "additionalProperties": TEXT, "description": "Headers."},
        "params": {"type": "object", "description": "More parameters of the URL's query; lists repeat."},
        "json": {"description": "Body: this value as JSON."},
        "body": described(TEXT, "Body: this text as it is."),
        "timeout": SECONDS,
        "follow_redirects": described(
            FLAG, f"At most {MOST_REDIRECTS}, each judged as a URL of its own.", default=True
        ),
    },
    ("url",),
)
_OUTPUT = results(
    {
        "status": COUNT,
        "status_code": COUNT,
        "success": FLAG,
        "url": TEXT,
        "headers": {"type": "object"},
        "response": {},
        "json": {},
        "text": {"type": ["string", "null"]},
        "elapsed": NUMBER,
    },
    ("status", "status_code", "success", "url", "headers", "response", "json", "text", "elapsed"),
)


class HttpClient:
    """`BuiltinTool`."""

    def __init__(self, egress: Egress, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._egress = egress
        self._monotonic = monotonic
        self.tool = offered(
            "http-client",
            "web",
            "Makes one HTTP request to a host that the operator allows. Any answer is a result, a status of 400 or "
            "more, too: look at success and status_code. `response` is the JSON of the answer, or its text.",
            SideEffect.EXTERNAL,
            _INPUT,
            _OUTPUT,
            MOST_SECONDS,
        )

    async def run(self, order: CallOrder) -> CallOutcome:
        given = order.arguments
        if "json" in given and "body" in given:
            raise InvalidRequest("json, body: only one of them", details={"field": "body"})
        headers, body = dict(given.get("headers", {})), b""
        if "json" in given:
            body = json.dumps(given["json"]).encode()
            if not any(name.lower() == "content-type" for name in headers):
                headers["Content-Type"] = "application/json"
        elif "body" in given:
            body = given["body"].encode("utf-8", "replace")
        start = self._monotonic()
        answer = await visited(
            self._egress,
            given.get("method", "GET").upper(),
            plain_url(given["url"], given.get("params")),
            min(float(given.get("timeout", TIMEOUT)), order.timeout),
            headers=headers,
            body=body,
            redirects=MOST_REDIRECTS if given.get("follow_redirects", True) else 0,
        )
        elapsed = self._monotonic() - start
        return CallOutcome(
            {
                "status": answer.status,
                "status_code": answer.status,
                "success": answer.status < 400,
                "url": answer.url,
                "headers": dict(answer.headers),
                **await asyncio.to_thread(content_of, answer.body),
                "elapsed": round(elapsed, 6),
            }
        )


def content_of(body: bytes) -> dict[str, Any]:
    """`text`, `json` and `response`, which is one of them; what is no text is in `base64`."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return {"response": None, "json": None, "text": None, "base64": base64.b64encode(body).decode()}
    try:
        value = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return {"response": text, "json": None, "text": text}
    return {"response": value, "json": value, "text": text}


def _refused(name: str) -> None:
    raise ValueError(name)
