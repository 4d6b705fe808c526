"""What the parent tells the child to serve, and what the child tells the parent: one line of JSON, one word."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

READY = b"ready\n"


@dataclass(frozen=True, slots=True)
class Order:
    """Options of llama.cpp's server. The key stays between parent and child: no file, no argument, no environment."""

    path: str
    name: str  # under which clients ask for the model
    port: int
    key: str
    context: int  # tokens for all requests together; 0: as many as the model was trained for
    parallel: int  # requests at a time
    threads: int  # 0: llama.cpp decides
    gpu_layers: int  # -1: llama.cpp decides
    last_pooling: bool  # for models made for answers: as Ollama does, and the only way for long texts
    whole_batch: bool  # for encoders, which must see a text at once

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Order:
        return cls(**json.loads(line))
