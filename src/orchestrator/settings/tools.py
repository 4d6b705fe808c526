"""The registry of tools."""

from __future__ import annotations

from orchestrator.settings.section import Section, setting


class ToolRegistry(Section):
    """The registry of tools."""

    reenable: bool = setting(
        False,
        "Enable tools again that `POST /maintenance/update-tool-status` disabled, when their node is ACTIVE again; "
        "false: they stay disabled until a client enables them.",
        live=True,
    )
