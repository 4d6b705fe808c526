"""`GET /metrics` of a running service, read by Prometheus' own parsers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.services.metrics import METRICS
from orchestrator.testing.model_server import ModelServer
from service import RunningService, merged, running_service

AWKWARD = 'we"ird\\na\\me'  # every character that the format escapes, but the line feed
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@asynccontextmanager
async def fleet_of_one(tmp_path: Path, **config: Any) -> AsyncIterator[tuple[RunningService, ModelServer]]:
    async with ModelServer(models=["llama3:8b", AWKWARD], dialects=["openai"], tokens=5) as node:
        tree = merged({"nodes": [{"id": "a", "url": node.url, "kind": "openai"}]}, config)
        async with running_service(tree, tmp_path) as running:
            await running.healthy(1)
            yield running, node


async def ask(client: httpx2.AsyncClient, model: str = "llama3:8b", **fields: Any) -> httpx2.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **fields}
    return await client.post("/v1/chat/completions", json=body)


def parsed(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


async def test_numbers_after_real_traffic(tmp_path: Path) -> None:
    async with fleet_of_one(tmp_path) as (running, _), httpx2.AsyncClient(base_url=running.url) as client:
        for _ in range(3):
            assert (await ask(client)).status_code == 200
        assert (await ask(client, stream=True)).status_code == 200
        assert (await ask(client, model="nonesuch")).status_code == 404

        answer = await client.get("/metrics")

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = parsed(answer.text)
    pair = {"server": "a", "model": "llama3:8b"}
    assert value(samples, "orchestrator_requests_total") == 5
    assert value(samples, "orchestrator_errors_total") == 0  # an unknown model is the client's mistake
    assert value(samples, "orchestrator_request_errors_total", code="model_not_found") == 1
    tokens = value(samples, "orchestrator_completion_tokens_total", **pair)
    assert tokens - value(samples, "orchestrator_estimated_tokens_total", **pair) == 15  # told by the node
    assert value(samples, "orchestrator_tokens_generated_total") == tokens > 15
    assert value(samples, "orchestrator_prompt_tokens_total", **pair) > 0
    assert value(samples, "orchestrator_server_requests_total", **pair) == 4
    assert value(samples, "orchestrator_streams_total", **pair) == 1
    endpoint = {"endpoint": "openai_chat"}
    assert value(samples, "orchestrator_responses_total", **endpoint, status_class="2xx") == 4
    assert value(samples, "orchestrator_responses_total", **endpoint, status_class="4xx") == 1
    for histogram in ("orchestrator_request_duration_seconds", "orchestrator_time_to_first_token_seconds"):
        assert value(samples, f"{histogram}_bucket", **pair, le="+Inf") == 4
        assert value(samples, f"{histogram}_count", **pair) == 4
        assert value(samples, f"{histogram}_sum", **pair) > 0
    assert value(samples, "orchestrator_in_flight_requests", **pair) == 0
    assert value(samples, "orchestrator_servers_healthy") == 1
    assert value(samples, "orchestrator_queue_max_size") == 1000
    states = {state: value(samples, "orchestrator_circuit_breaker_state", **pair, state=state) for state in
              ("closed", "open", "half_open")}  # fmt: skip
    assert states == {"closed": 1, "open": 0, "half_open": 0}
    assert value(samples, "orchestrator_ready") == 1
    assert value(samples, "process_resident_memory_bytes") > 1 << 20


async def test_windows_tell_what_the_history_holds(tmp_path: Path) -> None:
    async with fleet_of_one(tmp_path) as (running, _), httpx2.AsyncClient(base_url=running.url) as client:
        for _ in range(4):
            await ask(client)
        await ask(client, model="nonesuch")
        samples = parsed((await client.get("/metrics")).text)

    pair = {"server": "a", "model": "llama3:8b"}
    for window in ("1m", "5m", "15m", "1h"):
        assert value(samples, "orchestrator_window_requests", **pair, window=window) == 4
        assert value(samples, "orchestrator_window_errors", **pair, window=window) == 0
        assert value(samples, "orchestrator_window_latency_count", **pair, window=window) == 4
        assert value(samples, "orchestrator_window_latency_sum_ms", **pair, window=window) > 0
        # The service has run for a moment: no window pretends to know an hour.
        assert 0 < value(samples, "orchestrator_window_covered_seconds", window=window) < 60
    p50 = value(samples, "orchestrator_latency_p50_ms", **pair)
    assert 0 < p50 <= value(samples, "orchestrator_latency_p95_ms", **pair)
    assert value(samples, "orchestrator_latency_p99_ms", **pair) >= p50
    assert value(samples, "orchestrator_success_rate", **pair) == 1
    assert value(samples, "orchestrator_avg_tokens_per_request", **pair) == 5
    assert value(samples, "orchestrator_requests_per_second") > 0
    assert value(samples, "orchestrator_throughput_per_min", **pair) > 0
    assert value(samples, "orchestrator_error_rate") == 0
    assert not [labels for name, labels in samples if ("model", "nonesuch") in labels], "a client can make up labels"


async def test_failures_are_told_by_kind(tmp_path: Path) -> None:
    async with ModelServer() as good, ModelServer() as bad:
        nodes = [{"id": "good", "url": good.url, "kind": "openai"}, {"id": "bad", "url": bad.url, "kind": "openai"}]
        config = {"nodes": nodes, "circuit_breaker": {"base_failure_threshold": 3, "min_failure_threshold": 1}}
        async with running_service(config, tmp_path) as running, httpx2.AsyncClient(base_url=running.url) as client:
            await running.healthy(2)
            bad.mode("status", status=500)
            for _ in range(12):
                assert (await ask(client, model="demo")).status_code == 200
            good.mode("status", status=500)
            assert (await ask(client, model="demo")).status_code >= 500
            samples = parsed((await client.get("/metrics")).text)

    failures = value(samples, "orchestrator_attempt_failures_total", server="bad", kind="status")
    assert failures >= 1
    assert value(samples, "orchestrator_failovers_total") >= 1
    assert value(samples, "orchestrator_retries_total") >= value(samples, "orchestrator_failovers_total")
    assert value(samples, "orchestrator_errors_total") == 1
    assert value(samples, "orchestrator_error_rate") == pytest.approx(1 / 13)


async def test_breaker_transitions_are_counted(tmp_path: Path) -> None:
    async with ModelServer() as node:
        config = {"nodes": [{"id": "a", "url": node.url, "kind": "openai"}], "retry": {"max_attempts": 1}}
        async with running_service(config, tmp_path) as running, httpx2.AsyncClient(base_url=running.url) as client:
            await running.healthy(1)
            node.mode("status", status=500)
            for _ in range(10):
                await ask(client, model="demo")
            samples = parsed((await client.get("/metrics")).text)

    model = next(dict(labels)["model"] for name, labels in samples if name.endswith("breaker_transitions_total"))
    pair = {"server": "a", "model": model}
    assert value(samples, "orchestrator_circuit_breaker_transitions_total", **pair, state="open") == 1
    assert value(samples, "orchestrator_circuit_breaker_state", **pair, state="open") == 1


async def test_every_name_is_there_and_awkward_names_are_escaped(tmp_path: Path) -> None:
    async with fleet_of_one(tmp_path) as (running, _), httpx2.AsyncClient(base_url=running.url) as client:
        assert (await ask(client, model=AWKWARD)).status_code == 200
        answer = await client.get("/metrics")

    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    for name, metric in METRICS.items():
        family = families[name.removesuffix("_total")]
        assert family.type == metric.kind.value, name
        assert family.documentation == metric.help
    assert AWKWARD in {sample.labels["model"] for sample in families["orchestrator_streams"].samples}
    assert answer.text.endswith("\n")


async def test_open_metrics_by_accept(tmp_path: Path) -> None:
    async with fleet_of_one(tmp_path) as (running, _), httpx2.AsyncClient(base_url=running.url) as client:
        await ask(client, model=AWKWARD)
        accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
        answer = await client.get("/metrics", headers={"accept": accept})

    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name for family in openmetrics.text_string_to_metric_families(answer.text)}
    assert {name.removesuffix("_total") for name in METRICS} <= families


async def test_who_may_read_them(tmp_path: Path) -> None:
    auth = {"enabled": True, "keys": [{"name": "watcher", "key": "watcher-key-0123456789", "role": "viewer"}]}
    async with fleet_of_one(tmp_path, auth=auth) as (running, _), httpx2.AsyncClient(base_url=running.url) as client:
        assert (await client.get("/metrics")).status_code == 200
    closed = {"require_auth": True}
    async with (
        fleet_of_one(tmp_path, auth=auth, metrics=closed) as (running, _),
        httpx2.AsyncClient(base_url=running.url) as client,
    ):
        assert (await client.get("/metrics")).status_code == 401
        key = {"authorization": "Bearer watcher-key-0123456789"}
        assert (await client.get("/metrics", headers=key)).status_code == 200
    async with (
        fleet_of_one(tmp_path, metrics={"enabled": False}) as (running, _),
        httpx2.AsyncClient(base_url=running.url) as client,
    ):
        assert (await client.get("/metrics")).status_code == 404
