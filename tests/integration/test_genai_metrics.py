"""The GenAI metrics as a collector gets them: names, units and bounds of the conventions, and nothing made up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE, HistogramDataPoint

from orchestrator.testing.model_server import ModelServer
from otlp_collector import Collector
from service import RunningService, running_service

DURATIONS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
ADVISED = {
    "gen_ai.client.token.usage": ("{token}", [4**power for power in range(14)]),
    "gen_ai.client.operation.duration": ("s", DURATIONS),
    "gen_ai.server.request.duration": ("s", DURATIONS),
    "gen_ai.server.time_to_first_token": (
        "s",
        [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0],
    ),
    "gen_ai.server.time_per_output_token": (
        "s",
        [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5],
    ),
}
PROMPT = "a prompt that no metric may hold"


def config(collector: Collector, *nodes: ModelServer, **more: Any) -> dict[str, Any]:
    return {
        "nodes": [{"id": f"n{i}", "url": node.url, "kind": "openai"} for i, node in enumerate(nodes)],
        "metrics": {"otlp": True},
        "tracing": {"endpoint": collector.url, "headers": {"x-collector-key": "open sesame"}, "service_name": "fleet"},
        **more,
    }


async def ask(running: RunningService, model: str = "demo", stream: bool = False) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "stream": stream}
    async with httpx2.AsyncClient(base_url=running.url) as client:
        return (await client.post("/v1/chat/completions", json=body)).status_code


def attributes(point: HistogramDataPoint) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in point.attributes}


def points(collector: Collector, name: str) -> list[HistogramDataPoint]:
    return list(collector.metrics[name].histogram.data_points)


async def test_every_metric_of_the_conventions(tmp_path: Path, collector: Collector) -> None:
    async with (
        ModelServer(tokens=6, ttft_ms=30, tokens_per_second=50) as node,
        running_service(config(collector, node), tmp_path) as running,
    ):
        await running.healthy(1)
        assert await ask(running) == 200
        assert await ask(running, stream=True) == 200
        assert await ask(running, stream=True) == 200

    assert set(collector.paths) == {"/v1/metrics"}  # traces are off
    assert collector.headers[0]["x-collector-key"] == "open sesame"
    assert collector.metrics.keys() == ADVISED.keys()
    host, port = node.url.removeprefix("http://").split(":")
    common = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "demo",
        "gen_ai.response.model": "demo",
        "server.address": host,
        "server.port": int(port),
    }
    for name, (unit, bounds) in ADVISED.items():
        metric = collector.metrics[name]
        assert metric.unit == unit
        assert metric.histogram.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
        for point in metric.histogram.data_points:
            assert list(point.explicit_bounds) == bounds
            assert sum(point.bucket_counts) == point.count
            assert len(point.bucket_counts) == len(bounds) + 1
            assert 0 < point.start_time_unix_nano < point.time_unix_nano
            assert common.items() <= attributes(point).items()
    counts = {name: [point.count for point in points(collector, name)] for name in ADVISED}
    assert counts["gen_ai.server.request.duration"] == [3]
    assert counts["gen_ai.client.operation.duration"] == [3]
    assert counts["gen_ai.server.time_to_first_token"] == [2]  # only a stream shows when its first token came
    assert counts["gen_ai.server.time_per_output_token"] == [2]
    (first,) = points(collector, "gen_ai.server.time_to_first_token")
    assert 0.03 <= first.min <= first.max < 5
    (later,) = points(collector, "gen_ai.server.time_per_output_token")
    assert 0.01 < later.min < 0.5  # 20 ms by the node's settings
    assert attributes(later)["orchestrator.usage.estimated"] is True  # this node tells no usage of streams
    told = [
        point for point in points(collector, "gen_ai.client.token.usage") if len(attributes(point)) == len(common) + 1
    ]
    usage = {attributes(point)["gen_ai.token.type"]: point for point in told}
    assert usage.keys() == {"input", "output"}
    assert (usage["output"].count, usage["output"].sum) == (1, 6)
    assert list(usage["output"].bucket_counts)[:4] == [0, 0, 1, 0]  # 6 tokens are in (4, 16]
    (counted,) = (one for one in points(collector, "gen_ai.client.token.usage") if one not in told)
    assert (attributes(counted)["orchestrator.usage.estimated"], counted.count) == (True, 2)
    resource = ExportMetricsServiceRequest.FromString(collector.bodies[0]).resource_metrics[0].resource
    assert {one.key: one.value.string_value for one in resource.attributes}["service.name"] == "fleet"
    assert PROMPT.encode() not in b"".join(collector.bodies)


async def test_failures_have_their_type_and_made_up_models_no_name(tmp_path: Path, collector: Collector) -> None:
    async with (
        ModelServer() as one,
        ModelServer() as two,
        running_service(config(collector, one, two), tmp_path) as running,
    ):
        await running.healthy(2)
        one.mode("status", status=500)
        two.mode("status", status=500)
        assert await ask(running) >= 500
        assert await ask(running, model="made up") == 404

    asked = {attributes(point)["error.type"]: point for point in points(collector, "gen_ai.server.request.duration")}
    assert asked.keys() == {"upstream_status", "model_not_found"}
    assert attributes(asked["upstream_status"])["gen_ai.request.model"] == "demo"
    assert "gen_ai.request.model" not in attributes(asked["model_not_found"])
    assert "server.address" not in attributes(asked["model_not_found"])
    tried = points(collector, "gen_ai.client.operation.duration")
    assert {attributes(point)["server.port"] for point in tried} == {
        int(node.url.split(":")[-1]) for node in (one, two)
    }
    assert {attributes(point)["error.type"] for point in tried} == {"status"}
    assert "gen_ai.client.token.usage" not in collector.metrics
    assert "gen_ai.server.time_to_first_token" not in collector.metrics
    assert b"made up" not in b"".join(collector.bodies)


async def test_sums_are_sent_while_the_service_runs(tmp_path: Path, collector: Collector) -> None:
    more = {"metrics": {"otlp": True, "otlp_interval": "1s"}}
    async with ModelServer() as node, running_service(config(collector, node, **more), tmp_path) as running:
        await running.healthy(1)
        assert await ask(running) == 200
        await running.until(lambda: collector.metrics)
        assert [point.count for point in points(collector, "gen_ai.server.request.duration")] == [1]
        assert await ask(running) == 200

    assert [point.count for point in points(collector, "gen_ai.server.request.duration")] == [2]


async def test_they_go_beside_traces(tmp_path: Path, collector: Collector) -> None:
    more = {"tracing": {"enabled": True, "endpoint": f"{collector.url}/v1/traces"}}
    async with ModelServer() as node, running_service(config(collector, node, **more), tmp_path) as running:
        await running.healthy(1)
        assert await ask(running) == 200

    assert len(collector.spans) == 2
    assert collector.metrics


async def test_nothing_is_sent_unless_asked_for(tmp_path: Path, collector: Collector) -> None:
    async with ModelServer() as node, running_service(config(collector, node, metrics={}), tmp_path) as running:
        await running.healthy(1)
        listeners = len(running.service.gateway.on_record)
        assert await ask(running) == 200

    assert collector.bodies == []
    async with ModelServer() as node, running_service(config(collector, node), tmp_path) as running:
        assert len(running.service.gateway.on_record) == listeners + 1


async def test_a_collector_that_is_away_harms_nobody(tmp_path: Path, collector: Collector) -> None:
    more = {"tracing": {"endpoint": "http://127.0.0.1:1"}}
    async with ModelServer() as node, running_service(config(collector, node, **more), tmp_path) as running:
        await running.healthy(1)
        assert await ask(running) == 200


def test_the_extra_is_named_where_it_is_missing(tmp_path: Path) -> None:
    script = f"""
import sys
sys.modules["opentelemetry.sdk"] = sys.modules["opentelemetry.exporter"] = None
import asyncio
from orchestrator.bootstrap import serve
from orchestrator.domain.errors import ConfigurationError
from orchestrator.settings import load
flags = {{"server": {{"port": 0}}, "data_dir": {str(tmp_path)!r}, "metrics": {{"otlp": True}},
         "discovery": {{"enabled": False}}, "demo": {{"enabled": False}}}}
try:
    asyncio.run(serve(load(None, {{}}, flags)))
except ConfigurationError as error:
    print(error.message)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)

    assert "metrics.otlp needs the extra" in done.stdout, done.stderr
