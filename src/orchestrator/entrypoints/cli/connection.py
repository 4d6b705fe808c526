"""HTTP to a running service, with its errors in words."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2

from orchestrator import __version__
from orchestrator.entrypoints.cli import output
from orchestrator.entrypoints.cli.failure import Refused, ServiceUnreachable, WrongUsage
from orchestrator.entrypoints.cli.json_text import encoded
from orchestrator.entrypoints.cli.options import API_KEY_VARIABLE, Remote
from orchestrator.settings import loopback

ADMIN = "/api/orchestrator"
SEND_TIMEOUT = 120.0  # seconds without progress while bytes are sent
_ENVELOPE = ("error", "code", "retryable")
_PERMISSION = re.compile(r"permission '([a-z.]+)'")


def segment(text: str) -> str:
    """An id or a name as a part of a path: model names may hold `/` and `:`. Raises WrongUsage for one that would make
    it another path."""
    if not text.strip() or text in (".", ".."):
        raise WrongUsage(f"'{text}' is no id or name.")
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise WrongUsage(f"'{output.printable(text)}' is no id or name: it is not UTF-8 text.") from None


def api_key(remote: Remote) -> str:
    """The key of the file, or of the environment; empty when there is none."""
    file = remote.api_key_file
    if file is None:
        return os.environ.get(API_KEY_VARIABLE, "").strip()
    try:
        key = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise WrongUsage(f"--api-key-file: {file} cannot be read: {reason}") from None
    if not key:
        raise WrongUsage(f"--api-key-file: {file} is empty")
    return key


class Connection:
    """One service. Every method raises ServiceUnreachable and Refused."""

    def __init__(self, remote: Remote) -> None:
        self.url = remote.url.rstrip("/")
        headers = {"User-Agent": f"orchestrator-cli/{__version__}", "Accept": "application/json"}
        key = api_key(remote)
        if key:
            if not (key.isascii() and key.isprintable()):
                raise WrongUsage("The API key has a character that a header does not allow.")
            headers["Authorization"] = f"Bearer {key}"
        try:
            parsed = httpx2.URL(self.url)
        except httpx2.InvalidURL as error:
            raise WrongUsage(f"--url: '{remote.url}' is not a URL: {error}") from None
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise WrongUsage(f"--url: '{remote.url}' is not an http or https URL")
        self._client = httpx2.Client(
            base_url=parsed,
            headers=headers,
            timeout=httpx2.Timeout(remote.timeout),
            trust_env=not loopback(parsed.host),  # a proxy for the outside cannot reach this machine's loopback
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self.call("GET", path, query=query)

    def call(self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request; the JSON object that was answered."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        with self._translated():
            answer = self._client.request(method, path, **_json(body), params=given or None)
        if answer.is_error:
            raise refusal(answer.status_code, answer.content)
        return self._object(answer.content)

    def send(
        self,
        method: str,
        path: str,
        content: bytes | Iterator[bytes],
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Sends bytes as they are; the JSON object that was answered."""
        with self._translated():
            answer = self._client.request(
                method, path, content=content, headers=headers, params=query or None, timeout=SEND_TIMEOUT
            )
        if answer.is_error:
            raise refusal(answer.status_code, answer.content)
        return self._object(answer.content)

    def admin(self, method: str, path: str, body: Any = None, **query: Any) -> dict[str, Any]:
        """`call` below /api/orchestrator."""
        return self.call(method, ADMIN + path, body, query)

    @contextmanager
    def stream(
        self,
        path: str,
        body: Any,
        read_timeout: float | None,
        *,
        method: str = "POST",
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[httpx2.Response]:
        """A request whose answer is read bit by bit; leaving the block closes it, which cancels the request."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        with (
            self._translated(),
            self._client.stream(
                method,
                path,
                **_json(body, headers),
                params=given or None,
                timeout=httpx2.Timeout(self._client.timeout.connect, read=read_timeout),
            ) as answer,
        ):
            if answer.is_error:
                raise refusal(answer.status_code, answer.read())
            yield answer

    def _object(self, content: bytes) -> dict[str, Any]:
        try:
            data = json.loads(content)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise Refused(f"What answers at {self.url} is not an orchestrator: no JSON object came back.", 200)
        return data

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx2.ConnectError as error:
            raise ServiceUnreachable(
                f"Nothing answers at {self.url} ({error}).",
                hint="Is it running? Start it with `orchestrator start`, or name another service with --url.",
            ) from None
        except httpx2.TimeoutException:
            raise ServiceUnreachable(
                f"{self.url} did not answer in time.", hint="A longer --timeout may help; `orchestrator doctor` too."
            ) from None
        except httpx2.TransportError as error:
            raise ServiceUnreachable(f"The connection to {self.url} broke: {error}") from None


def _json(body: Any, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A body with its headers, as the client takes them; without a body the headers alone."""
    if body is None:
        return {"headers": headers}
    return {"content": encoded(body), "headers": {"Content-Type": "application/json", **(headers or {})}}


def refusal(status: int, content: bytes) -> Refused:
    """The error of an answer, in any dialect's form."""
    try:
        data = json.loads(content)
    except ValueError:
        data = None
    if not isinstance(data, dict) or "error" not in data:
        return Refused(f"The service answered with status {status}.", status)
    found = data["error"]
    inner = next((part for part in (found, data.get("details")) if isinstance(part, dict)), data)
    text = str(found.get("message", found) if isinstance(found, dict) else found)
    more = {name: value for name, value in inner.items() if name not in (*_ENVELOPE, "message", "status")}
    for name in ("details", "message"):
        said = data.get(name)
        if isinstance(said, str) and said and said not in text:
            text = f"{text}: {said}"
    error = Refused(text, status, hint=_hint(status, text), details=more)
    if isinstance(inner.get("code"), str):
        error.details["code"] = inner["code"]
    return error


def _hint(status: int, text: str) -> str:
    if status == 401:
        return f"Give a key: --api-key-file FILE, or ${API_KEY_VARIABLE}."
    permission = _PERMISSION.search(text)
    if status == 403 and permission is not None:
        return f"Use a key whose role grants {permission[1]}."
    return ""
