"""Tools of the kind `container`: a program in a container of its own for each call. The arguments are JSON on its
standard input; what it writes to standard output is the result."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

from orchestrator.domain.errors import InvalidRequest, ToolCrashed, ToolFailed
from orchestrator.domain.tool import Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.ports.containers import ContainerEnded, ContainerOrder, Containers

OUTPUT = 8 << 20  # bytes
SHOWN = 2_000  # characters of standard error in an error
GRACE = 60.0  # seconds that a container may be there after its time
_IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._/:@-]{0,254}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}\Z")
_WORKDIR = re.compile(r"/[A-Za-z0-9._/-]{0,254}\Z")
_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_JSON = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class AllowedImage:
    """A pattern of references (`*` and `?`), whether its containers may use the network, and the most that they get;
    `memory` in bytes."""

    pattern: str
    network: bool = False
    memory: int = 512 << 20
    cpus: float = 1.0
    pids: int = 128


class ContainerBinding(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What `execution.binding` says. `command` replaces the image's own; `memory` in bytes."""

    image: str
    command: list[str] = []
    env: dict[str, str] = {}
    network: Literal["none", "bridge"] = "none"
    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    read_only: bool = True
    workdir: str = ""


class ContainerTool:
    """`ToolRunner`."""

    def __init__(self, images: Sequence[AllowedImage], engine: Containers | None, wall: Callable[[], float]) -> None:
        """The first image whose pattern fits counts; without images nothing runs, and `engine` may be None. `wall`
        tells seconds since the epoch."""
        self._images = images
        self._engine = engine
        self._wall = wall

    def check(self, tool: Tool) -> None:
        if tool.execution is not None:
            self._allowed(read_container_binding(tool.execution.binding))

    async def run(self, order: CallOrder) -> CallOutcome:
        assert order.tool.execution is not None
        binding = read_container_binding(order.tool.execution.binding)
        allowed = self._allowed(binding)
        if self._engine is None:
            raise InvalidRequest("Containers are off: the operator has named no images (tools.images)")
        ended = await self._engine.run(
            ContainerOrder(
                name=_NAME.sub("-", f"orchestrator-{order.call_id}-{order.attempt}")[:200],
                image=binding.image,
                command=tuple(binding.command),
                stdin=msgspec.json.encode(order.arguments) + b"\n",
                ends_at=self._wall() + order.timeout + GRACE,
                environment=binding.env,
                workdir=binding.workdir,
                network=binding.network == "bridge",
                memory=binding.memory or allowed.memory,
                cpus=binding.cpus or allowed.cpus,
                pids=binding.pids or allowed.pids,
                read_only=binding.read_only,
                output=OUTPUT,
            )
        )
        return _outcome(ended)

    def _allowed(self, binding: ContainerBinding) -> AllowedImage:
        """Raises InvalidRequest for what goes beyond the operator's list."""
        for one in self._images:
            if fnmatchcase(binding.image, one.pattern):
                break
        else:
            raise _wrong(f"image: '{binding.image}' is not one that the operator allows (tools.images)")
        if binding.network != "none" and not one.network:
            raise _wrong(f"network: the operator grants none to '{one.pattern}' (tools.images)")
        for name in ("memory", "cpus", "pids"):
            asked, most = getattr(binding, name), getattr(one, name)
            if asked is not None and not 0 < asked <= most:
                raise _wrong(f"{name}: above 0, at most {most:,} (tools.images)")
        return one


def read_container_binding(given: Mapping[str, Any]) -> ContainerBinding:
    """Raises InvalidRequest."""
    try:
        binding = msgspec.convert(dict(given), ContainerBinding)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None
    if not _IMAGE.match(binding.image):
        raise _wrong("image: no reference of an image")
    if not all(_VARIABLE.match(name) for name in binding.env):
        raise _wrong("env: a name has letters, digits and '_'")
    if any("\0" in text for text in [*binding.command, *binding.env.values()]):
        raise _wrong("command, env: a character that no program can be given")
    if binding.workdir and not _WORKDIR.match(binding.workdir):
        raise _wrong("workdir: an absolute path")
    return binding


def _outcome(ended: ContainerEnded) -> CallOutcome:
    if ended.cut:
        raise ToolFailed(f"The container wrote more than {OUTPUT:,} bytes")
    if ended.out_of_memory:
        raise ToolCrashed("The container was ended: it needed more memory than it has")
    if ended.status != 0:
        words = " ".join(ended.stderr.decode("utf-8", "replace").split())[-SHOWN:]
        raise ToolFailed(f"Exit status {ended.status}: {words}".rstrip(": "), details={"exit_status": ended.status})
    if not ended.stdout.strip():
        return CallOutcome(None)
    try:
        return CallOutcome(_JSON.decode(ended.stdout))
    except (msgspec.DecodeError, RecursionError):
        return CallOutcome(ended.stdout.decode("utf-8", "replace"))


def _wrong(text: str) -> InvalidRequest:
    return InvalidRequest(f"execution.binding: {text}", details={"field": "execution.binding"})
