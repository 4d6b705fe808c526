"""How the server answers when no fault is set."""

from __future__ import annotations

import msgspec


class Settings(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Times are in milliseconds; `None` is "no limit" or "as long as the echo is".
    `reply` is said in place of the echo."""

    ttft_ms: float = 0.0
    tokens_per_second: float | None = None
    tokens: int | None = None
    reply: str | None = None
    embedding_dim: int = 64
    load_delay_ms: float = 0.0
    vram: int | None = None
    required_key: str | None = None
    version: str = "0.32.1"
