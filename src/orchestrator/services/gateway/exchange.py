"""One request on its way through the gateway: the record that the steps share, and the order they are taken in.

    parse -> authenticate -> admit -> place -> attempt -> relay -> settle

An exchange lives in callbacks. It ends exactly once, in `settle`, whatever happens: answer, error, timeout or a client
that leaves. It is the receiver of its node's answer; `relay` decides what the client sees of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from orchestrator.domain.access import Principal
from orchestrator.domain.catalogue import Resolved
from orchestrator.domain.dialects import Endpoint, Translation, Usage
from orchestrator.domain.errors import (
    OrchestratorError,
    Stalled,
    UpstreamError,
    UpstreamTimeout,
)
from orchestrator.ports.client import ClientSide
from orchestrator.ports.record import Attempt
from orchestrator.ports.upstream import Call, ResponseHead
from orchestrator.services.fleet.fleet import Passes
from orchestrator.services.fleet.node import FleetNode, Pair
from orchestrator.services.gateway.cost import usage_in
from orchestrator.services.gateway.left_load import leave_loading
from orchestrator.services.gateway.relay import HOLD_WHOLE

if TYPE_CHECKING:
    from orchestrator.services.gateway.gateway import Gateway
    from orchestrator.services.gateway.relay import Relay


def _unheeded(raw: bytes, body: bytes) -> None:
    """Bytes of an answer that is over."""


class Exchange:
    """One request. Attributes are public to the steps of this package and to nobody else."""

    # Defaults live on the class: an instance holds only what it differs in, and most requests differ in little.
    node_id = ""  # set by a direct route: this node and no other
    bypass = False  # direct route that asks to skip health, bans and breakers
    debug = False
    id = ""
    model = ""  # as the client wrote it
    stream = False
    stream_forced = False  # the body does not say stream:false, but the operator's default does
    empty = False  # Ollama's load and unload: no prompt
    resolved: Resolved | None = None
    priority = 0
    policy: str | None = None  # asked for by header
    session = ""  # a caller's own key of a conversation
    deadline = inf  # monotonic: the whole request
    wait_until = inf  # monotonic: the phase under way (connect and first byte, or between tokens)
    queued_at = 0.0
    queue_wait = 0.0
    continuations = 0
    node: FleetNode | None = None
    pair: Pair | None = None
    passes: Passes | None = None  # None where breakers are bypassed
    call: Call | None
    translation: Translation | None = None
    relay: Relay | None
    first_byte_at = 0.0
    tokens_seen = 0  # chunks that reached the client
    _tokens_noted = 0  # when the clock last looked
    usage: Usage | None = None
    status = 0
    error: OrchestratorError | None = None
    counted = False  # holds one of its principal's places
    over = False

    def __init__(
        self,
        gateway: Gateway,
        client: ClientSide,
        endpoint: Endpoint,
        body: bytes | bytearray,
        headers: Mapping[bytes, bytes],
        principal: Principal,
        peer: str,
    ) -> None:
        self.gateway = gateway
        self.client = client
        self.endpoint = endpoint
        self.body = body
        self.headers = headers  # lower-case names
        self.principal = principal
        self.peer = peer
        self.started = monotonic()
        self.attempts: list[Attempt] = []
        # Not on the class: the compiled form has no defaults there for what is only known by its protocol.
        self.call = None
        self.relay = None

    @property
    def catalogue_model(self) -> str:
        """The model as the catalogue names it, where it is known: by that name everybody counts."""
        if self.resolved is not None:
            return self.resolved.name
        return self.pair.model if self.pair is not None else self.model  # a direct route resolves nothing

    # What the node says (ports.upstream.Receiver)

    on_data: Callable[[bytes, bytes], None]  # the relay's own method, set with the relay: streams pass here often

    def on_head(self, head: ResponseHead) -> None:
        self.gateway.relaying.begin(self, head)

    def on_end(self) -> None:
        self.call = None
        relay = self.relay
        assert relay is not None
        relay.end()

    def on_whole(self, head: ResponseHead, body: bytes) -> None:
        self.call = None
        if head.status < 300 and not self.stream and self.translation is None and len(body) <= HOLD_WHOLE:
            self.attempts[-1].status = head.status
            self.first_byte_at = self.gateway.clock.tick()
            self.usage = usage_in(body)
            self.gateway.settling.answered(self, body)
            return
        self.on_head(head)
        self.on_data(body, body)
        self.on_end()

    def on_error(self, error: UpstreamError) -> None:
        self.call = None
        self.gateway.attempting.failed(self, error)

    # What the client does

    def client_gone(self) -> None:
        """The client left: the node stops at once, unless it is loading the model, and nobody is blamed."""
        if not self.over:
            if not leave_loading(self):
                self.drop_call()
            self.gateway.settling.cancelled(self)

    def client_paused(self) -> None:
        """The client reads slower than the node writes: hold back this node's connection, and only this."""
        self.wait_until = self.deadline  # the silence that follows is ours, not the node's
        if self.call is not None:
            self.call.pause()

    def client_resumed(self) -> None:
        self.wait_until = self.gateway.clock.now + self.gateway.limits.stall
        if self.call is not None:
            self.call.resume()

    # What the clock does

    def check(self, now: float) -> None:
        """Called a few times a second while the exchange is under way."""
        if now >= self.deadline:
            self.drop_call()
            seconds = self.deadline - self.started
            if self.node is None:
                self.fail(self.gateway.admitting.late(self))
            else:
                self._late(UpstreamTimeout(f"The request did not finish within {seconds:.1f} s."))
        elif self.tokens_seen != self._tokens_noted:  # the stream is alive
            self._tokens_noted = self.tokens_seen
            self.wait_until = now + self.gateway.limits.stall
        elif self.call is not None and now >= self.wait_until:
            self.drop_call()
            if self.first_byte_at:
                self.gateway.attempting.failed(self, Stalled("The node stopped sending tokens."))
            else:
                self.gateway.attempting.failed(self, UpstreamTimeout("The node sent no first byte in time."))

    def _late(self, error: UpstreamTimeout) -> None:
        """The whole time is over. That is the node's fault when it had the operator's time and sent nothing; a time
        that the caller chose, an answer that is long or a client that reads slowly says nothing about it."""
        gateway = self.gateway
        begun = self.relay is not None and self.relay.begun
        if not begun and self.deadline >= self.started + gateway.limits.timeout:
            gateway.attempting.failed(self, error, final=True)
            return
        attempt = self.attempts[-1]
        attempt.error, attempt.kind, attempt.ended = error.message, "timeout", gateway.clock.now
        self.fail(error)
        gateway.admitting.pump()

    # How it ends

    def fail(self, error: OrchestratorError) -> None:
        """Answers with an error in the client's dialect, whole or as the last event of a stream that has begun."""
        if not self.over:
            self.gateway.settling.failed(self, error)

    def broken(self, error: Exception) -> None:
        """A mistake of ours: it is logged whole, the client gets an error, and nothing stays held."""
        self.call = None
        self.gateway.report_bug(self, error)
        self.fail(OrchestratorError("Internal server error"))

    def dissolve(self) -> None:
        """Unties what refers back to the exchange, so that it is freed at once and not by the garbage collector."""
        self.relay = None
        self.on_data = _unheeded
        error: BaseException | None = self.error
        while error is not None:  # the frames of what it came from hold the exchange too
            error.__traceback__ = None
            error = error.__context__

    def drop_call(self) -> None:
        """Takes the request off the node, if one has it."""
        call, self.call = self.call, None
        if call is not None:
            call.cancel()
