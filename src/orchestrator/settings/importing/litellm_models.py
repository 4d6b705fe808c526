"""LiteLLM's model_list as nodes and names of models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from orchestrator.settings.importing.report import Imported, Outcome, items, node_id, secret
from orchestrator.settings.secret import REFERENCE

_VARIABLE = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)\Z")
_VERSION = re.compile(r"/v1/*\Z")


@dataclass(frozen=True, slots=True)
class Provider:
    """What a prefix of LiteLLM's model names stands for: our kind, and where it is unless `api_base` says."""

    kind: str
    url: str = ""
    key: str = ""  # the variable from which LiteLLM takes a key that is not given


_SERVER = Provider("openai")
PROVIDERS: Mapping[str, Provider] = {
    "ollama": Provider("ollama", "http://localhost:11434"),
    "ollama_chat": Provider("ollama", "http://localhost:11434"),
    "anthropic": Provider("anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    "openai": Provider("openai", "https://api.openai.com", "OPENAI_API_KEY"),
    "text-completion-openai": Provider("openai", "https://api.openai.com", "OPENAI_API_KEY"),
    "groq": Provider("openai", "https://api.groq.com/openai", "GROQ_API_KEY"),
    "deepseek": Provider("openai", "https://api.deepseek.com", "DEEPSEEK_API_KEY"),
    "mistral": Provider("openai", "https://api.mistral.ai", "MISTRAL_API_KEY"),
    "together_ai": Provider("openai", "https://api.together.xyz", "TOGETHERAI_API_KEY"),
    "fireworks_ai": Provider("openai", "https://api.fireworks.ai/inference", "FIREWORKS_AI_API_KEY"),
    "openrouter": Provider("openai", "https://openrouter.ai/api", "OPENROUTER_API_KEY"),
    "xai": Provider("openai", "https://api.x.ai", "XAI_API_KEY"),
    "cerebras": Provider("openai", "https://api.cerebras.ai", "CEREBRAS_API_KEY"),
    "nvidia_nim": Provider("openai", "https://integrate.api.nvidia.com", "NVIDIA_NIM_API_KEY"),
    **dict.fromkeys(
        (
            "hosted_vllm",
            "vllm",
            "lm_studio",
            "llamafile",
            "custom_openai",
            "openai_like",
            "litellm_proxy",
            "xinference",
        ),
        _SERVER,
    ),
}
# Parameters of a deployment that are no defaults for requests, with what to do about each.
_PARAMETERS: Mapping[str, str] = {
    "rpm": "set rate_limit of the keys, or max_concurrency of the node",
    "tpm": "set rate_limit of the keys, or max_concurrency of the node",
    "timeout": "gateway.timeout holds for all nodes",
    "stream_timeout": "see gateway.first_byte_timeout and streaming.stall_threshold",
    "max_retries": "retry.max_attempts holds for all nodes",
    "order": "the policy decides; model_fallbacks and the order of an alias' targets are obeyed",
    "organization": "pass the header on with gateway.forward_headers",
}
_TAKEN = frozenset({"model", "api_base", "base_url", "api_key", "weight", "max_parallel_requests"})
_HARMLESS = frozenset({"drop_params", "custom_llm_provider"})


def reference(value: Any) -> tuple[str, str]:
    """A secret as our file has it, and a note; os.environ/NAME becomes env:NAME."""
    if not isinstance(value, str) or not value.strip():
        return "", ""
    found = _VARIABLE.match(value.strip())
    if found is not None:
        return f"env:{found[1]}", ""
    if REFERENCE.match(value):
        return value, ""
    return secret(value), "in clear; env:NAME or ${file:...} would hide it"


class Deployments:
    """Collects deployments: one node for each server, and the names that clients use for its models."""

    def __init__(self, made: Imported) -> None:
        self._made = made
        self._nodes: dict[str, dict[str, Any]] = {}  # by URL
        self._ids: set[str] = set()
        self._targets: dict[str, list[str]] = {}  # by the name that clients use

    def add(self, source: str, entry: Any) -> None:
        """Takes one entry of model_list."""
        made = self._made
        params = entry.get("litellm_params") if isinstance(entry, Mapping) else None
        model = params.get("model") if isinstance(params, Mapping) else None
        if not isinstance(params, Mapping) or not isinstance(model, str) or not model:
            made.tell(Outcome.REFUSED, source, "left out: it has no litellm_params.model")
            return
        provider, upstream = _provider(model, params)
        if provider is None:
            made.tell(
                Outcome.NO_EQUIVALENT, source, f"{model}: no such provider here; is there an OpenAI-compatible address?"
            )
            return
        url = _url(params, provider)
        if not url:
            made.tell(Outcome.REFUSED, source, f"left out: {model} needs an api_base")
            return
        node = self._node(source, url, provider, params)
        name = str(entry.get("model_name") or upstream)
        self._name(source, name, upstream, node)
        self._rest(source, entry, params)

    def finish(self) -> None:
        """Writes nodes and aliases into the tree."""
        tree = self._made.tree
        if self._nodes:
            tree["nodes"] = list(self._nodes.values())
        for name, targets in self._targets.items():
            others = [target for target in targets if target != name]
            if not others:
                continue
            if name in targets:  # an alias cannot stand for itself
                tree.setdefault("gateway", {}).setdefault("model_fallbacks", {})[name] = others
                note = f"other models of {name} are asked when no node can serve it; they do not share the load"
                self._made.tell(Outcome.ATTENTION, f"model_name {name}", note, "gateway.model_fallbacks")
                continue
            tree.setdefault("models", {}).setdefault("aliases", {})[name] = others
            note = "the targets are tried in this order; they do not share the load" if len(others) > 1 else ""
            self._made.tell(Outcome.MAPPED, f"model_name {name}", note, "models.aliases")

    def _node(self, source: str, url: str, provider: Provider, params: Mapping[str, Any]) -> dict[str, Any]:
        key, note = reference(params.get("api_key"))
        if not key and "api_key" not in params and provider.key:
            key, note = f"env:{provider.key}", f"LiteLLM takes the key from {provider.key}"
        node = self._nodes.get(url)
        if node is None and url.startswith("${"):
            self._made.tell(Outcome.ATTENTION, f"{source}.litellm_params.api_base", "it must not end with /v1", "nodes")
        if node is None:
            node = {"id": node_id(_host(url), self._ids), "url": url, "kind": provider.kind}
            if key and provider.kind != "ollama":
                node["api_key"] = key
            if params.get("weight") is not None:
                node["weight"] = params["weight"]
            self._nodes[url] = node
        elif key and node.get("api_key", key) != key:
            note = f"{node['id']} keeps its first key: one server, one node"
            self._made.tell(Outcome.NO_EQUIVALENT, f"{source}.litellm_params.api_key", note)
            note = ""
        if isinstance(params.get("max_parallel_requests"), int):
            node["max_concurrency"] = node.get("max_concurrency", 0) + params["max_parallel_requests"]
        self._made.tell(
            Outcome.MAPPED, source, f"its key is {note}" if note.startswith("in") else note, f"node {node['id']}"
        )
        return node

    def _name(self, source: str, name: str, upstream: str, node: Mapping[str, Any]) -> None:
        if "*" in name or "*" in upstream:
            if name not in ("*", upstream):
                note = f"clients ask for the models of {node['id']} by their own names, without a prefix"
                self._made.tell(Outcome.ATTENTION, f"{source}.model_name", note)
            return
        targets = self._targets.setdefault(name, [])
        if upstream not in targets:
            targets.append(upstream)

    def _rest(self, source: str, entry: Mapping[str, Any], params: Mapping[str, Any]) -> None:
        """Tells of what else an entry says. Limits may also stand beside litellm_params."""
        for name, value in [*items(params), *((n, v) for n, v in items(entry) if n in ("rpm", "tpm"))]:
            if name in _TAKEN or value is None:
                continue
            where = f"{source}.litellm_params.{name}"
            if name in _HARMLESS:
                self._made.tell(Outcome.INERT, where, "what a client sends is passed on")
            else:
                default = "defaults of requests are not set here: the client sends them"
                self._made.tell(Outcome.NO_EQUIVALENT, where, _PARAMETERS.get(name, default))
        if entry.get("model_info"):
            self._made.tell(Outcome.INERT, f"{source}.model_info", "nodes tell about their models themselves")


def _provider(model: str, params: Mapping[str, Any]) -> tuple[Provider | None, str]:
    """The provider of a deployment, and the model's name there."""
    given = params.get("custom_llm_provider")
    prefix, mark, rest = model.partition("/")
    if isinstance(given, str) and given:
        return PROVIDERS.get(given), rest if mark and prefix == given else model
    if mark and prefix in PROVIDERS:
        return PROVIDERS[prefix], rest
    if mark:
        return None, model
    return PROVIDERS["anthropic" if model.startswith("claude") else "openai"], model


def _url(params: Mapping[str, Any], provider: Provider) -> str:
    """The server's address without /v1, which we add ourselves."""
    given = params.get("api_base") or params.get("base_url")
    if not isinstance(given, str) or not given.strip():
        return provider.url
    variable = _VARIABLE.match(given.strip())
    if variable is not None:
        return f"${{env:{variable[1]}}}"
    return _VERSION.sub("", given.strip().rstrip("/")).rstrip("/")


def _host(url: str) -> str:
    variable = re.match(r"\$\{env:(.+)\}\Z", url)
    if variable is not None:
        return variable[1].lower()
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}-{parts.port}" if parts.port else str(parts.hostname)
    except ValueError:
        return "node"
