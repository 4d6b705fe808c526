"""Tasks and the nodes that run them."""

from __future__ import annotations

from pydantic import field_validator

from orchestrator.domain.worker_hosts import WorkerHosts
from orchestrator.settings.gateway import PolicyName
from orchestrator.settings.section import Duration, Section, setting


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
    worker_hosts: tuple[str, ...] = setting(
        (),
        "Names, addresses and networks (CIDR) to which tasks may be pushed; `*.example.com` is every name below it. "
        "Empty: every host but link-local, multicast and unspecified addresses.",
        live=True,
    )

    @field_validator("worker_hosts")
    @classmethod
    def _readable(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        WorkerHosts.of(entries)
        return entries
