"""The official SDK of the Model Context Protocol, as a client. Import it late: it takes a while."""

from orchestrator.adapters.mcp.connector import SdkConnector

__all__ = ["SdkConnector"]
