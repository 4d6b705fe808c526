"""Configurations of other gateways: what is taken over loads, and nothing goes unmentioned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.domain.errors import ConfigurationError
from orchestrator.settings import NO_FILE, Settings, legacy_view, load
from orchestrator.settings.importing import Imported, Outcome, from_litellm, from_ollama_orchestrator
from orchestrator.settings.legacy import KEYS

DEPLOYMENT = """
server: {port: 5100, host: '0.0.0.0'}
logging: {level: 'info', format: 'json'}
metrics: {retentionHours: 24, persistence: {enabled: true}}
circuitBreaker: {failureThreshold: 0.4, recoveryTimeout: 30000}
queue: {enabled: true, maxSize: 500, timeout: 30000}
servers:
  - {id: gpu1, url: 'http://10.0.0.1:11434/', maxConcurrency: 6}
  - {id: vllm, url: 'http://10.0.0.2:8000', type: openai, apiKey: 'env:VLLM_KEY'}
"""
CANONICAL: dict[str, Any] = {
    "port": 5100,
    "host": "127.0.0.1",
    "logLevel": "warn",
    "enableQueue": True,
    "enableAuth": True,
    "enablePersistence": True,
    "persistencePath": "./state",
    "security": {
        "apiKeys": ["user-key-user-key-1", "both-both-both-both-1"],
        "adminApiKeys": ["both-both-both-both-1"],
    },
    "loadBalancer": {"weights": {"latency": 0.35}, "thresholds": {"maxP95Latency": 2500}},
    "circuitBreaker": {"baseFailureThreshold": 6, "openTimeout": 120000, "errorRateSmoothing": 0.3},
    "retry": {"maxRetriesPerServer": 3},
    "healthCheck": {"intervalMs": 15000, "retryAttempts": 2},
    "somethingNew": {"a": 1},
    "servers": [
        {"id": "a", "url": "http://a:11434", "type": "auto", "maxConcurrency": 2, "apiKey": "sk-${x}-in-clear"},
        {"id": "b:c", "url": "http://b:11434"},
        {"id": "d", "url": "not a url"},
        {"id": "e"},
    ],
}
LITELLM = """
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY, rpm: 480, temperature: 0.2}
    model_info: {mode: chat}
  - model_name: chat
    litellm_params: {model: ollama_chat/llama3.1, api_base: 'http://gpu1:11434', max_parallel_requests: 4}
  - model_name: chat
    litellm_params: {model: hosted_vllm/meta/llama-70b, api_base: 'http://gpu2:8000/v1', api_key: sk-vllm, weight: 3}
  - model_name: sonnet
    litellm_params: {model: anthropic/claude-sonnet-4-5}
  - model_name: elsewhere
    litellm_params: {model: openai/qwen, api_base: os.environ/QWEN_BASE, api_key: os.environ/QWEN_KEY}
  - model_name: azure-gpt
    litellm_params: {model: azure/gpt-4, api_base: 'https://x.openai.azure.com'}
  - model_name: nowhere
    litellm_params: {model: hosted_vllm/x}
  - {model_name: broken}
litellm_settings:
  drop_params: true
  request_timeout: 600
  num_retries: 2
  fallbacks: [{gpt-4o: [chat]}, {'*': [sonnet]}]
  context_window_fallbacks: [{gpt-4o: [sonnet]}]
  callbacks: [otel]
  cache: true
router_settings:
  routing_strategy: least-busy
  num_retries: 3
  timeout: 30
  allowed_fails: 3
  cooldown_time: 60
  redis_host: os.environ/REDIS_HOST
  model_group_alias: {gpt-4: gpt-4o, secret-name: {model: sonnet, hidden: true}}
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
  database_url: postgresql://u:hunter2@db/x
environment_variables: {OPENAI_API_KEY: sk-not-to-be-shown}
"""
ENVIRON = {"LITELLM_MASTER_KEY": "sk-master-sk-master-1", "QWEN_BASE": "http://qwen:8000/v1", "VLLM_KEY": "x"}


def round_trip(made: Imported, tmp_path: Path) -> Settings:
    """What an operator who starts with the written file gets."""
    file = tmp_path / "orchestrator.yaml"
    file.write_text(made.text())
    return load(file, ENVIRON).settings


def of(made: Imported, outcome: Outcome) -> set[str]:
    return {one.source for one in made.findings if one.outcome is outcome}


def test_the_layout_of_the_deployment_guide(tmp_path: Path) -> None:
    made = from_ollama_orchestrator(yaml.safe_load(DEPLOYMENT))
    settings = round_trip(made, tmp_path)
    assert (settings.server.port, settings.server.host, settings.logging.format) == (5100, "0.0.0.0", "json")
    assert (settings.queue.enabled, settings.queue.max_size, settings.queue.timeout) == (True, 500, 30.0)
    assert (settings.circuit_breaker.error_rate_threshold, settings.circuit_breaker.open_time) == (0.4, 30.0)
    first, second = settings.nodes
    assert (first.id, first.url, first.max_concurrency, first.kind) == ("gpu1", "http://10.0.0.1:11434", 6, "ollama")
    assert second.kind == "openai"
    assert second.api_key is not None
    assert second.api_key.get_secret_value() == "env:VLLM_KEY"
    assert of(made, Outcome.INERT) == {"metrics.retentionHours", "metrics.persistence.enabled"}
    assert "server.host" in of(made, Outcome.ATTENTION)  # open to the network without a key


def test_the_layout_of_the_code(tmp_path: Path) -> None:
    made = from_ollama_orchestrator(CANONICAL)
    settings = round_trip(made, tmp_path)
    assert (settings.server.port, settings.logging.level, str(settings.data_dir)) == (5100, "warning", "state")
    assert settings.load_balancer.weights.latency == 0.35
    assert settings.load_balancer.thresholds.max_p95_latency == 2.5
    assert (settings.circuit_breaker.open_time, settings.retry.max_attempts) == (120.0, 4)
    assert [(key.key.get_secret_value(), key.role) for key in settings.auth.keys] == [
        ("user-key-user-key-1", "developer"),
        ("both-both-both-both-1", "admin"),
    ]
    assert [node.id for node in settings.nodes] == ["a", "b-c"]
    assert settings.nodes[0].api_key is not None
    assert settings.nodes[0].api_key.get_secret_value() == "sk-${x}-in-clear"
    assert {"enablePersistence", "circuitBreaker.errorRateSmoothing", "healthCheck.retryAttempts"} <= of(
        made, Outcome.INERT
    )
    assert of(made, Outcome.NO_EQUIVALENT) == {"somethingNew.a"}
    assert of(made, Outcome.REFUSED) == {"nodes[2].url", "servers[3]"}


def test_every_key_of_the_contract_is_taken_over(tmp_path: Path) -> None:
    view = legacy_view(Settings())
    made = from_ollama_orchestrator({"success": True, "config": view, "source": "default"})
    assert set(KEYS) <= of(made, Outcome.MAPPED)
    assert of(made, Outcome.NO_EQUIVALENT) == of(made, Outcome.REFUSED) == set()
    assert round_trip(made, tmp_path) == Settings()


def test_servers_of_a_backup_lose_their_masked_keys(tmp_path: Path) -> None:
    servers = [{"id": "a", "url": "http://a:1", "apiKey": "***REDACTED***", "healthy": True, "models": ["m"]}]
    made = from_ollama_orchestrator({"servers": servers})
    assert round_trip(made, tmp_path).nodes[0].api_key is None
    assert of(made, Outcome.ATTENTION) == {"servers[0].apiKey"}


def test_litellm(tmp_path: Path) -> None:
    made = from_litellm(yaml.safe_load(LITELLM))
    assert made.tree["auth"]["keys"] == [{"name": "master", "key": "env:LITELLM_MASTER_KEY", "role": "admin"}]
    settings = round_trip(made, tmp_path)
    nodes = {node.id: node for node in settings.nodes}
    assert {node.id: (node.url, node.kind.value) for node in settings.nodes} == {
        "api.openai.com": ("https://api.openai.com", "openai"),
        "gpu1-11434": ("http://gpu1:11434", "ollama"),
        "gpu2-8000": ("http://gpu2:8000", "openai"),
        "api.anthropic.com": ("https://api.anthropic.com", "anthropic"),
        "qwen_base": ("http://qwen:8000/v1", "openai"),
    }
    keys = {name: node.api_key.get_secret_value() for name, node in nodes.items() if node.api_key is not None}
    assert keys == {
        "api.openai.com": "env:OPENAI_API_KEY",
        "gpu2-8000": "sk-vllm",
        "api.anthropic.com": "env:ANTHROPIC_API_KEY",
        "qwen_base": "env:QWEN_KEY",
    }
    assert (nodes["gpu1-11434"].max_concurrency, nodes["gpu2-8000"].weight) == (4, 3.0)
    assert settings.models.aliases == {
        "chat": ("llama3.1", "meta/llama-70b"),
        "sonnet": ("claude-sonnet-4-5",),
        "elsewhere": ("qwen",),
        "gpt-4": ("gpt-4o",),
        "secret-name": ("sonnet",),
    }
    assert settings.gateway.model_fallbacks == {"gpt-4o": ("chat",)}
    assert (settings.gateway.policy, settings.gateway.timeout) == ("least_connections", 30.0)
    assert (settings.retry.max_attempts, settings.circuit_breaker.open_time) == (4, 60.0)
    assert settings.circuit_breaker.base_failure_threshold == 4
    assert (settings.auth.enabled, settings.auth.keys[0].role) == (True, "admin")
    assert of(made, Outcome.REFUSED) == {"model_list[6]", "model_list[7]"}
    assert {
        "model_list[0].litellm_params.rpm",
        "model_list[0].litellm_params.temperature",
        "model_list[5]",
        "litellm_settings.fallbacks.*",
        "litellm_settings.context_window_fallbacks",
        "litellm_settings.cache",
        "litellm_settings.callbacks",
        "router_settings.redis_host",
        "general_settings.database_url",
        "environment_variables",
    } <= of(made, Outcome.NO_EQUIVALENT)
    told = repr(made.findings)
    assert not [text for text in ("sk-vllm", "hunter2", "sk-not-to-be-shown") if text in told]


def test_every_setting_of_a_file_is_in_the_report() -> None:
    data = yaml.safe_load(LITELLM)
    told = {one.source for one in from_litellm(data).findings}
    for section in ("litellm_settings", "router_settings", "general_settings"):
        for name in data[section]:
            assert any(source.startswith(f"{section}.{name}") for source in told), name
    for index in range(len(data["model_list"])):
        assert f"model_list[{index}]" in told


def test_one_server_with_two_keys_is_one_node_and_says_so(tmp_path: Path) -> None:
    entries = [
        {"model_name": "m", "litellm_params": {"model": "gpt-4o", "api_key": key, "max_parallel_requests": 2}}
        for key in ("sk-one", "sk-two")
    ]
    entries.append({"model_name": "gpt-4o", "litellm_params": {"model": "gpt-4o", "api_base": "http://x:1/v1/"}})
    entries.append({"model_name": "gpt-4o", "litellm_params": {"model": "openai/other", "api_base": "http://x:1"}})
    made = from_litellm({"model_list": entries})
    settings = round_trip(made, tmp_path)
    assert [(node.url, node.max_concurrency) for node in settings.nodes] == [
        ("https://api.openai.com", 4),
        ("http://x:1", None),
    ]
    assert "model_list[1].litellm_params.api_key" in of(made, Outcome.NO_EQUIVALENT)
    assert settings.models.aliases == {"m": ("gpt-4o",)}
    assert settings.gateway.model_fallbacks == {"gpt-4o": ("other",)}


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"model_list": "x"},
        {"model_list": [1, None, {"litellm_params": []}, {"litellm_params": {"model": 5}}]},
        {"model_list": [{"litellm_params": {"model": "openai/x", "api_base": "http://[", "weight": "heavy"}}]},
        {"router_settings": {"num_retries": "many", "fallbacks": 5, "model_group_alias": {"a": "a", "b": 5}}},
        {"litellm_settings": [1], "general_settings": {"master_key": 5}},
        {"router_settings": {"num_retries": 10_000, "timeout": -1, "cooldown_time": True}},
    ],
)
def test_what_is_wrong_there_is_left_out_here(data: dict[str, Any], tmp_path: Path) -> None:
    assert round_trip(from_litellm(data), tmp_path).retry.max_attempts == 3
    assert round_trip(from_ollama_orchestrator(data), tmp_path).nodes == ()


@pytest.mark.parametrize("name", ["config.yaml", "config.json"])
@pytest.mark.parametrize("layout", ["deployment", "code"])
def test_a_predecessors_file_is_loaded_as_it_is(tmp_path: Path, name: str, layout: str) -> None:
    data = yaml.safe_load(DEPLOYMENT) if layout == "deployment" else {**CANONICAL, "servers": CANONICAL["servers"][:2]}
    file = tmp_path / name
    file.write_text(json.dumps(data) if name.endswith("json") else yaml.safe_dump(data))
    loaded = load(None, {"ORCHESTRATOR_CONFIG_FILE": str(file), "ORCHESTRATOR_PORT": "5200"})
    assert loaded.file == file
    assert loaded.settings.server.port == 5200
    assert [node.url for node in loaded.settings.nodes] == (
        ["http://10.0.0.1:11434", "http://10.0.0.2:8000"]
        if layout == "deployment"
        else ["http://a:11434", "http://b:11434"]
    )
    assert loaded.origins["nodes"].source == "file"
    assert "orchestrator import ollama-orchestrator" in loaded.warnings[0]
    assert len(loaded.warnings) > 2


def test_a_wrong_value_of_a_predecessors_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("port: 99999\nservers: [{id: a, url: nonsense}]\n")
    with pytest.raises(ConfigurationError) as caught:
        load(file, {})
    assert [one["path"] for one in caught.value.details["problems"]] == ["server.port", "nodes[0].url"]
    assert caught.value.details["problems"][0]["where"] == str(file)


def test_a_file_of_ours_is_not_taken_for_a_predecessors(tmp_path: Path) -> None:
    file = tmp_path / "orchestrator.yaml"
    for text in (
        "queue: {maxSize: 5}\nnodes: []",
        "servers: 5",
        "server: {port: 1}\nlogging: {levle: info}",
        "nodez: []",
    ):
        file.write_text(text)
        with pytest.raises(ConfigurationError):
            load(file, {})
    file.write_text("queue: {max_size: 5, timeout: 30}\nserver: {port: 5100}")
    assert load(file, {}).settings.queue.timeout == 30
    assert load(NO_FILE, {}).warnings == []
