"""What the operator says about databases and the running of commands."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from orchestrator.settings.section import Section, setting

ExecutionMode = Literal["off", "process", "container"]


class ToolDatabase(Section):
    """One database that tools may ask."""

    url: str = setting(
        description="sqlite:///path or postgresql://user:password@host/name, or `env:NAME`; never the service's own. A "
        "PostgreSQL role that is a superuser is refused.",
        secret=True,
        repr=False,
    )
    writable: bool = setting(False, "Whether `sql-write` may change it.")

    @field_validator("url")
    @classmethod
    def _scheme(cls, value: str) -> str:
        scheme, mark, _ = value.partition("://")
        if not value.startswith("env:") and (not mark or scheme.partition("+")[0] not in ("sqlite", "postgresql")):
            raise ValueError("must start with sqlite:/// or postgresql://")
        return value
