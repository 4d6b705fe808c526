"""Tasks and the nodes that run them."""

from __future__ import annotations

import re

from pydantic import SecretStr, field_validator

from orchestrator.domain.webhook import key_of
from orchestrator.domain.worker_hosts import WorkerHosts
from orchestrator.settings.gateway import PolicyName
from orchestrator.settings.section import Duration, Section, Size, setting

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*\Z")


class Tasks(Section):
    """Tasks on worker nodes."""

    heartbeat_interval: Duration = setting(
        30.0, "How often a worker is asked to send a heartbeat, in seconds; told when it registers.", gt=0, live=True
    )
    node_timeout: Duration = setting(
        120.0, "A worker without a heartbeat for so long is offline, and its tasks run elsewhere.", gt=0, live=True
    )
    policy: PolicyName = setting(
        "weighted_round_robin",
        "Which node gets a task. Here resource_aware is the node with most of its processor, memory and GPU free, "
        "latency_optimized the one that answers fastest.",
        live=True,
    )
    keep_finished: Duration = setting(
        30 * 86_400.0, "How long tasks that have finished are kept, in seconds from their submission.", gt=0, live=True
    )
    max_completed: int = setting(1_000_000, "Completed tasks that are kept.", ge=0, live=True)
    max_failed: int = setting(
        100_000, "Tasks that are kept of those that failed, timed out and were cancelled, each.", ge=0, live=True
    )
    max_nodes: int = setting(10_000, "Workers that may be registered.", ge=1, le=1_000_000, live=True)
    orchestrator_id: str = setting(
        "orchestrator", "Name of this service in the answers of /api/v1.", min_length=1, max_length=100
    )
    timeout: Duration = setting(
        300.0, "How long one attempt of a task may take that says nothing itself, in seconds.", gt=0, live=True
    )
    max_retries: int = setting(
        3, "Attempts that may follow the first one of a task that says nothing itself.", ge=0, le=1000, live=True
    )
    websocket_max: int = setting(
        100, "WebSockets that may follow the events at a time; and as many event streams.", ge=0, le=10_000, live=True
    )
    websocket_port: int = setting(
        0,
        "One more port of server.host, on which WebSockets at any path follow the events; the predecessor's is 9001. "
        "0: none, only /api/v1/ws.",
        ge=0,
        le=65535,
    )
    keep_events: Duration = setting(7 * 86_400.0, "How long events are kept, in seconds.", gt=0, live=True)
    max_events_size: Size = setting(
        256 * 1024**2, "Bytes of events that are kept; the oldest go first.", ge=1024**2, live=True
    )
    max_log_lines: int = setting(10_000, "Log lines that are kept of a task, the newest.", ge=1, live=True)
    max_log_size: Size = setting(1024**2, "Bytes of log lines that are kept of a task.", ge=1024, live=True)
    worker_hosts: tuple[str, ...] = setting(
        (),
        "Names, addresses and networks (CIDR) to which tasks may be pushed; `*.example.com` is every name below it. "
        "Empty: every host but link-local, multicast and unspecified addresses.",
        live=True,
    )
    webhook_secret: SecretStr | None = setting(
        None,
        "Signs webhooks (Standard Webhooks): `whsec_` and base64, or any text; `env:NAME` and `${file:/path}` as "
        "elsewhere. None: they are not signed.",
        secret=True,
        live=True,
    )
    webhook_hosts: tuple[str, ...] = setting(
        (),
        "Names, addresses and networks (CIDR) that webhooks may go to. Empty: every host but link-local, multicast and "
        "unspecified addresses, clouds' metadata and, unless the service itself listens there, loopback.",
        live=True,
    )
    webhook_retry: Duration = setting(
        5.0, "Pause after the first failed attempt to deliver a webhook; it doubles up to an hour.", gt=0, live=True
    )

    @field_validator("webhook_secret")
    @classmethod
    def _decodable(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            key_of(secret.get_secret_value())
        return secret

    local_slots: int = setting(16, "Tasks that the service itself runs at a time; 0: none.", ge=0, le=1000)
    model: str = setting("", "Model of inference tasks that name none. Empty: such a task fails.", live=True)
    http_hosts: tuple[str, ...] = setting(
        (),
        "Names, addresses and networks (CIDR) to which tasks of the type `http` may connect; `*.example.com` is every "
        "name below it. Addresses that are not public need a network that names them. Empty: such tasks fail.",
        live=True,
    )
    handlers: dict[str, str] = setting(
        description="Functions for task types, as `module:function`: the service calls them in processes of their own.",
        factory=dict,
    )

    @field_validator("handlers")
    @classmethod
    def _callable(cls, handlers: dict[str, str]) -> dict[str, str]:
        for name, function in handlers.items():
            if not name or not _FUNCTION.match(function):
                raise ValueError(f"{name!r}: {function!r} is not `module:function`")
        return handlers

    @field_validator("http_hosts", "worker_hosts", "webhook_hosts")
    @classmethod
    def _readable(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        WorkerHosts.of(entries)
        return entries
