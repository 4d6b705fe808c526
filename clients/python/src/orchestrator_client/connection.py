"""What both clients share: where the service is, what a request looks like, what an answer means."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2

from orchestrator_client.calls import PREFIX, Call
from orchestrator_client.errors import (
    OrchestratorError,
    RateLimited,
    Unauthenticated,
    Unavailable,
    Unreachable,
    error_of,
    understood,
)
from orchestrator_client.wait import pause

URL_VARIABLE, KEY_VARIABLE = "ORCHESTRATOR_URL", "ORCHESTRATOR_API_KEY"
DEFAULT_URL = "http://127.0.0.1:9000"
AGENT = "orchestrator-client/0.1.0"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
T = TypeVar("T")


class Connection:
    """Values: no connection is made here. Raises ValueError for what is no URL, Unauthenticated for a key that cannot
    be sent."""

    def __init__(self, base_url: str | None, api_key: str | None, timeout: float, retries: int) -> None:
        url = (base_url or os.environ.get(URL_VARIABLE) or DEFAULT_URL).rstrip("/").removesuffix(PREFIX)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an http or https URL")
        try:
            httpx2.URL(url)
        except httpx2.InvalidURL as error:
            raise ValueError(f"{url!r} is not an http or https URL: {error}") from None
        self.url = url
        self.api_key = (api_key if api_key is not None else os.environ.get(KEY_VARIABLE, "")).strip()
        if not is_header(self.api_key):
            raise Unauthenticated(
                "The API key has characters that cannot be sent, such as a line break inside it or é."
            )
        self.timeout = timeout
        self.retries = retries
        self._local = parts.hostname in _LOOPBACK

    def options(self) -> dict[str, Any]:
        """For httpx2's clients. A proxy for the outside cannot reach this machine's loopback."""
        headers = {"User-Agent": AGENT, "Accept": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return {
            "base_url": self.url + PREFIX,
            "headers": headers,
            "timeout": self.timeout,
            "trust_env": not self._local,
            "limits": httpx2.Limits(max_connections=1_000, max_keepalive_connections=100),
        }

    def again(self, call: Call[T], error: OrchestratorError, failures: int) -> float | None:
        """Seconds until the next try; None: raise the error."""
        if not call.again or failures > self.retries or not isinstance(error, Unreachable | Unavailable | RateLimited):
            return None
        return pause(failures, error.retry_after)

    def unreachable(self, error: httpx2.HTTPError) -> Unreachable:
        if isinstance(error, httpx2.TimeoutException):
            return Unreachable(f"{self.url} did not answer in time.")
        return Unreachable(f"{self.url} cannot be reached: {error}")


def is_header(text: str) -> bool:
    """Whether it can be the value of an HTTP header."""
    return text.isascii() and (text.isprintable() or not text)


def content_of(call: Call[Any]) -> tuple[bytes | None, Mapping[str, str]]:
    """The body and its headers. Raises TypeError, ValueError for what is not JSON."""
    if call.body is None:
        return None, {}
    if isinstance(call.body, bytes):
        return call.body, {"Content-Type": "application/json"}
    text = json.dumps(call.body, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return text.encode(), {"Content-Type": "application/json"}


def read(call: Call[T], status: int, headers: Mapping[str, str], body: bytes) -> T:
    """What the answer says. Raises OrchestratorError."""
    if status >= 300:
        raise error_of(status, body, headers.get("retry-after"))
    with understood(status):
        told = json.loads(body)
        if not isinstance(told, dict):
            raise TypeError
        return call.read(told)
