"""The binding of a tool of the kind `http`, and the request that it makes of a call's arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, unquote, urlencode, urlsplit

import msgspec

from orchestrator.domain.errors import InvalidRequest
from orchestrator.services.egress import MOST_URL, checked_headers, read_url

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})
SECRET = re.compile(r"\bsecret:([A-Za-z0-9][A-Za-z0-9_.-]{0,99})")
_PLACE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]{0,99})\}")
_DOTS = re.compile(r"(?i)(?:\.|%2e){1,2}\Z")


class HttpBinding(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What `execution.binding` says. Either `url`, or `path` on the address of the tool's node. Both may have
    `{name}` in their path. `query` names arguments; without it, and without a body, all that are not in the path.
    `body` is json, form, none, or the name of an argument. `ok` are the statuses that mean success, without it all
    of 200 to 299. `result` is a JSON Pointer into the answer."""

    url: str = ""
    path: str = ""
    method: str = "POST"
    headers: dict[str, str] = {}
    query: list[str] | None = None
    body: str | None = None
    response: Literal["json", "text", "binary"] = "json"
    ok: list[int] | None = None
    result: str = ""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """`headers` still have the names of secrets in place of their values."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


def read_binding(given: Mapping[str, Any]) -> HttpBinding:
    """Raises InvalidRequest."""
    try:
        binding = msgspec.convert(dict(given), HttpBinding)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None
    if bool(binding.url) == bool(binding.path):
        raise _wrong("either url or path")
    if binding.method not in METHODS:
        raise _wrong(f"method: one of {', '.join(METHODS)}")
    try:
        checked_headers(binding.headers)
        _check_place(binding)
    except InvalidRequest as error:
        raise _wrong(error.message) from None
    if binding.ok is not None and not all(100 <= status <= 599 for status in binding.ok):
        raise _wrong("ok: statuses from 100 to 599")
    if binding.result and not binding.result.startswith("/"):
        raise _wrong("result: a JSON Pointer begins with '/'")
    if binding.result and binding.response != "json":
        raise _wrong("result: only for a response that is json")
    return binding


def request_of(binding: HttpBinding, base: str, arguments: Mapping[str, Any]) -> HttpRequest:
    """`base` is the address of the node, '' for a binding with a URL. Raises InvalidRequest for arguments that cannot
    stand where the binding puts them."""
    template = base.rstrip("/") + binding.path if base else binding.url
    url, in_path = _filled(template, arguments)
    left = {name: value for name, value in arguments.items() if name not in in_path}
    body = binding.body or ("none" if binding.method in BODILESS else "json")
    names = binding.query if binding.query is not None else (list(left) if body == "none" else [])
    pairs = _pairs({name: left[name] for name in names if name in left})
    if pairs:
        url += ("&" if urlsplit(url).query else "?") + urlencode(pairs)
    if len(url) > MOST_URL:
        raise InvalidRequest(f"arguments: the URL would have {len(url):,} characters")
    rest = {name: value for name, value in left.items() if name not in names}
    kind, content = _body(body, rest)
    headers = dict(binding.headers)
    if kind and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = kind
    return HttpRequest(binding.method, url, headers, content)


def _check_place(binding: HttpBinding) -> None:
    template = binding.url or f"http://node{binding.path}"
    if binding.path and (not binding.path.startswith("/") or binding.path.startswith("//")):
        raise InvalidRequest("path: begins with one '/'")
    read_url(_PLACE.sub("x", template))
    head, _, rest = template.partition("://")
    authority, _, path = rest.partition("/")
    path, _, query = path.partition("?")
    if "{" in head + authority + query or "#" in rest or "{" in _PLACE.sub("", path):
        raise InvalidRequest("url: {name} may only stand in the path, without a fragment")
    if any(_DOTS.match(segment) for segment in path.split("/")):
        raise InvalidRequest("url: the path has a segment of dots")


def _filled(template: str, arguments: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    """The URL with its places filled, and which arguments that took."""
    names = frozenset(_PLACE.findall(template))
    if not names:
        return template, names
    url = _PLACE.sub(lambda found: _segment(found[1], arguments), template)
    if any(_DOTS.match(segment) for segment in urlsplit(url).path.split("/")):
        raise InvalidRequest("arguments: a segment of the path would be dots")
    return url, names


def _segment(name: str, arguments: Mapping[str, Any]) -> str:
    """One argument, so written that it stays within its segment of the path, however often a server decodes it."""
    text = _scalar(name, arguments.get(name))
    parts = re.split(r"[/\\]", _decoded(text))
    if not text or not "".join(parts).isprintable() or any(part in (".", "..", "%") for part in parts):
        raise InvalidRequest(f"arguments.{name}: cannot stand in a path")
    return quote(text, safe="")


def _decoded(text: str) -> str:
    """What a server makes of it that decodes more than once; "%" where there is no end to it."""
    for _ in range(4):
        decoded = unquote(text)
        if decoded == text:
            return text
        text = decoded
    return "%"


def _scalar(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise InvalidRequest(f"arguments.{name}: a text or a number is needed here")


def _pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """As a query or form has them: a list is its name several times, null is left out."""
    found = []
    for name, value in values.items():
        items: Iterable[Any] = value if isinstance(value, list | tuple) else (value,)
        for item in items:
            if isinstance(item, Mapping | list | tuple):
                found.append((name, msgspec.json.encode(item).decode()))
            elif item is not None:
                found.append((name, _scalar(name, item)))
    return found


def _body(body: str, rest: Mapping[str, Any]) -> tuple[str, bytes]:
    """Content type ('' without a body) and content."""
    if body == "none":
        return "", b""
    if body == "json":
        return "application/json", msgspec.json.encode(rest)
    if body == "form":
        return "application/x-www-form-urlencoded", urlencode(_pairs(rest)).encode()
    value = rest.get(body)
    if value is None:
        return "", b""
    if isinstance(value, str):
        return "text/plain; charset=utf-8", value.encode()
    return "application/json", msgspec.json.encode(value)


def _wrong(text: str) -> InvalidRequest:
    return InvalidRequest(f"execution.binding: {text}", details={"field": "execution.binding"})
