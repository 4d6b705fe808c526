"""The text of messages in OpenAI's and Anthropic's content forms."""

from __future__ import annotations

from typing import Any

from orchestrator.domain.errors import InvalidRequest
from orchestrator.testing.model_server.answer import count_tokens
from orchestrator.testing.model_server.exchange import Spoken, image_mark


def spoken(messages: list[Any]) -> Spoken:
    """The text of the last message and the tokens of all."""
    tokens = 0
    text, role = "", "user"
    for message in messages:
        if not isinstance(message, dict) or "role" not in message:
            raise InvalidRequest("every message needs a 'role'")
        text, role = content_text(message.get("content")), message["role"]
        tokens += count_tokens(text)
    return Spoken(text, tokens, role == "user")


def content_text(content: Any) -> str:
    """The text of a message's content, images as marks."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise InvalidRequest("'content' must be a string or a list of parts")
    parts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("text", "input_text", "output_text"):
            parts.append(str(part.get("text", "")))
        elif kind in ("image_url", "input_image"):
            image = part.get("image_url")
            url = str(image.get("url", "") if isinstance(image, dict) else image)
            _, found, data = url.partition(";base64,")
            parts.append(image_mark(data) if found else f"[image {url}]")
    return " ".join(parts)
