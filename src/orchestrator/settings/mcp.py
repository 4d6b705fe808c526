"""Servers of the Model Context Protocol that the operator names."""

from __future__ import annotations

from typing import Self

from pydantic import SecretStr, field_validator, model_validator

from orchestrator.domain.mcp import MOST_SERVERS, SERVER_NAME
from orchestrator.settings.section import Duration, Section, setting


class McpServerEntry(Section):
    """One server: a command that is started here, or a URL."""

    command: tuple[str, ...] = setting((), "Program and arguments of a server on standard input and output.")
    env: dict[str, SecretStr] = setting(
        description="Environment variables of the command (`env:NAME`: of this service's, read at its start); of the "
        "service's own it gets only HOME, LOGNAME, PATH, SHELL, TERM and USER.",
        factory=dict,
        secret=True,
    )
    cwd: str | None = setting(None, "Folder in which the command runs.")
    url: str | None = setting(None, "http or https URL of a server that speaks streamable HTTP.", max_length=2_000)
    headers: dict[str, SecretStr] = setting(
        description="Headers of every request to the URL (`env:NAME`, `${file:/path}`, or the text).",
        factory=dict,
        secret=True,
    )
    timeout: Duration | None = setting(
        None, "How long one call of its tools may take; none means what the caller says.", gt=0
    )
    trust_annotations: bool = setting(
        False,
        "Whether what the server says of its tools (readOnlyHint, destructiveHint) decides about approvals; otherwise "
        "all of them count as external.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.command) == (self.url is not None):
            raise ValueError("either command or url")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError("url: http://... or https://...")
        if not self.command and (self.env or self.cwd is not None):
            raise ValueError("env and cwd belong to a command")
        if self.command and self.headers:
            raise ValueError("headers belong to a url")
        return self

    @field_validator("command")
    @classmethod
    def _words(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if command and not command[0]:
            raise ValueError("the program is empty")
        if any("\0" in word for word in command):
            raise ValueError("a word holds a zero character")
        return command


def check_names(servers: dict[str, McpServerEntry]) -> dict[str, McpServerEntry]:
    """Raises ValueError."""
    if len(servers) > MOST_SERVERS:
        raise ValueError(f"more than {MOST_SERVERS} servers")
    for name in servers:
        if not SERVER_NAME.match(name):
            raise ValueError(f"{name!r}: 1 to 40 of a-z, 0-9 and '-'")
    return servers
