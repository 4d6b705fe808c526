"""The whole tree."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator

from orchestrator.settings.artifacts import Artifacts
from orchestrator.settings.auth import Auth
from orchestrator.settings.balancing import LoadBalancer
from orchestrator.settings.breaker import CircuitBreaker, HealthCheck
from orchestrator.settings.fleet import Demo, Discovery, Models, Node
from orchestrator.settings.gateway import Gateway, Queue, Retry, Streaming
from orchestrator.settings.observability import Logging, Metrics, Tracing
from orchestrator.settings.section import Section, setting
from orchestrator.settings.server import Security, Server
from orchestrator.settings.storage import Database, History, Redis
from orchestrator.settings.tasks import Tasks
from orchestrator.settings.tools import ToolRegistry


class Settings(Section):
    """Everything an operator can set. Frozen: a change makes a new tree."""

    data_dir: Path = setting(Path("data"), "Directory of everything that is kept.")
    server: Server = setting(description="HTTP server.", factory=Server)
    auth: Auth = setting(description="Who may call.", factory=Auth)
    security: Security = setting(description="Limits on the administration surface.", factory=Security)
    nodes: tuple[Node, ...] = setting((), "Model servers.")
    discovery: Discovery = setting(description="Finding local model servers.", factory=Discovery)
    demo: Demo = setting(description="Demo nodes.", factory=Demo)
    models: Models = setting(description="Models.", factory=Models)
    gateway: Gateway = setting(description="The data plane.", factory=Gateway)
    queue: Queue = setting(description="Waiting for room.", factory=Queue)
    load_balancer: LoadBalancer = setting(description="Options of the placement policies.", factory=LoadBalancer)
    circuit_breaker: CircuitBreaker = setting(description="Breakers.", factory=CircuitBreaker)
    retry: Retry = setting(description="Trying again.", factory=Retry)
    streaming: Streaming = setting(description="Streams.", factory=Streaming)
    health_check: HealthCheck = setting(description="Probes.", factory=HealthCheck)
    database: Database = setting(description="Database.", factory=Database)
    redis: Redis = setting(description="Redis, for replicas.", factory=Redis)
    history: History = setting(description="Finished requests.", factory=History)
    artifacts: Artifacts = setting(description="Bytes that work leaves behind.", factory=Artifacts)
    tasks: Tasks = setting(description="Tasks on worker nodes.", factory=Tasks)
    tools: ToolRegistry = setting(description="The registry of tools.", factory=ToolRegistry)
    logging: Logging = setting(description="Logs.", factory=Logging)
    metrics: Metrics = setting(description="Metrics.", factory=Metrics)
    tracing: Tracing = setting(description="Traces.", factory=Tracing)

    @field_validator("nodes")
    @classmethod
    def _distinct(cls, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        for attribute in ("id", "url"):
            seen: set[str] = set()
            for node in nodes:
                value = getattr(node, attribute)
                if value in seen:
                    raise ValueError(f"two nodes have the {attribute} {value!r}")
                seen.add(value)
        return nodes

    @property
    def database_url(self) -> str:
        """The database's URL, with the default filled in."""
        return self.database.url or f"sqlite:///{self.data_dir / 'orchestrator.db'}"
