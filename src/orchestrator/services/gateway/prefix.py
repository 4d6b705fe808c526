"""A prompt's beginning as a chain of checksums, so that a growing conversation finds the node that has it cached."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from orchestrator.domain.placement import prefix_chain

if TYPE_CHECKING:
    from orchestrator.services.gateway.exchange import Exchange

_USER = re.compile(rb'"role"\s*:\s*"user"')


class _Prompt(msgspec.Struct):
    system: msgspec.Raw = msgspec.Raw()
    instructions: msgspec.Raw = msgspec.Raw()
    messages: msgspec.Raw = msgspec.Raw()
    prompt: msgspec.Raw = msgspec.Raw()
    input: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Prompt).decode
_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def prompt_prefix(exchange: Exchange) -> tuple[int, ...]:
    """The chain of `prefix_chain` over the messages as the client wrote them: a client repeats the earlier turns of a
    conversation byte for byte. Different models and principals never share a chain.

    A conversation begins with its first message of a user. What many have in common before that, the system prompt,
    is part of the first checksum only: it is soon on every node, and must not draw them all to one.
    """
    seed = crc32(f"{exchange.principal.id}\0{exchange.model}".encode())
    parts = _parts(_decode(exchange.body))
    opening = []
    for part in parts:
        opening.append(part)
        if _USER.search(part):
            chain = prefix_chain(opening, seed)
            return (chain[-1], *prefix_chain(parts, chain[-1]))
    return prefix_chain(opening, seed)


def _parts(prompt: _Prompt) -> Iterator[bytes]:
    for field in (prompt.system, prompt.instructions, prompt.messages, prompt.prompt, prompt.input):
        text = bytes(field)
        if text.startswith(b"["):
            yield from map(bytes, _decode_list(text))
        elif text:
            yield text
