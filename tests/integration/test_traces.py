"""Traces as a collector gets them: spans by the GenAI conventions, over OTLP, and nothing of what was said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from orchestrator.testing.model_server import ModelServer
from otlp_collector import Collector
from service import RunningService, running_service

PROMPT = "a prompt that no trace may hold"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def config(collector: Collector, *nodes: ModelServer, **tracing: Any) -> dict[str, Any]:
    return {
        "nodes": [{"id": f"n{i}", "url": node.url, "kind": "openai"} for i, node in enumerate(nodes)],
        "tracing": {"enabled": True, "endpoint": collector.url, **tracing},
    }


async def ask(running: RunningService, model: str = "demo", stream: bool = False, **headers: str) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "stream": stream}
    async with httpx2.AsyncClient(base_url=running.url, headers=headers) as client:
        return (await client.post("/v1/chat/completions", json=body)).status_code


def attributes(span: Span) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def children(spans: list[Span], of: Span) -> list[Span]:
    return [span for span in spans if span.parent_span_id == of.span_id]


async def test_a_request_is_a_span_with_one_below_it_for_the_attempt(tmp_path: Path, collector: Collector) -> None:
    async with ModelServer(tokens=6) as node:
        options = {"headers": {"x-collector-key": "open sesame"}, "service_name": "gateway"}
        async with running_service(config(collector, node, **options), tmp_path) as running:
            await running.healthy(1)
            assert await ask(running, traceparent=f"00-{TRACE}-{PARENT}-01") == 200
            assert await ask(running, stream=True) == 200

    assert set(collector.paths) == {"/v1/traces"}
    assert collector.headers[0]["x-collector-key"] == "open sesame"
    continued, own = (span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER)
    assert (continued.trace_id.hex(), continued.parent_span_id.hex()) == (TRACE, PARENT)
    assert own.trace_id.hex() != TRACE
    assert own.parent_span_id == b""
    assert continued.name == "chat demo"
    told = attributes(continued)
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.request.model"] == "demo"
    assert told["gen_ai.provider.name"] == "openai"
    assert told["gen_ai.usage.output_tokens"] == 6
    assert told["gen_ai.usage.input_tokens"] > 0
    assert told["http.response.status_code"] == 200
    assert told["http.route"] == "/v1/chat/completions"
    assert f"{told['server.address']}:{told['server.port']}" == node.url.removeprefix("http://")
    assert "error.type" not in told
    assert 0 < attributes(own)["gen_ai.response.time_to_first_chunk"] < 5
    (attempt,) = children(collector.spans, continued)
    assert attempt.kind == Span.SPAN_KIND_CLIENT
    assert attempt.name == "attempt n0"
    start, end = continued.start_time_unix_nano, continued.end_time_unix_nano
    assert start <= attempt.start_time_unix_nano < attempt.end_time_unix_nano <= end
    resources = ExportTraceServiceRequest.FromString(collector.bodies[0]).resource_spans[0].resource.attributes
    assert {one.key: one.value.string_value for one in resources}["service.name"] == "gateway"
    assert PROMPT.encode() not in b"".join(collector.bodies)


async def test_failed_attempts_and_requests_are_errors(tmp_path: Path, collector: Collector) -> None:
    async with (
        ModelServer() as one,
        ModelServer() as two,
        running_service(config(collector, one, two), tmp_path) as running,
    ):
        await running.healthy(2)
        one.mode("status", status=500)
        two.mode("status", status=500)
        assert await ask(running) >= 500
        assert await ask(running, model="nonesuch") == 404

    failed, unknown = (span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER)
    assert failed.status.code == 2
    assert attributes(failed)["error.type"] == "upstream_status"
    attempts = children(collector.spans, failed)
    assert {span.name for span in attempts} == {"attempt n0", "attempt n1"}
    for attempt in attempts:
        assert attempt.status.code == 2
        assert attributes(attempt)["error.type"] == "status"
        assert attributes(attempt)["http.response.status_code"] == 500
    assert attributes(unknown)["error.type"] == "model_not_found"
    assert not children(collector.spans, unknown)


async def test_sampling(tmp_path: Path, collector: Collector) -> None:
    """The client's own decision holds; without one the ratio decides."""
    tracing = {"sample_ratio": 0.0}
    async with ModelServer() as node, running_service(config(collector, node, **tracing), tmp_path) as running:
        await running.healthy(1)
        await ask(running)
        await ask(running, traceparent="not a trace")
        await ask(running, traceparent=f"00-{TRACE}-{PARENT}-00")
        await ask(running, traceparent=f"00-{TRACE}-{PARENT}-01")

    (root,) = (span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER)
    assert root.trace_id.hex() == TRACE


async def test_nothing_is_sent_unless_asked_for(tmp_path: Path, collector: Collector) -> None:
    async with ModelServer() as node, running_service(config(collector, node, enabled=False), tmp_path) as running:
        await running.healthy(1)
        assert await ask(running) == 200

    assert collector.bodies == []


async def test_a_collector_that_is_away_harms_nobody(tmp_path: Path, collector: Collector) -> None:
    async with ModelServer() as node:
        options = config(collector, node, endpoint="http://127.0.0.1:1")
        async with running_service(options, tmp_path) as running:
            await running.healthy(1)
            assert await ask(running) == 200


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path) -> None:
    """In a process in which the SDK cannot be imported; the bare API comes with the web framework."""
    script = f"""
import sys
sys.modules["opentelemetry.sdk"] = sys.modules["opentelemetry.exporter"] = None
import asyncio
from pathlib import Path
from orchestrator.bootstrap import serve
from orchestrator.domain.errors import ConfigurationError
from orchestrator.settings import load
flags = {{"server": {{"port": 0}}, "data_dir": {str(tmp_path)!r}, "tracing": {{"enabled": True}},
         "discovery": {{"enabled": False}}, "demo": {{"enabled": False}}}}
try:
    asyncio.run(serve(load(None, {{}}, flags)))
except ConfigurationError as error:
    print(error.message)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert "pip install 'orchestrator[otel]'" in done.stdout, done.stderr
