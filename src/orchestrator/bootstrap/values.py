"""Settings as the values that services and mechanisms take."""

from __future__ import annotations

import os

from pydantic import SecretStr

from orchestrator.domain.access import Principal, Role
from orchestrator.domain.alias import Alias
from orchestrator.domain.breaker_policy import BreakerPolicy
from orchestrator.domain.http_hosts import HttpHosts
from orchestrator.domain.limiter import RateLimit
from orchestrator.domain.node import NodeSource, NodeSpec
from orchestrator.domain.placement import PolicyOptions
from orchestrator.domain.queue import QueuePolicy
from orchestrator.domain.retry import RetryPolicy
from orchestrator.domain.webhook import key_of
from orchestrator.domain.webhook_hosts import WebhookHosts
from orchestrator.domain.worker_hosts import WorkerHosts
from orchestrator.ports.history import Retention
from orchestrator.services.fleet.health import HealthRules
from orchestrator.services.fleet.recovery_tests import RecoveryTestRules
from orchestrator.services.gateway.limits import FORWARDED, Limits
from orchestrator.services.models.demand import DemandRules
from orchestrator.services.models.jobs import JobRules
from orchestrator.services.models.warmup import WarmupRules
from orchestrator.services.tasks.event_retention import EventRules
from orchestrator.services.tasks.retention import KeepRules
from orchestrator.services.tasks.submission import TaskDefaults
from orchestrator.services.tasks.task_logs import LogRules
from orchestrator.services.tasks.webhook_post import WebhookRules
from orchestrator.services.workers import WorkerRules
from orchestrator.settings import Settings, legacy_view, loopback

NEVER = 1_000_000_000  # failures in a row: a breaker that is switched off


def limits(settings: Settings) -> Limits:
    gateway, queue, streaming = settings.gateway, settings.queue, settings.streaming
    return Limits(
        timeout=gateway.timeout,
        connect=gateway.connect_timeout,
        first_byte=gateway.first_byte_timeout,
        stall=streaming.stall_threshold,
        max_attempts=settings.retry.max_attempts,
        longest_pause=settings.retry.backoff_max,
        slow_first_token=settings.circuit_breaker.slow_first_token,
        queue_enabled=queue.enabled,
        queue_timeout=queue.timeout,
        ollama_stream_default=gateway.ollama_stream_default,
        continuation=streaming.continuation,
        max_continuations=streaming.max_continuations if streaming.continuation else 0,
        keep_loading=settings.models.keep_loading,
        answer_headers=gateway.expose_decision_headers,
        policy_roles=frozenset(Role(role) for role in gateway.policy_header_roles),
        fallbacks=dict(gateway.model_fallbacks),
        forward_headers=FORWARDED + tuple(name.lower().encode() for name in gateway.forward_headers),
    )


def queue_policy(settings: Settings) -> QueuePolicy:
    queue = settings.queue
    return QueuePolicy(
        max_size=queue.max_size,
        principal_share=queue.per_principal_share,
        max_priority=queue.max_priority,
        boost_amount=queue.priority_boost_amount,
        boost_interval=queue.priority_boost_interval,
    )


def breaker_policy(settings: Settings) -> BreakerPolicy:
    breaker = settings.circuit_breaker
    off = not breaker.enabled
    return BreakerPolicy(
        threshold=NEVER if off else breaker.base_failure_threshold,
        min_threshold=NEVER if off else breaker.min_failure_threshold,
        max_threshold=NEVER if off else breaker.max_failure_threshold,
        adaptive=breaker.adaptive_thresholds and not off,
        adjustment=breaker.threshold_adjustment,
        error_rate=2.0 if off else breaker.error_rate_threshold,
        window=breaker.error_rate_window,
        min_requests=breaker.min_requests,
        open_time=breaker.open_time,
        max_open_time=breaker.open_max,
        max_retry_after=0.0 if off else breaker.max_retry_after,
        half_open_requests=breaker.half_open_max_requests,
        recovery_successes=breaker.recovery_success_threshold,
        half_open_time=breaker.half_open_time,
    )


def recovery_test_rules(settings: Settings) -> RecoveryTestRules:
    breaker = settings.circuit_breaker
    return RecoveryTestRules(breaker.recovery_tests, breaker.recovery_test_interval, breaker.recovery_test_timeout)


def retry_policy(settings: Settings) -> RetryPolicy:
    retry = settings.retry
    return RetryPolicy(retry.max_attempts, retry.backoff_base, retry.backoff_multiplier, retry.backoff_max)


def policy_options(settings: Settings) -> PolicyOptions:
    return PolicyOptions.parse(legacy_view(settings)["loadBalancer"])


def retention(settings: Settings) -> Retention:
    history = settings.history
    return Retention(
        requests_age=history.keep_requests,
        requests_rows=history.most_requests,
        decisions_age=history.keep_decisions,
        decisions_rows=history.most_decisions,
        minutes_age=history.keep_minutes,
        hours_age=history.keep_hours,
    )


def health_rules(settings: Settings) -> HealthRules:
    health = settings.health_check
    return HealthRules(
        enabled=health.enabled,
        interval=health.interval,
        recovery_interval=health.recovery_interval,
        timeout=health.timeout,
        failure_threshold=health.failure_threshold,
        success_threshold=health.success_threshold,
        concurrency=health.concurrency,
    )


def warmup_rules(settings: Settings) -> WarmupRules:
    models = settings.models
    return WarmupRules(models.warmup_timeout, models.keep_alive, dict(models.keep_alive_for))


def job_rules(settings: Settings) -> JobRules:
    return JobRules(settings.models.job_patience, settings.models.jobs_kept)


def demand_rules(settings: Settings) -> DemandRules:
    models = settings.models
    return DemandRules(models.unload_idle_after, models.prewarm, models.prewarm_rate)


def keep_rules(settings: Settings) -> KeepRules:
    tasks = settings.tasks
    return KeepRules(tasks.keep_finished, tasks.max_completed, tasks.max_failed)


def event_rules(settings: Settings) -> EventRules:
    return EventRules(settings.tasks.keep_events, settings.tasks.max_events_size)


def log_rules(settings: Settings) -> LogRules:
    return LogRules(settings.tasks.max_log_lines, settings.tasks.max_log_size)


def worker_rules(settings: Settings) -> WorkerRules:
    tasks = settings.tasks
    return WorkerRules(
        tasks.node_timeout, tasks.heartbeat_interval, tasks.max_nodes, WorkerHosts.of(tasks.worker_hosts)
    )


def webhook_rules(settings: Settings) -> WebhookRules:
    tasks = settings.tasks
    secret = secret_text(tasks.webhook_secret) if tasks.webhook_secret is not None else ""
    hosts = WebhookHosts.of(tasks.webhook_hosts, loopback=loopback(settings.server.host))
    return WebhookRules(key_of(secret), tasks.webhook_retry, hosts)


def http_hosts(settings: Settings) -> HttpHosts:
    return HttpHosts.of(settings.tasks.http_hosts)


def tool_hosts(settings: Settings) -> HttpHosts:
    return HttpHosts.of(settings.tools.hosts)


def task_defaults(settings: Settings) -> TaskDefaults:
    return TaskDefaults(settings.tasks.timeout, settings.tasks.max_retries)


def node_specs(settings: Settings) -> list[NodeSpec]:
    default = settings.load_balancer.default_max_concurrency
    return [
        NodeSpec(
            id=node.id,
            url=str(node.url),
            kind=node.kind,
            max_concurrency=node.max_concurrency or default,
            api_key=node.api_key.get_secret_value() if node.api_key is not None else None,
            weight=node.weight,
            labels=dict(node.labels),
            models=tuple(node.models),
            source=NodeSource.CONFIG,
        )
        for node in settings.nodes
    ]


def aliases(settings: Settings) -> list[Alias]:
    return [Alias(name, tuple(targets)) for name, targets in settings.models.aliases.items()]


def principals(settings: Settings) -> list[tuple[str, Principal]]:
    """The keys of the configuration with whom they stand for. Two entries never share an id: the name is unique."""
    auth = settings.auth
    found = []
    for key in auth.keys:
        limit = key.rate_limit or auth.rate_limit
        found.append(
            (
                secret_text(key.key),
                Principal(
                    id=f"config:{key.name}",
                    name=key.name,
                    role=Role(key.role),
                    models=frozenset(key.models),
                    priority=key.priority,
                    max_priority=key.priority if key.max_priority is None else key.max_priority,
                    rate_limit=RateLimit(limit) if limit else None,
                ),
            )
        )
    return found


def secret_text(secret: SecretStr) -> str:
    """The secret itself, where the setting names an environment variable (`env:NAME`) the variable's value."""
    return resolve_secret(secret.get_secret_value()) or ""


def resolve_secret(reference: str | None) -> str | None:
    """`env:NAME` is read anew each time, so that a node's key can be exchanged; anything else is the key."""
    if reference is None or not reference.startswith("env:"):
        return reference
    return os.environ.get(reference.removeprefix("env:")) or None
