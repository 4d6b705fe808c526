"""LiteLLM's proxy configuration, as https://docs.litellm.ai/docs/proxy/config_settings describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.settings.importing.litellm_models import Deployments, reference
from orchestrator.settings.importing.report import Imported, Outcome, items

ROUTING = {
    "simple-shuffle": "random",
    "least-busy": "least_connections",
    "latency-based-routing": "latency_optimized",
    "usage-based-routing": "least_connections",
    "usage-based-routing-v2": "least_connections",
}
# By section and key: what it needs no setting for, or what to do instead.
INERT: Mapping[str, str] = {
    "litellm_settings.drop_params": "what a client sends is passed on; the node decides",
    "litellm_settings.modify_params": "requests are passed on as they are",
    "litellm_settings.telemetry": "nothing is sent anywhere",
    "general_settings.database_connection_pool_limit": "see database",
    "general_settings.disable_spend_logs": "there are no spend logs",
    "general_settings.store_model_in_db": "nodes added while the service runs are always kept",
    "general_settings.background_health_checks": "nodes are always probed in the background",
    "router_settings.enable_pre_call_checks": "only nodes that have the model are asked",
    "router_settings.set_verbose": "see logging.level",
}
INSTEAD: Mapping[str, str] = {
    "environment_variables": "set them in the environment of the service",
    "router_settings.redis": "one process owns the fleet: no Redis is needed",
    "router_settings.retry_policy": "retry.max_attempts holds for every kind of failure",
    "router_settings.allowed_fails_policy": "failures are told apart by their kind",
    "router_settings.stream_timeout": "see gateway.first_byte_timeout and streaming.stall_threshold",
    "general_settings.database_url": "virtual keys and spend stay there: make keys with `orchestrator keys create`",
    "general_settings.max_parallel_requests": "set nodes[].max_concurrency",
    "general_settings.alerting": "alert on /metrics",
    "litellm_settings.callbacks": "/metrics is always there; traces: tracing.enabled",
    "litellm_settings.success_callback": "/metrics is always there; traces: tracing.enabled",
    "litellm_settings.failure_callback": "/metrics is always there; traces: tracing.enabled",
    "litellm_settings.cache": "answers are not cached; prefix_affinity keeps prompts on the node that knows them",
    "litellm_settings.context_window_fallbacks": "gateway.model_fallbacks holds when no node can serve the model",
    "litellm_settings.content_policy_fallbacks": "gateway.model_fallbacks holds when no node can serve the model",
    "litellm_settings.default_fallbacks": "name each model in gateway.model_fallbacks",
    "litellm_settings.max_budget": "there are no budgets; limit keys with rate_limit",
}
SECTIONS = ("litellm_settings", "router_settings", "general_settings")  # later ones win


def from_litellm(data: Mapping[str, Any]) -> Imported:
    """Our tree of a LiteLLM config.yaml."""
    made = Imported()
    deployments = Deployments(made)
    models = data.get("model_list")
    if models is not None and not isinstance(models, list):
        made.tell(Outcome.REFUSED, "model_list", "must be a list")
    for index, entry in enumerate(models if isinstance(models, list) else ()):
        deployments.add(f"model_list[{index}]", entry)
    deployments.finish()
    for section in SECTIONS:
        for name, value in items(data.get(section)):
            if value is not None:
                _setting(made, section, name, value)
    for name, value in data.items():
        if name not in ("model_list", *SECTIONS) and value:
            made.tell(Outcome.NO_EQUIVALENT, str(name), INSTEAD.get(str(name), "nothing like it here"))
    made.settle()
    return made


def _setting(made: Imported, section: str, name: str, value: Any) -> None:
    source = f"{section}.{name}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    match name:
        case "routing_strategy" if value in ROUTING:
            note = "our default, warm_first, prefers nodes that have the model loaded" if value != "least-busy" else ""
            made.set(source, "gateway.policy", ROUTING[value], note)
        case "num_retries" if number:
            made.set(source, "retry.max_attempts", value + 1, "attempts, the first one included")
        case "timeout" | "request_timeout" if number:
            made.set(source, "gateway.timeout", value)
        case "allowed_fails" if number:
            made.set(source, "circuit_breaker.base_failure_threshold", value + 1, "failures in a row that open it")
        case "cooldown_time" if number:
            made.set(source, "circuit_breaker.open_time", value, "doubled each time, up to circuit_breaker.open_max")
        case "disable_cooldowns" if isinstance(value, bool):
            made.set(source, "circuit_breaker.enabled", not value)
        case "retry_after" if number:
            made.set(source, "retry.backoff_base", value)
        case "health_check_interval" if number:
            made.set(source, "health_check.interval", value)
        case "json_logs" if isinstance(value, bool):
            made.set(source, "logging.format", "json" if value else "console")
        case "set_verbose" if section == "litellm_settings" and isinstance(value, bool):
            made.set(source, "logging.level", "debug" if value else "info")
        case "fallbacks":
            _fallbacks(made, source, value)
        case "model_group_alias":
            _aliases(made, source, value)
        case "master_key":
            _master_key(made, source, value)
        case _:
            _nothing(made, source)


def _nothing(made: Imported, source: str) -> None:
    if source in INERT:
        made.tell(Outcome.INERT, source, INERT[source])
        return
    told = next((note for key, note in INSTEAD.items() if source == key or source.startswith(f"{key}_")), "")
    name = source.partition(".")[2]
    told = told or INSTEAD.get(f"litellm_settings.{name}", "")  # the router knows these, too
    made.tell(Outcome.NO_EQUIVALENT, source, told or "nothing like it here")


def _fallbacks(made: Imported, source: str, value: Any) -> None:
    """`[{model: [others]}]`, or one mapping. `*` stands for every model, which we cannot say."""
    for entry in value if isinstance(value, list) else (value,):
        for model, others in items(entry):
            names = [one for one in (others if isinstance(others, list) else [others]) if isinstance(one, str)]
            if model == "*" or not names or len(names) != (len(others) if isinstance(others, list) else 1):
                made.tell(Outcome.NO_EQUIVALENT, f"{source}.{model}", "name models in gateway.model_fallbacks")
                continue
            made.tree.setdefault("gateway", {}).setdefault("model_fallbacks", {})[model] = names
            made.tell(Outcome.MAPPED, f"{source}.{model}", "", "gateway.model_fallbacks")


def _aliases(made: Imported, source: str, value: Any) -> None:
    """`{alias: model}`, `{alias: [models]}` or `{alias: {model, hidden}}`."""
    for alias, given in items(value):
        target = given.get("model") if isinstance(given, Mapping) else given
        names = [target] if isinstance(target, str) else target
        if not isinstance(names, list) or not names or alias in names or not all(isinstance(n, str) for n in names):
            made.tell(Outcome.REFUSED, f"{source}.{alias}", "left out: an alias needs another model to stand for")
            continue
        made.tree.setdefault("models", {}).setdefault("aliases", {})[alias] = names
        hidden = isinstance(given, Mapping) and given.get("hidden")
        made.tell(Outcome.MAPPED, f"{source}.{alias}", "it is listed here" if hidden else "", "models.aliases")


def _master_key(made: Imported, source: str, value: Any) -> None:
    text, note = reference(value)
    if not text:
        made.tell(Outcome.ATTENTION, source, "no text: make a key with `orchestrator keys create`", "auth.keys")
        return
    made.tree["auth"] = {"enabled": True, "keys": [{"name": "master", "key": text, "role": "admin"}]}
    made.tell(Outcome.MAPPED, source, note, "auth.keys")
