"""Who may call."""

from __future__ import annotations

from typing import Self

from pydantic import SecretStr, field_validator, model_validator

from orchestrator.domain.access import Role
from orchestrator.settings.section import Section, setting


class Key(Section):
    """One API key given by the operator. Keys made by the API live in the database instead."""

    name: str = setting(description="Name in logs, metrics and lists.", min_length=1, max_length=100)
    key: SecretStr = setting(
        description="The key itself: `${file:/path}`, `env:NAME`, or the text.", secret=True, min_length=1
    )
    role: Role = setting(Role.DEVELOPER, "What the key may do.")
    models: tuple[str, ...] = setting((), "Models the key may use; empty means all.")
    rate_limit: int | None = setting(None, "Inference requests per minute; none means auth.rate_limit.", ge=1)
    priority: int = setting(0, "Queue priority of the key's requests.", ge=0, le=100)
    max_priority: int | None = setting(
        None, "Highest priority a request may ask for; none means `priority`.", ge=0, le=100
    )

    @model_validator(mode="after")
    def _ceiling(self) -> Self:
        if self.max_priority is not None and self.max_priority < self.priority:
            raise ValueError("max_priority must not be below priority")
        return self


class Auth(Section):
    """Authentication and the keys of the configuration."""

    enabled: bool = setting(False, "Whether callers must show an API key.")
    allow_anonymous_loopback: bool = setting(
        True, "While authentication is off: callers on this machine may do everything."
    )
    header: str = setting(
        "X-API-Key", "Header that may carry the key, besides Authorization: Bearer.", pattern=r"^[A-Za-z0-9-]{1,100}$"
    )
    rate_limit: int | None = setting(
        None, "Inference requests per minute of a key that sets none; none: no limit.", ge=1
    )
    keys: tuple[Key, ...] = setting((), "API keys of the configuration.")

    @field_validator("keys")
    @classmethod
    def _distinct(cls, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        for attribute in ("name", "key"):
            if len({getattr(key, attribute) for key in keys}) < len(keys):
                raise ValueError(f"two entries have the same {attribute}")
        return keys
