"""What of tools and artifacts is searched by words."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.domain.artifact import Artifact
from orchestrator.domain.text_search import Text, text_of
from orchestrator.domain.tool import Tool


def tool_text(tool: Tool) -> Text:
    return tool_words(tool.name, tool.category, tool.description, tool.tags)


def tool_words(name: str, category: str, description: str | None, tags: Sequence[str]) -> Text:
    return text_of(name, *tags, category, description or "")


def artifact_text(artifact: Artifact) -> Text:
    origin = artifact.origin
    return artifact_words(
        artifact.file_name, artifact.mime_type, origin.task, origin.run, origin.agent, origin.principal
    )


def artifact_words(file_name: str, *body: str | None) -> Text:
    """`body`: the MIME type, and the texts of the origin."""
    return text_of(file_name, *(one or "" for one in body))
