"""A Translation carries one request to a node of another dialect, and the node's answer back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.domain.dialects import embeddings, endpoint
from orchestrator.domain.dialects.anthropic import answer as anthropic_answer
from orchestrator.domain.dialects.anthropic import request_read as anthropic_read
from orchestrator.domain.dialects.anthropic import request_write as anthropic_write
from orchestrator.domain.dialects.anthropic.stream import MessagesSink, MessagesSource
from orchestrator.domain.dialects.conversation import Answer, Conversation, Envelope
from orchestrator.domain.dialects.endpoint import Endpoint, Operation, target_endpoint
from orchestrator.domain.dialects.framing import NdjsonFrames, SseFrames
from orchestrator.domain.dialects.ollama import answer as ollama_answer
from orchestrator.domain.dialects.ollama import request_read as ollama_read
from orchestrator.domain.dialects.ollama import request_write as ollama_write
from orchestrator.domain.dialects.ollama.stream import OllamaSink, OllamaSource
from orchestrator.domain.dialects.openai import (
    chat_answer,
    chat_request,
    completions,
    responses_answer,
    responses_request,
)
from orchestrator.domain.dialects.openai.chat_stream import ChatSink, ChatSource
from orchestrator.domain.dialects.openai.responses_stream import ResponsesSink, ResponsesSource
from orchestrator.domain.dialects.sink import Clock, Dumps, Loads, Sink, dump
from orchestrator.domain.dialects.source import Source
from orchestrator.domain.dialects.stream import WRONG_SHAPE, Silent, StreamTranslator
from orchestrator.domain.errors import InvalidRequest, MalformedAnswer, OrchestratorError
from orchestrator.domain.node import Dialect

_Written = tuple[dict[str, Any], list[str]]

_READ: Mapping[str, Callable[[dict[str, Any]], Conversation]] = {
    endpoint.OPENAI_CHAT.name: chat_request.read,
    endpoint.OPENAI_COMPLETIONS.name: completions.read,
    endpoint.OPENAI_RESPONSES.name: responses_request.read,
    endpoint.ANTHROPIC_MESSAGES.name: anthropic_read.read,
    endpoint.OLLAMA_CHAT.name: ollama_read.read_chat,
    endpoint.OLLAMA_GENERATE.name: ollama_read.read_generate,
}
_WRITE: Mapping[str, Callable[[Conversation], _Written]] = {
    endpoint.OPENAI_CHAT.name: chat_request.write,
    endpoint.OPENAI_COMPLETIONS.name: completions.write,
    endpoint.ANTHROPIC_MESSAGES.name: anthropic_write.write,
    endpoint.OLLAMA_CHAT.name: ollama_write.write_chat,
    endpoint.OLLAMA_GENERATE.name: ollama_write.write_generate,
}
_READ_ANSWER: Mapping[str, Callable[[dict[str, Any], str], Answer]] = {
    endpoint.OPENAI_CHAT.name: chat_answer.read,
    endpoint.OPENAI_COMPLETIONS.name: completions.read_answer,
    endpoint.ANTHROPIC_MESSAGES.name: anthropic_answer.read,
    endpoint.OLLAMA_CHAT.name: ollama_answer.read,
    endpoint.OLLAMA_GENERATE.name: ollama_answer.read,
}
_WRITE_ANSWER: Mapping[str, Callable[[Answer, Envelope], dict[str, Any]]] = {
    endpoint.OPENAI_CHAT.name: chat_answer.write,
    endpoint.OPENAI_COMPLETIONS.name: completions.write_answer,
    endpoint.OPENAI_RESPONSES.name: responses_answer.write,
    endpoint.ANTHROPIC_MESSAGES.name: anthropic_answer.write,
}
_SOURCES: Mapping[str, Callable[[Sink, Loads, str], Source]] = {
    endpoint.OPENAI_CHAT.name: ChatSource,
    endpoint.OPENAI_COMPLETIONS.name: completions.CompletionSource,
    endpoint.OPENAI_RESPONSES.name: ResponsesSource,
    endpoint.ANTHROPIC_MESSAGES.name: MessagesSource,
    endpoint.OLLAMA_CHAT.name: OllamaSource,
    endpoint.OLLAMA_GENERATE.name: OllamaSource,
}
_SINKS: Mapping[str, Callable[[Envelope, Dumps], Sink]] = {
    endpoint.OPENAI_CHAT.name: ChatSink,
    endpoint.OPENAI_COMPLETIONS.name: completions.CompletionSink,
    endpoint.OPENAI_RESPONSES.name: ResponsesSink,
    endpoint.ANTHROPIC_MESSAGES.name: MessagesSink,
}


class Translation:
    """One request on its way. `dropped` names, after `request()`, what the target has no word for and answers without.

    Where source and target are the same endpoint, bodies and bytes pass as they are.
    """

    __slots__ = ("_envelope", "_json_tool", "dropped", "source", "target")

    def __init__(self, source: Endpoint, target: Endpoint, envelope: Envelope) -> None:
        self.source = source
        self.target = target
        self.dropped: tuple[str, ...] = ()
        self._envelope = envelope
        self._json_tool = (
            target is endpoint.ANTHROPIC_MESSAGES and source is not target and _wants_any_json(envelope.body)
        )

    def request(self) -> dict[str, Any]:
        """The body for the target. Raises `InvalidRequest` or `Unsupported` with a message that names the field."""
        body = self._envelope.body
        if self.source is self.target:
            return dict(body)
        try:
            if self.source.operation is Operation.EMBED:
                out, dropped = embeddings.write_request(self.source, self.target, body)
            else:
                out, dropped = _WRITE[self.target.name](_READ[self.source.name](body))
        except OrchestratorError:
            raise
        except WRONG_SHAPE as error:
            raise InvalidRequest(f"the request has a field of the wrong type: {error!r:.200}") from error
        self.dropped = tuple(dropped)
        return out

    def response(self, body: dict[str, Any], clock: Clock | None = None) -> dict[str, Any]:
        """The client's form of the target's 200 body. `clock` gives epoch seconds, for Ollama's durations.

        Raises `MalformedAnswer`.
        """
        if self.source is self.target:
            return body
        envelope, source = self._envelope, self.source
        ended = envelope.now if clock is None else clock()
        try:
            if source.operation is Operation.EMBED:
                return embeddings.translate_answer(source, self.target, body, envelope, ended)
            answer = self._read_answer(body)
            if source is endpoint.OLLAMA_CHAT:
                return ollama_answer.write_chat(answer, envelope, ended)
            if source is endpoint.OLLAMA_GENERATE:
                return ollama_answer.write_generate(answer, envelope, ended)
            return _WRITE_ANSWER[source.name](answer, envelope)
        except MalformedAnswer:
            raise
        except (OrchestratorError, *WRONG_SHAPE) as error:
            raise MalformedAnswer(f"the node's answer is not in its dialect: {error!r:.200}") from error

    def _read_answer(self, body: dict[str, Any]) -> Answer:
        if self._json_tool:
            return anthropic_answer.read(body, self._envelope.request_id, json_tool=True)
        return _READ_ANSWER[self.target.name](body, self._envelope.request_id)

    def stream(
        self,
        loads: Loads = json.loads,
        dumps: Callable[[Any], bytes] = dump,
        clock: Clock | None = None,
    ) -> StreamTranslator:
        """A translator for the target's stream. `loads` must raise a ValueError for bad JSON; `dumps` gives bytes."""
        target, rid = self.target, self._envelope.request_id
        if self.source is target:
            return StreamTranslator(_frames(target), _SOURCES[target.name](Silent(), loads, rid), relays=True)
        sink: Sink
        if self.source.dialect is Dialect.OLLAMA:
            sink = OllamaSink(self._envelope, dumps, clock, chat=self.source is endpoint.OLLAMA_CHAT)
        else:
            sink = _SINKS[self.source.name](self._envelope, dumps)
        if self._json_tool:
            return StreamTranslator(SseFrames(), MessagesSource(sink, loads, rid, json_tool=True))
        return StreamTranslator(_frames(target), _SOURCES[target.name](sink, loads, rid))


def _frames(of: Endpoint) -> SseFrames | NdjsonFrames:
    return NdjsonFrames() if of.dialect is Dialect.OLLAMA else SseFrames()


def _wants_any_json(body: Mapping[str, Any]) -> bool:
    """Whether the client asked for JSON without a schema, in any dialect's words."""
    if body.get("format") == "json":
        return True
    text = body.get("text")
    chosen = body.get("response_format") or (text.get("format") if isinstance(text, dict) else None)
    return isinstance(chosen, dict) and chosen.get("type") == "json_object"


def observer(of: Endpoint, sink: Sink, loads: Loads) -> StreamTranslator:
    """Reads a stream of `of` for `sink` without changing it."""
    return StreamTranslator(_frames(of), _SOURCES[of.name](sink, loads, ""), relays=True)


def translate(
    source: Endpoint, target: Dialect, body: dict[str, Any], *, model: str, request_id: str, now: float
) -> Translation:
    """A translation of the client's `body` for a node that speaks `target`.

    `model` is the name to report to the client (the body's goes to the node), `now` epoch seconds for created fields.
    Raises `Unsupported` when the target has no such endpoint.
    """
    where = target_endpoint(source, target, body)
    return Translation(source, where, Envelope(model, request_id, now, body))
