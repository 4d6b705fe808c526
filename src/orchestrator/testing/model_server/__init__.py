"""A fake model server that speaks three dialects and fails on command. See docs/reference/testing.md."""

from orchestrator.testing.model_server.behaviour import Mode, Rule
from orchestrator.testing.model_server.model import Model
from orchestrator.testing.model_server.server import ModelServer
from orchestrator.testing.model_server.settings import Settings
from orchestrator.testing.model_server.state import Received

__all__ = ["Mode", "Model", "ModelServer", "Received", "Rule", "Settings"]
