"""Embedding vectors that depend on nothing but the text."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from functools import lru_cache


@lru_cache(maxsize=256)
def embed(text: str, dimension: int) -> tuple[float, ...]:
    """A unit vector: equal texts have equal vectors, different texts almost orthogonal ones."""
    words = struct.unpack(f"<{dimension}h", hashlib.shake_256(text.encode()).digest(2 * dimension))
    norm = math.sqrt(sum(word * word for word in words)) or 1.0
    return tuple(word / norm for word in words)


def packed(vector: tuple[float, ...]) -> str:
    """OpenAI's `encoding_format: base64`: little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
