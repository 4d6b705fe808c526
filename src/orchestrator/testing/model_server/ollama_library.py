"""Ollama's routes about models: lists, details, pull, push, create, copy, delete and blobs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec

from orchestrator.domain.errors import InvalidRequest, ModelNotFound, NotFound
from orchestrator.testing.model_server.exchange import Exchange, Route
from orchestrator.testing.model_server.model import Model
from orchestrator.testing.model_server.plan import NDJSON, TEXT, Frame, Plan, Stream, Whole

_encode = msgspec.json.encode
_ZERO_TIME = "0001-01-01T00:00:00Z"
_FOR_EVER = "2318-01-01T00:00:00Z"
_PROGRESS_STEPS = 4


def _name(exchange: Exchange) -> str:
    """The model's name: `model`, or `name` as older clients send it."""
    return exchange.text("model") if "model" in exchange.body else exchange.text("name")


def _known(exchange: Exchange, name: str) -> Model:
    model = exchange.catalogue.find(name)
    if model is None:
        raise ModelNotFound(name)
    return model


def _details(model: Model) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": model.family,
        "families": [model.family],
        "parameter_size": model.parameter_size,
        "quantization_level": model.quantization,
    }


def _listed(model: Model) -> dict[str, Any]:
    name = model.tagged
    return {"name": name, "model": name, "size": model.size, "digest": model.digest, "details": _details(model)}


def tags(exchange: Exchange) -> Plan:
    """`GET /api/tags`"""
    return Whole(_encode({"models": [{**_listed(m), "modified_at": _ZERO_TIME} for m in exchange.catalogue]}))


def running(exchange: Exchange) -> Plan:
    """`GET /api/ps`: the models in memory."""
    clock = exchange.memory.clock()
    models = []
    for resident in exchange.memory.resident:
        expires = _FOR_EVER
        if resident.expires_at is not None:
            until = exchange.now + timedelta(seconds=resident.expires_at - clock)
            expires = until.isoformat().replace("+00:00", "Z")
        memory = {"size_vram": resident.size_vram, "context_length": resident.model.context_length}
        models.append({**_listed(resident.model), "expires_at": expires, **memory})
    return Whole(_encode({"models": models}))


def version(exchange: Exchange) -> Plan:
    """`GET /api/version`"""
    return Whole(_encode({"version": exchange.settings.version}))


def root(_exchange: Exchange) -> Plan:
    """`GET /`"""
    return Whole(b"Ollama is running", content_type=TEXT)


def show(exchange: Exchange) -> Plan:
    """`POST /api/show`"""
    model = _known(exchange, _name(exchange))
    info = {
        "general.architecture": model.family,
        "general.parameter_count": 8_000_000_000,
        f"{model.family}.context_length": model.context_length,
        f"{model.family}.embedding_length": exchange.settings.embedding_dim,
    }
    body = {
        "modelfile": f"FROM {model.tagged}\n",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "details": _details(model),
        "model_info": info,
        "capabilities": list(model.capabilities),
        "modified_at": _ZERO_TIME,
    }
    return Whole(_encode(body))


def _progress(exchange: Exchange, lines: list[dict[str, Any]]) -> Plan:
    """Status lines, streamed unless refused; each counts as a token, so that pacing and faults apply."""
    if not exchange.body.get("stream", True):
        return Whole(_encode(lines[-1]))
    *rest, last = (_encode(line) + b"\n" for line in lines)
    return Stream([*(Frame(data, token=True) for data in rest), Frame(last)], NDJSON)


def _layer(verb: str, model: Model) -> list[dict[str, Any]]:
    layer = {"status": f"{verb} {model.digest[:12]}", "digest": f"sha256:{model.digest}", "total": model.size}
    return [{**layer, "completed": model.size * step // _PROGRESS_STEPS} for step in range(_PROGRESS_STEPS + 1)]


def pull(exchange: Exchange) -> Plan:
    """`POST /api/pull`: any name can be pulled; the model is offered from then on."""
    name = _name(exchange)
    model = exchange.catalogue.find(name) or exchange.catalogue.add(name)
    statuses = ("verifying sha256 digest", "writing manifest", "success")
    after = [{"status": status} for status in statuses]
    return _progress(exchange, [{"status": "pulling manifest"}, *_layer("pulling", model), *after])


def push(exchange: Exchange) -> Plan:
    """`POST /api/push`"""
    model = _known(exchange, _name(exchange))
    after = [{"status": "pushing manifest"}, {"status": "success"}]
    return _progress(exchange, [{"status": "retrieving manifest"}, *_layer("pushing", model), *after])


def create(exchange: Exchange) -> Plan:
    """`POST /api/create`: from a model of the catalogue (`from`) or from uploaded blobs (`files`)."""
    name, files = _name(exchange), exchange.body.get("files") or {}
    if "from" in exchange.body:
        exchange.catalogue.copy(_known(exchange, exchange.text("from")), name)
    elif isinstance(files, dict) and files:
        missing = [digest for digest in files.values() if digest not in exchange.catalogue.blobs]
        if missing:
            raise InvalidRequest(f"blob {missing[0]} not found")
        size = sum(exchange.catalogue.blobs[digest] for digest in files.values())
        exchange.catalogue.add(Model(name, size=size))
    else:
        raise InvalidRequest("neither 'from' or 'files' was specified")
    statuses = ("reading model metadata", "writing manifest", "success")
    return _progress(exchange, [{"status": status} for status in statuses])


def copy(exchange: Exchange) -> Plan:
    """`POST /api/copy`"""
    exchange.catalogue.copy(_known(exchange, exchange.text("source")), exchange.text("destination"))
    return Whole(b"")


def delete(exchange: Exchange) -> Plan:
    """`DELETE /api/delete`: from disk and from memory."""
    model = _known(exchange, _name(exchange))
    exchange.catalogue.remove(model)
    exchange.memory.unload(model)
    return Whole(b"")


def _digest(exchange: Exchange) -> str:
    return exchange.request.path.rpartition("/")[2]


def has_blob(exchange: Exchange) -> Plan:
    """`HEAD /api/blobs/{digest}`"""
    if _digest(exchange) not in exchange.catalogue.blobs:
        raise NotFound("blob not found")
    return Whole(b"")


def upload_blob(exchange: Exchange) -> Plan:
    """`POST /api/blobs/{digest}`: the body's SHA-256 must be the digest."""
    wanted, data = _digest(exchange), exchange.request.body
    found = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if found != wanted:
        raise InvalidRequest(f"digest mismatch, expected {wanted!r}, got {found!r}")
    exchange.catalogue.blobs[wanted] = len(data)
    return Whole(b"", status=201)


ROUTES: Mapping[tuple[str, str], Route] = {
    ("GET", "/"): Route(root, "health"),
    ("HEAD", "/"): Route(root, "health"),
    ("GET", "/api/version"): Route(version, "health"),
    ("HEAD", "/api/version"): Route(version, "health"),
    ("GET", "/api/tags"): Route(tags, "health"),
    ("HEAD", "/api/tags"): Route(tags, "health"),
    ("GET", "/api/ps"): Route(running, "health"),
    ("POST", "/api/show"): Route(show, "health"),
    ("POST", "/api/pull"): Route(pull, "library"),
    ("POST", "/api/push"): Route(push, "library"),
    ("POST", "/api/create"): Route(create, "library"),
    ("POST", "/api/copy"): Route(copy, "library"),
    ("DELETE", "/api/delete"): Route(delete, "library"),
    ("HEAD", "/api/blobs/*"): Route(has_blob, "library"),
    ("POST", "/api/blobs/*"): Route(upload_blob, "library"),
}
