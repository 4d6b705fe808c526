"""An API key as it is kept: its hash, never its text."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

SECRET_BITS = 192  # least randomness of a generated key


def hash_secret(secret: str) -> str:
    """SHA-256 of a key's text, in hex: what is stored and looked up.

    A plain fast hash is right here, and a password hash would be wrong: a key is not chosen by a person but drawn with
    at least `SECRET_BITS` of randomness, so nobody can search the inputs, and the hash is computed on every request.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Times are seconds since the epoch. `prefix` is the visible start of the key, for people to tell keys apart."""

    id: str
    name: str
    prefix: str
    hash: str = field(repr=False)  # `hash_secret` of the key
    role: str
    models: tuple[str, ...] = ()  # models the key may use; empty: all
    rate_limit: int | None = None  # requests per minute; None: the setting's default
    priority: int = 0
    created_at: float = 0.0
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None

    def usable(self, now: float) -> bool:
        """Whether the key opens anything at `now`."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)
