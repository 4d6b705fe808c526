"""What a node's answer cost, read from its bytes: whether it is an answer at all, and the tokens it tells of."""

from __future__ import annotations

import re

import msgspec

from orchestrator.domain.dialects import Usage
from orchestrator.domain.errors import MalformedAnswer, UpstreamStatus

TAIL = 2048  # the last bytes of an answer, where its counts are
_NOTHING = msgspec.Raw()
_USAGE = re.compile(
    rb'"(prompt_tokens|completion_tokens|input_tokens|output_tokens|prompt_eval_count|eval_count)"\s*:\s*([0-9]{1,12})'
)
_PROMPT = frozenset((b"prompt_tokens", b"input_tokens", b"prompt_eval_count"))


class _Tokens(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Shape(msgspec.Struct):
    """Enough of an answer to know that it is JSON, whether it is an error in disguise, and what it cost."""

    error: msgspec.Raw = _NOTHING
    usage: _Tokens | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None

    def tokens(self) -> Usage | None:
        usage = self.usage
        if usage is not None:
            return Usage(
                usage.prompt_tokens or usage.input_tokens or 0, usage.completion_tokens or usage.output_tokens or 0
            )
        if self.eval_count is not None or self.prompt_eval_count is not None:
            return Usage(self.prompt_eval_count or 0, self.eval_count or 0)
        return None


_shape = msgspec.json.Decoder(_Shape).decode


def scan_usage(tail: bytes) -> Usage | None:
    """Token counts from the last bytes of an answer, without parsing it. Later mentions win, as in a stream."""
    prompt = completion = 0
    found = False
    for name, digits in _USAGE.findall(tail):
        found = True
        if name in _PROMPT:
            prompt = int(digits)
        else:
            completion = int(digits)
    return Usage(prompt, completion) if found else None


def usage_in(body: bytes) -> Usage | None:
    """The tokens that the answer tells of. Raises MalformedAnswer, and UpstreamStatus for an error under a 200."""
    try:
        shape = _shape(body)
    except msgspec.ValidationError:  # JSON, but with counts of its own kind
        if not body.lstrip().startswith(b"{"):
            raise MalformedAnswer("The node's answer is not a JSON object.") from None
        return scan_usage(body[-TAIL:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedAnswer("The node's answer is not JSON.") from None
    if shape.error is not _NOTHING and bytes(shape.error) != b"null":
        raise UpstreamStatus(f"The node answered 200 with an error: {bytes(shape.error)[:200]!r}.")
    return shape.tokens()
