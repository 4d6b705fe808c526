"""Containers by Docker's API. A container has a name before it exists, so that it is removed whatever becomes of the
call that creates it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import aiohttp
from aiodocker import Docker, DockerError
from aiodocker.containers import DockerContainer
from aiodocker.stream import Stream

from orchestrator.adapters.docker.creation import ENDS, LABEL, body_of
from orchestrator.domain.errors import InvalidRequest, ToolCrashed
from orchestrator.ports.containers import ContainerEnded, ContainerOrder

CONNECT = 5.0  # seconds
PATIENCE = 30.0  # seconds for removals, when the service ends
STDERR = 64 << 10  # bytes that are kept, the last
_STDOUT = 1
_KILLED = 137


class DockerContainers:
    """`Containers`. Made within an event loop."""

    def __init__(self, host: str, installation: str) -> None:
        """`host` is unix:///path or tcp://host:port; `installation` tells this service's containers from others."""
        timeout = aiohttp.ClientTimeout(total=60.0, connect=CONNECT, sock_connect=CONNECT)
        self._docker = Docker(host, timeout=timeout)
        self._host = host
        self._installation = installation
        self._removals: set[asyncio.Task[None]] = set()

    async def run(self, order: ContainerOrder) -> ContainerEnded:
        with self._spoken():
            creating = asyncio.ensure_future(
                self._docker.containers.create(body_of(order, self._installation), name=order.name)
            )
            try:
                return await self._through(await asyncio.shield(creating), order)
            finally:
                removal = asyncio.ensure_future(self._remove(creating, order.name))
                self._removals.add(removal)
                removal.add_done_callback(self._removals.discard)
                await asyncio.shield(removal)

    async def sweep(self, before: float) -> int:
        found = 0
        with self._spoken():
            filters = json.dumps({"label": [f"{LABEL}={self._installation}"]})
            for container in await self._docker.containers.list(all="true", filters=filters):
                ends = str((container["Labels"] or {}).get(ENDS, ""))
                if ends.isdecimal() and int(ends) <= before:
                    await _delete(container)
                    found += 1
        return found

    async def close(self) -> None:
        if self._removals:
            await asyncio.wait(self._removals, timeout=PATIENCE)
        await self._docker.close()

    async def _through(self, container: DockerContainer, order: ContainerOrder) -> ContainerEnded:
        async with container.attach(stdin=True, stdout=True, stderr=True) as stream:
            await container.start()
            feeding = asyncio.ensure_future(_feed(stream, order.stdin))
            try:
                stdout, stderr, cut = await _heard(stream, order.output)
            finally:
                feeding.cancel()
                await asyncio.wait([feeding])
                if not feeding.cancelled():
                    feeding.exception()  # a program need not read all that it is given
        if cut:
            return ContainerEnded(_KILLED, stdout, stderr, cut=True)
        return await _ended(container, stdout, stderr)

    async def _remove(self, creating: asyncio.Future[DockerContainer], name: str) -> None:
        """Also what was still being created when nobody wanted it any more."""
        with suppress(DockerError, aiohttp.ClientError, OSError, TimeoutError):
            await creating
        with suppress(DockerError, aiohttp.ClientError, OSError, TimeoutError):
            await _delete(self._docker.containers.container(name))

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        try:
            yield
        except DockerError as error:
            if error.status == 404:
                raise InvalidRequest(f"Docker: {error.message[:500]} (images are not fetched by calls)") from None
            if 400 <= error.status < 500 and error.status != 409:
                raise InvalidRequest(f"Docker: {error.message[:500]}") from None
            raise ToolCrashed(f"Docker: {error.message[:500]}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ToolCrashed(f"Docker cannot be reached at {self._host}: {type(error).__name__}") from None


async def _ended(container: DockerContainer, stdout: bytes, stderr: bytes) -> ContainerEnded:
    try:
        status = int((await container.wait())["StatusCode"])
        full = status == _KILLED and bool((await container.show())["State"].get("OOMKilled"))
    except DockerError as error:
        if error.status == 404:
            raise ToolCrashed("The container was removed by somebody else") from None
        raise
    return ContainerEnded(status, stdout, stderr, out_of_memory=full)


async def _delete(container: DockerContainer) -> None:
    """Kills it, where it runs. One that is gone, or being removed by somebody else, is no fault."""
    try:
        await container.delete(force=True, v=True)
    except DockerError as error:
        if error.status not in (404, 409):
            raise


async def _feed(stream: Stream, content: bytes) -> None:
    """Writes all, and ends the standard input; what is written stays readable."""
    await stream.write_in(content)
    response: Any = stream._resp  # the library can only close both directions
    transport = response.connection.transport if response is not None and response.connection is not None else None
    if transport is not None and transport.can_write_eof():
        transport.write_eof()


async def _heard(stream: Stream, most: int) -> tuple[bytes, bytes, bool]:
    """Standard output, the end of standard error, and whether there was more than `most` bytes of the first."""
    stdout, stderr = bytearray(), b""
    while (message := await stream.read_out()) is not None:
        if message.stream == _STDOUT:
            stdout += message.data
            if len(stdout) > most:
                return bytes(stdout[:most]), stderr, True
        else:
            stderr = (stderr + message.data)[-STDERR:]
    return bytes(stdout), stderr, False
