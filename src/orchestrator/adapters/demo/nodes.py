"""Demo nodes: servers in this process that answer one canned text, so that a first start has something to talk to."""

from __future__ import annotations

from orchestrator.domain.node import NodeKind, NodeSource, NodeSpec
from orchestrator.testing.model_server import Model, ModelServer
from orchestrator.testing.model_server.connection import Answering, Connection
from orchestrator.testing.model_server.request import Request

REPLY = (
    "This is a demo node of Orchestrator: no model is running, and this text is canned. "
    "Register a model server, or start with --gguf FILE, and restart to get real answers."
)
MODELS = (
    Model("demo", size=0, family="demo", parameter_size="0", quantization="none", capabilities=("completion",)),
    Model("demo-embed", size=0, family="demo", parameter_size="0", quantization="none", capabilities=("embedding",)),
)


class DemoServer(ModelServer):
    """One demo node. The test server's control plane is closed: nobody shall make a demo node fail."""

    def __init__(self, number: int) -> None:
        super().__init__(MODELS, ttft_ms=50, tokens_per_second=60, reply=REPLY)
        self._number = number

    @property
    def node(self) -> NodeSpec:
        """What to register, once the server listens."""
        return NodeSpec(
            id=f"demo-{self._number}", url=self.url, kind=NodeKind.DEMO, max_concurrency=16, source=NodeSource.DEMO
        )

    def receive(self, connection: Connection, request: Request) -> Answering | None:
        return self.service.receive(connection, request)
