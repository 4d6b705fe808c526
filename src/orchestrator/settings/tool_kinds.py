"""What the operator says about single functions, images and secrets of tools."""

from __future__ import annotations

import re
from typing import Any

from pydantic import SecretStr, field_validator

from orchestrator.domain.tool import ApprovalRule, SideEffect
from orchestrator.domain.worker_hosts import WorkerHosts
from orchestrator.settings.section import Duration, Section, Size, setting

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*\Z")
_IMAGE = re.compile(r"[a-z0-9*?][A-Za-z0-9._/:@*?-]{0,254}\Z")
TOOL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z")


class FunctionTool(Section):
    """One function that is a tool. It runs in a process of its own with these limits."""

    function: str = setting(description="`module:function`; called with the arguments by name.")
    description: str = setting("", "What it does, for people and models.")
    input_schema: dict[str, Any] = setting(description="JSON Schema of the arguments.", factory=dict)
    output_schema: dict[str, Any] | None = setting(None, "JSON Schema of the result.")
    category: str = setting("python", "Category in the list of tools.", min_length=1, max_length=50)
    side_effect: SideEffect = setting(SideEffect.EXTERNAL, "The worst that a call may do.")
    approval: ApprovalRule = setting(ApprovalRule.INHERIT, "Whether a person has to agree before each call.")
    timeout: Duration | None = setting(None, "How long one attempt may take, in seconds.", gt=0, le=86_400)
    attempts: int = setting(1, "How often a call that crashed is tried.", ge=1, le=10)
    cost: float = setting(0.0, "US dollars for each call that was carried out.", ge=0)
    memory: Size = setting(1024**3, "Bytes of address space of its process.", ge=64 * 1024**2)
    cpu_seconds: int = setting(60, "Seconds of processor time of one call.", ge=1, le=86_400)
    open_files: int = setting(256, "Files and connections that are open at a time.", ge=16, le=65_536)
    processes: int = setting(
        0,
        "Processes and threads that it may start, beside those that the service's user has; 0: no limit. The system "
        "counts those of all containers with the same user number, and does not limit root.",
        ge=0,
    )
    file_size: Size = setting(256 * 1024**2, "Bytes of the largest file that it may write.", ge=0)
    output: Size = setting(8 * 1024**2, "Bytes of the result as JSON.", ge=1024, le=64 * 1024**2)
    environment: dict[str, str] = setting(
        description="Environment variables; of the service's own it gets only those that find Python and the locale.",
        factory=dict,
    )

    @field_validator("function")
    @classmethod
    def _callable(cls, function: str) -> str:
        if not _FUNCTION.match(function):
            raise ValueError(f"{function!r} is not `module:function`")
        return function


class ContainerImage(Section):
    """One image, or a pattern of them, that tools may run."""

    image: str = setting(description="A reference such as `python:3.13-slim`; `*` and `?` stand for any text.")
    network: bool = setting(False, "Whether its containers may be on Docker's bridge network.")
    memory: Size = setting(512 * 1024**2, "Bytes of memory that a container may have at most.", ge=16 * 1024**2)
    cpus: float = setting(1.0, "Processors that a container may use at most.", gt=0, le=1024)
    pids: int = setting(128, "Processes and threads that a container may have at most.", ge=1, le=65_536)

    @field_validator("image")
    @classmethod
    def _reference(cls, image: str) -> str:
        if not _IMAGE.match(image):
            raise ValueError(f"{image!r} is no reference of an image")
        return image


class ToolSecret(Section):
    """One secret that tools may name. It goes to no other host than those of its list."""

    value: SecretStr = setting(description="`env:NAME`, `${file:/path}`, or the text.", secret=True)
    hosts: tuple[str, ...] = setting(description="Names, addresses and networks (CIDR) that may see it.", min_length=1)

    @field_validator("hosts")
    @classmethod
    def _readable(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        WorkerHosts.of(entries)
        return entries
