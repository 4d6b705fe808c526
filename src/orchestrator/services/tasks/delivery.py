"""One request to a node and its whole answer, by callbacks: there is one for every task that is pushed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from orchestrator.domain.errors import MalformedAnswer, UpstreamError, UpstreamTimeout
from orchestrator.ports.upstream import Call, Receiver, ResponseHead, Target, Upstream
from orchestrator.services.tasks.alarms import Alarm, Alarms

MAX_ANSWER = 32 << 20  # bytes
_log = logging.getLogger("orchestrator.tasks")

# HTTP status and body, or 0 and nothing with the error.
Answered = Callable[[int, bytes, UpstreamError | None], None]


def post(
    upstream: Upstream, alarms: Alarms, target: Target, head: bytes, body: bytes, seconds: float, answered: Answered
) -> Delivery:
    """Sends a whole request; `answered` is called once, unless the call is cancelled before."""
    delivery = Delivery(seconds, answered)
    call = upstream.send(target, head + b"%d\r\n\r\n" % len(body), body, delivery, seconds)
    delivery.sent(call, alarms)
    return delivery


def post_head(target: Target, path: str) -> bytes:
    """What all requests to a path have in front, up to the number of bytes of their bodies."""
    lines = (
        f"POST {target.base_path}{path} HTTP/1.1",
        f"Host: {target.host_header}",
        "Content-Type: application/json",
        "Content-Length: ",
    )
    return "\r\n".join(lines).encode("latin-1")


class Delivery(Receiver):
    """Collects the answer."""

    __slots__ = ("_alarm", "_answered", "_body", "_call", "_seconds", "_status", "over")

    def __init__(self, seconds: float, answered: Answered) -> None:
        self._seconds = seconds
        self._answered = answered
        self._status = 0
        self._body = bytearray()
        self.over = False
        self._call: Call | None = None
        self._alarm: Alarm | None = None

    def sent(self, call: Call, alarms: Alarms) -> None:
        if not self.over:  # it may have failed at once
            self._call = call
            self._alarm = alarms.after(self._seconds, self._late)

    def cancel(self) -> None:
        self.over = True
        if self._alarm is not None:
            self._alarm.cancel()
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def on_whole(self, head: ResponseHead, body: bytes) -> None:
        self._end(head.status, body, None)

    def on_head(self, head: ResponseHead) -> None:
        self._status = head.status

    def on_data(self, raw: bytes, body: bytes) -> None:
        self._body += body
        if len(self._body) > MAX_ANSWER:
            raise MalformedAnswer(f"The node's answer is longer than {MAX_ANSWER} bytes.")

    def on_end(self) -> None:
        self._end(self._status, bytes(self._body), None)

    def on_error(self, error: UpstreamError) -> None:
        self._end(0, b"", error)

    def broken(self, error: Exception) -> None:
        _log.error("bug", exc_info=error)
        self._end(0, b"", MalformedAnswer(f"The node's answer could not be read: {error}"))

    def _late(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        self._end(0, b"", UpstreamTimeout(f"No answer within {self._seconds:g} s."))

    def _end(self, status: int, body: bytes, error: UpstreamError | None) -> None:
        if self.over:
            return
        self.over = True
        self._call = None
        if self._alarm is not None:
            self._alarm.cancel()
        self._answered(status, body, error)
