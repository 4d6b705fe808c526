"""POST /v1/completions: request, answer and stream."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.dialects import sampling
from orchestrator.domain.dialects.checks import as_object, as_text, unsupported
from orchestrator.domain.dialects.conversation import Answer, Conversation, Envelope, Timings
from orchestrator.domain.dialects.openai.chat_answer import FINISH, first_choice, read_timings
from orchestrator.domain.dialects.openai.chat_request import refuse_many, wants_usage, write_sampling
from orchestrator.domain.dialects.openai.chat_stream import DONE, ChatSource
from orchestrator.domain.dialects.openai.tools import read_output, write_output
from orchestrator.domain.dialects.sink import Dumps, JsonSink
from orchestrator.domain.dialects.usage import Usage, openai_usage, openai_usage_body


def read(body: dict[str, Any]) -> Conversation:
    """Raises `InvalidRequest` or `Unsupported`, naming the field."""
    refuse_many(body, "n")
    refuse_many(body, "best_of")
    params = sampling.read(sampling.OPENAI, body)
    count = params.pop("logprobs", None)
    if count is not None:  # a number here, a flag with a number beside it in the other endpoints
        params |= {"logprobs": True, "top_logprobs": int(count)}
    options, rest = sampling.read_options(as_object(body.get("options") or {}, "options"))
    return Conversation(
        model=body["model"],
        messages=(),
        stream=bool(body.get("stream")),
        sampling=options | params,
        output=read_output(body.get("response_format")),
        prompt=_prompt(body.get("prompt")),
        suffix=as_text(body.get("suffix") or "", "suffix"),
        echo=bool(body.get("echo")),
        options=rest,
        keep_alive=body.get("keep_alive"),
        user=body.get("user") or "",
    )


def _prompt(value: Any) -> str:
    if isinstance(value, list):
        if len(value) != 1 or not isinstance(value[0], str):
            raise unsupported("prompt", "several prompts or token ids work only on a node that speaks openai")
        value = value[0]
    return as_text(value, "prompt")


def write(conversation: Conversation) -> tuple[dict[str, Any], list[str]]:
    """The body, and the names of what it could not carry."""
    body: dict[str, Any] = {"model": conversation.model, "prompt": conversation.prompt}
    if conversation.suffix:
        body["suffix"] = conversation.suffix
    write_sampling(conversation.sampling, body)
    if body.pop("logprobs", None):
        body["logprobs"] = body.pop("top_logprobs", 0)
    if conversation.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    if conversation.output is not None:
        body["response_format"] = write_output(conversation.output)
    dropped = [f"options.{name}" for name in conversation.options]
    if conversation.keep_alive is not None:
        dropped.append("keep_alive")
    if conversation.thinking is not None and conversation.thinking.enabled:
        dropped.append("reasoning")
    return body, dropped


def read_logprobs(value: Any) -> list[Any] | None:
    """Parallel lists here, one object per token in the other endpoints."""
    if not value or not value.get("tokens"):
        return None
    alternatives = value.get("top_logprobs") or [{}] * len(value["tokens"])
    return [
        {
            "token": token,
            "logprob": logprob if logprob is not None else 0.0,  # none for a prompt's first token
            "bytes": None,
            "top_logprobs": [{"token": t, "logprob": p, "bytes": None} for t, p in (others or {}).items()],
        }
        for token, logprob, others in zip(value["tokens"], value["token_logprobs"], alternatives, strict=True)
    ]


def write_logprobs(tokens: list[Any] | None, offset: int = 0) -> dict[str, Any] | None:
    """`offset` is the characters of text before the first token."""
    if not tokens:
        return None
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token["token"])
    return {
        "tokens": [token["token"] for token in tokens],
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": [
            {other["token"]: other["logprob"] for other in token.get("top_logprobs") or ()} for token in tokens
        ],
        "text_offset": offsets,
    }


def read_answer(body: dict[str, Any], request_id: str) -> Answer:
    choice = first_choice(body)
    usage = body.get("usage")
    stopped_by = choice.get("stop_reason")
    return Answer(
        text=choice["text"] or "",
        finish=FINISH.get(choice.get("finish_reason") or "stop", "stop"),
        stop_sequence=stopped_by if isinstance(stopped_by, str) else None,
        usage=openai_usage(usage) if usage else None,
        logprobs=read_logprobs(choice.get("logprobs")),
        timings=read_timings(body.get("timings")),
    )


def _finish(finish: str) -> str:
    return "stop" if finish == "tool_calls" else finish


def write_answer(answer: Answer, envelope: Envelope) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": f"cmpl-{envelope.request_id}",
        "object": "text_completion",
        "created": int(envelope.now),
        "model": envelope.model,
        "choices": [
            {
                "index": 0,
                "text": answer.text,
                "logprobs": write_logprobs(answer.logprobs),
                "finish_reason": _finish(answer.finish),
            }
        ],
    }
    if answer.usage is not None:
        body["usage"] = openai_usage_body(answer.usage)
    return body


class CompletionSource(ChatSource):
    """Chunks of completions: the text stands in the choice itself."""

    __slots__ = ()

    def choice(self, choice: dict[str, Any]) -> None:
        text = choice["text"]
        if text:
            self.text(text, read_logprobs(choice.get("logprobs")))
        if choice.get("finish_reason"):
            self.finish_reason(choice)


class CompletionSink(JsonSink):
    """Writes completion chunks. Reasoning and tool calls have no place in them."""

    __slots__ = ("_after", "_before", "_offset", "_usage_wanted")

    def __init__(self, envelope: Envelope, dumps: Dumps) -> None:
        super().__init__(envelope, dumps)
        self._usage_wanted = wants_usage(envelope.body)
        self._offset = 0
        before, after = self.split(self._frame([self._choice("\0", None, None)]))
        self._before, self._after = b"data: " + before, after + b"\n\n"

    @staticmethod
    def _choice(text: str, finish: str | None, logprobs: Any) -> dict[str, Any]:
        return {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish}

    def _frame(self, choices: list[Any]) -> dict[str, Any]:
        return {
            "id": f"cmpl-{self.envelope.request_id}",
            "object": "text_completion",
            "created": int(self.envelope.now),
            "model": self.envelope.model,
            "choices": choices,
        }

    def _send(self, value: dict[str, Any]) -> None:
        self.out.append(b"data: " + self.dumps(value) + b"\n\n")

    def start(self, usage: Usage | None) -> None:
        """The dialect has no opening chunk."""

    def text(self, text: str, logprobs: list[Any] | None = None) -> None:
        if logprobs:
            self._send(self._frame([self._choice(text, None, write_logprobs(logprobs, self._offset))]))
        else:
            self.out.append(self._before + self.dumps(text) + self._after)
        self._offset += len(text)

    def reasoning(self, text: str) -> None:
        """Has no place in this dialect."""

    def signature(self, signature: str) -> None:
        """Has no place in this dialect."""

    def tool(self, index: int, call_id: str, name: str) -> None:
        """Cannot be asked for in this dialect."""

    def arguments(self, index: int, text: str) -> None:
        """Cannot be asked for in this dialect."""

    def end(self, finish: str, stop_sequence: str | None, usage: Usage | None, timings: Timings | None) -> None:
        self._send(self._frame([self._choice("", _finish(finish), None)]))
        if self._usage_wanted:
            self._send(self._frame([]) | {"usage": openai_usage_body(usage or Usage(0, 0))})
        self.out.append(DONE)
