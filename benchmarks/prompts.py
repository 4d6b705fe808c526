"""Requests as they go over the wire, in each client dialect; the prompt tells the stub what to answer (stub/stub.c)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Dialect = Literal["openai", "anthropic", "ollama"]
PATHS: dict[Dialect, str] = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "ollama": "/api/chat"}
SMALL_BODY = 250
MODEL = "bench"


@dataclass(frozen=True)
class Prompt:
    """One request: what to ask the stub for (`knobs`), how large a body, streamed or not."""

    dialect: Dialect = "openai"
    stream: bool = False
    body_bytes: int = SMALL_BODY
    model: str = MODEL
    knobs: Mapping[str, int] = field(default_factory=dict)

    def body(self) -> bytes:
        knobs = " ".join(f"{name}={value}" for name, value in self.knobs.items())
        text = f"bench: {knobs} " if knobs else "Tell me how long a piece of string is. "
        bare = self._document(text)
        return self._document(text + "x" * max(0, self.body_bytes - len(bare)))

    def _document(self, text: str) -> bytes:
        message = {"role": "user", "content": text}
        document: dict[str, object] = {"model": self.model, "messages": [message], "stream": self.stream}
        if self.dialect == "ollama":
            document["options"] = {"temperature": 0.7, "num_predict": 128}
        else:
            document |= {"temperature": 0.7, "max_tokens": 128}
        if self.stream and self.dialect == "openai":
            document["stream_options"] = {"include_usage": True}
        return json.dumps(document, separators=(",", ":")).encode()

    def wire(self, port: int, headers: Mapping[str, str]) -> bytes:
        """The HTTP/1.1 request with a body of `body_bytes` (or what the knobs take, when that is more)."""
        body = self.body()
        fields = {
            "Host": f"127.0.0.1:{port}",
            "Content-Type": "application/json",
            "Accept": "text/event-stream" if self.stream else "application/json",
            **({"anthropic-version": "2023-06-01"} if self.dialect == "anthropic" else {}),
            **headers,
            "Content-Length": str(len(body)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST {PATHS[self.dialect]} HTTP/1.1\r\n{head}\r\n".encode() + body
