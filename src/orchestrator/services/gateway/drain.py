"""Draining the whole service: no new requests, those under way finish, and an operator may call it off."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from orchestrator.ports.record import RequestRecord
from orchestrator.services.gateway.gateway import Gateway

_log = logging.getLogger("orchestrator.drain")


@dataclass(frozen=True, slots=True)
class DrainState:
    """`started` in seconds since the epoch, `timeout` in seconds; `finished` None while requests are under way,
    True when none was left in time, False when the time was over before."""

    started: float
    timeout: float
    finished: bool | None


class Drain:
    """One per service."""

    def __init__(self, gateway: Gateway) -> None:
        self.state: DrainState | None = None
        self._gateway = gateway
        self._idle = asyncio.Event()
        self._waiting: asyncio.Task[None] | None = None

    def start(self, timeout: float) -> DrainState:
        """Turns new requests away (503) at once and waits for the others in the background, `timeout` seconds long.
        Requests that take longer go on; they are only waited for no more."""
        self.stop()
        self._gateway.close()
        self._idle.clear()
        self._gateway.on_record.append(self._ended)
        state = self.state = DrainState(self._gateway.clock.epoch, timeout, None)
        self._waiting = asyncio.create_task(self._wait(state))
        _log.info("drain_started", extra={"timeout": timeout, "active": len(self._gateway.active)})
        return state

    def cancel(self) -> bool:
        """Takes requests again. False when no drain was under way."""
        began = self.state is not None
        self.stop()
        if began:
            self.state = None
            self._gateway.reopen()
            _log.info("drain_cancelled")
        return began

    def stop(self) -> None:
        """Ends the waiting; the state of the gateway stays."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self._ended in self._gateway.on_record:
            self._gateway.on_record.remove(self._ended)

    def _ended(self, record: RequestRecord) -> None:
        if not self._gateway.active:
            self._idle.set()

    async def _wait(self, state: DrainState) -> None:
        if not self._gateway.active:
            self._idle.set()
        try:
            async with asyncio.timeout(state.timeout):
                await self._idle.wait()
        except TimeoutError:
            finished = False
        else:
            finished = True
        self.state = DrainState(state.started, state.timeout, finished)
        _log.info("drain_finished", extra={"finished": finished})
