"""API keys: which principal a credential belongs to, and the keys that the API gives out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from orchestrator.domain.access import (
    VISIBLE,
    Principal,
    Role,
    anonymous,
    format_key,
    visible_part,
)
from orchestrator.domain.api_key import ApiKey, hash_secret
from orchestrator.domain.errors import InvalidRequest, NotFound, Unauthenticated
from orchestrator.domain.limiter import RateLimit
from orchestrator.ports.keys import KeyStore
from orchestrator.services.clock import Clock

_AUTHORIZATION = re.compile(rb"(?i:Bearer|ApiKey) +([^ ]+) *\Z")
_LOOPBACK = ("127.", "::1", "::ffff:127.")
_NAME = re.compile(r"[\w .@:/+-]{1,100}\Z")


class Keyring:
    """Every usable key, by the hash of its text. Keys of the configuration and keys of the database are told apart only
    by where they are changed."""

    def __init__(
        self,
        clock: Clock,
        store: KeyStore,
        token: Callable[[int], str],
        *,
        enabled: bool,
        anonymous_loopback: bool,
        header: str,
        default_limit: int | None,
    ) -> None:
        """`token(n)` gives n random characters of base64url; `default_limit` is in requests a minute."""
        self._clock = clock
        self._store = store
        self._token = token
        self._header = header.lower().encode()
        self._default_limit = default_limit
        self._anonymous = None if enabled or not anonymous_loopback else anonymous()
        self._configured: dict[str, Principal] = {}
        self._stored: dict[str, tuple[ApiKey, Principal]] = {}
        self._used: set[str] = set()
        self.revision = 0  # grows whenever a key opens what it did not, or no longer does

    def configure(self, keys: Iterable[tuple[str, Principal]]) -> None:
        """The keys of the configuration: (text, principal)."""
        self._configured = {hash_secret(text): principal for text, principal in keys}
        self.revision += 1

    async def load(self) -> None:
        """Reads the keys of the database."""
        self._stored = {key.hash: (key, self._principal(key)) for key in await self._store.list()}
        self.revision += 1

    @property
    def empty(self) -> bool:
        """Whether no key opens anything."""
        now = self._clock.epoch
        return not self._configured and not any(key.usable(now) for key, _ in self._stored.values())

    def authenticate(self, headers: Mapping[bytes, bytes], peer: str) -> Principal:
        """The principal of a request. Raises Unauthenticated.

        The key comes as `Authorization: Bearer` or `ApiKey` (the predecessor's clients), as `x-api-key` (Anthropic's
        clients) or in the header of `auth.header`. While authentication is off, callers on this machine are the person
        at this machine; a key that they send anyway (clients insist on one) is not looked at.
        """
        if self._anonymous is not None and peer.startswith(_LOOPBACK):
            return self._anonymous
        secret = self._credential(headers)
        if secret is None:
            raise Unauthenticated("Authentication required", details={"message": "Send an API key as a bearer token."})
        digest = hash_secret(secret)
        principal = self._configured.get(digest)
        if principal is not None:
            return principal
        found = self._stored.get(digest)
        if found is None or not found[0].usable(self._clock.epoch):
            raise Unauthenticated("Authentication failed", details={"message": "The API key is not valid."})
        self._used.add(found[0].id)
        return found[1]

    def known(self, principal_id: str) -> Principal | None:
        """The principal of an id, for work that goes on without its request; None when its key no longer opens
        anything."""
        if self._anonymous is not None and principal_id == self._anonymous.id:
            return self._anonymous
        now = self._clock.epoch
        usable = (one for key, one in self._stored.values() if key.usable(now))
        return next((one for one in (*self._configured.values(), *usable) if one.id == principal_id), None)

    def _credential(self, headers: Mapping[bytes, bytes]) -> str | None:
        said = headers.get(b"authorization")
        if said is not None:
            match = _AUTHORIZATION.match(said)
            return match[1].decode("latin-1") if match is not None else None
        given = headers.get(b"x-api-key") or headers.get(self._header)
        return given.decode("latin-1") if given else None

    # Keys of the database

    async def create(
        self,
        name: str,
        role: Role,
        *,
        models: tuple[str, ...] = (),
        rate_limit: int | None = None,
        priority: int = 0,
        expires_at: float | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key and its text, which is shown this once. Raises InvalidRequest."""
        if not _NAME.match(name):
            raise InvalidRequest("A key's name has 1 to 100 letters, digits, blanks and .@:/+-_.")
        if not 0 <= priority <= 100:
            raise InvalidRequest("priority must be between 0 and 100.")
        if rate_limit is not None and rate_limit < 1:
            raise InvalidRequest("rate_limit must be at least 1 request a minute.")
        if expires_at is not None and expires_at <= self._clock.epoch:
            raise InvalidRequest("expires_at lies in the past.")
        visible = "".join(letter for letter in self._token(64) if letter.isalnum())[:VISIBLE]
        text = format_key(visible, self._token(43))
        key = ApiKey(
            id=visible,
            name=name,
            prefix=visible_part(text),
            hash=hash_secret(text),
            role=role.value,
            models=models,
            rate_limit=rate_limit,
            priority=priority,
            created_at=self._clock.epoch,
            expires_at=expires_at,
        )
        await self._store.put(key)
        self._stored[key.hash] = (key, self._principal(key))
        return key, text

    async def revoke(self, key_id: str) -> None:
        """The key opens nothing from now on. Raises NotFound."""
        if not await self._store.revoke(key_id, self._clock.epoch):
            raise NotFound(f"Key '{key_id}' not found")
        await self.load()

    async def list(self) -> tuple[ApiKey, ...]:
        """The keys of the database, without their text."""
        return await self._store.list()

    async def flush(self) -> None:
        """Writes down which keys were used since the last time."""
        used, self._used = self._used, set()
        if used:
            try:
                await self._store.touch(used, self._clock.epoch)
            except BaseException:
                self._used |= used
                raise

    def _principal(self, key: ApiKey) -> Principal:
        limit = key.rate_limit or self._default_limit
        return Principal(
            id=key.id,
            name=key.name,
            role=Role(key.role),
            models=frozenset(key.models),
            priority=key.priority,
            rate_limit=RateLimit(limit) if limit else None,
        )
