"""A node as the running service sees it: what was registered, what the last probe said, and what traffic tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from orchestrator.domain.breaker import Breaker, BreakerState
from orchestrator.domain.histogram import Histogram
from orchestrator.domain.node import AdminState, Dialect, ModelEntry, NodeKind, NodeReport, NodeSpec
from orchestrator.domain.placement import NodeState
from orchestrator.ports.upstream import Target

# What a kind speaks until a probe has seen more.
NATIVE: dict[NodeKind, frozenset[Dialect]] = {
    NodeKind.OLLAMA: frozenset({Dialect.OLLAMA}),
    NodeKind.OPENAI: frozenset({Dialect.OPENAI}),
    NodeKind.ANTHROPIC: frozenset({Dialect.ANTHROPIC}),
    NodeKind.LLAMACPP: frozenset({Dialect.OPENAI}),
    NodeKind.DEMO: frozenset({Dialect.OPENAI, Dialect.ANTHROPIC, Dialect.OLLAMA}),
}
# Which language a translated request takes, best first: the one that loses least.
PREFERENCE = (Dialect.OPENAI, Dialect.OLLAMA, Dialect.ANTHROPIC)


def target_of(spec: NodeSpec) -> Target:
    """Where the connections of a node go. A base path `/v1` is dropped: every dialect's path brings its own."""
    url = urlsplit(spec.url)
    tls = url.scheme == "https"
    base = url.path.rstrip("/")
    return Target(
        key=spec.id,
        host=url.hostname or "",
        port=url.port or (443 if tls else 80),
        tls=tls,
        base_path=base.removesuffix("/v1"),
    )


@dataclass(slots=True)
class Traffic:
    """What one model did on one node since the service started. Plain numbers, rendered when somebody asks."""

    requests: int = 0
    errors: int = 0
    cancelled: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated_tokens: int = 0  # part of completion_tokens that was counted from chunks, not told by the node
    streams: int = 0
    chunks: int = 0
    duration: Histogram = field(default_factory=Histogram)
    ttft: Histogram = field(default_factory=Histogram)


class Pair:
    """One model on one node: its own breaker and its own numbers."""

    __slots__ = ("breaker", "model", "name", "traffic")

    def __init__(self, model: str, breaker: Breaker) -> None:
        self.model = model  # the catalogue's name
        self.name = ""  # the node's own name for it, once asked for
        self.breaker = breaker
        self.traffic = Traffic()


class FleetNode:
    """One registered node."""

    __slots__ = (
        "breaker",
        "dialects",
        "elsewhere",
        "error",
        "failures",
        "healthy",
        "pairs",
        "probed_at",
        "report",
        "request_heads",
        "secret",
        "sharers",
        "spec",
        "state",
        "successes",
        "target",
    )

    def __init__(self, spec: NodeSpec, state: NodeState, breaker: Breaker, secret: str | None) -> None:
        self.spec = spec
        self.state = state
        self.breaker = breaker
        self.secret = secret  # the resolved key; never shown
        self.target = target_of(spec)
        self.healthy = False  # until a probe has seen it answer
        self.error = "not probed yet"
        self.report: NodeReport | None = None
        self.dialects = NATIVE[spec.kind]
        self.pairs: dict[str, Pair] = {}
        self.failures = 0  # probes failed in a row
        self.successes = 0  # probes passed in a row
        self.probed_at = 0.0  # seconds since the epoch
        self.request_heads: dict[str, bytes] = {}  # by path: the unchanging part of a request's head
        self.elsewhere = 0  # requests that other replicas have here
        self.sharers = 0  # replicas that have some

    @property
    def id(self) -> str:
        return self.spec.id

    def respec(self, spec: NodeSpec, secret: str | None) -> None:
        """Takes over a changed registration; what traffic taught stays."""
        moved = spec.url != self.spec.url or spec.kind is not self.spec.kind
        self.spec, self.secret = spec, secret
        self.target = target_of(spec)
        self.request_heads.clear()
        self.state.resize(self._slots(), spec.weight)
        if moved:
            self.healthy, self.error, self.report = False, "not probed yet", None
            self.dialects = NATIVE[spec.kind]

    def share(self, elsewhere: int, sharers: int) -> None:
        """Takes note of how many requests how many other replicas have here, and leaves them their slots."""
        self.elsewhere, self.sharers = elsewhere, sharers
        slots = self._slots()
        if slots != self.state.max_concurrency:
            self.state.resize(slots)

    def _slots(self) -> int:
        """Requests that this replica may have here: what the others leave, but its fair share at least."""
        most = self.spec.max_concurrency
        fair = -(-most // (self.sharers + 1))
        return max(fair, most - self.elsewhere)

    def entries(self) -> tuple[ModelEntry, ...]:
        """The models that this node serves: its own list, and what the operator wrote down."""
        found = {entry.name: entry for entry in (self.report.models if self.report is not None else ())}
        for name in self.spec.models:
            found.setdefault(name, ModelEntry(name))
        return tuple(found.values())

    @property
    def active(self) -> bool:
        return self.spec.admin_state is AdminState.ACTIVE

    def dialect_for(self, wanted: Dialect) -> Dialect:
        """The client's own dialect when the node speaks it, otherwise the one to translate to."""
        if wanted in self.dialects:
            return wanted
        return next(dialect for dialect in PREFERENCE if dialect in self.dialects)

    def head_for(self, path: str) -> bytes:
        """Request line and the headers that are the same in every request to this path of this node."""
        head = self.request_heads.get(path)
        if head is None:
            lines = [
                f"POST {self.target.base_path}{path} HTTP/1.1",
                f"Host: {self.target.host_header}",
                "Content-Type: application/json",
                "User-Agent: orchestrator",
                *self.auth_headers(),
            ]
            head = self.request_heads[path] = ("\r\n".join(lines) + "\r\n").encode("latin-1")
        return head

    def auth_headers(self) -> tuple[str, ...]:
        """The node's own credential as header lines: what a client sent us is never passed on."""
        if not self.secret:
            return ()
        if self.spec.kind is NodeKind.ANTHROPIC:
            return (f"x-api-key: {self.secret}",)
        return (f"Authorization: Bearer {self.secret}",)

    def block(self, model: str) -> None:
        """Counts a request that an open breaker kept away."""
        pair = self.pairs.get(model)
        for breaker in (self.breaker, pair.breaker if pair is not None else None):
            if breaker is not None and breaker.state is BreakerState.OPEN:
                breaker.blocked += 1
