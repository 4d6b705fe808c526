"""The settings as plain data."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from orchestrator.settings.mask import mask, mask_url
from orchestrator.settings.tree import Settings


def dump(settings: Settings, *, redact: bool = True) -> dict[str, Any]:
    """JSON-ready data that `apply` and the file readers accept. `redact` masks every secret."""
    tree: dict[str, Any] = plain(settings, redact)
    url = tree["database"]["url"]
    if redact and url is not None:
        tree["database"]["url"] = mask_url(url)
    return tree


def plain(value: Any, redact: bool = True) -> Any:
    """Models and their parts as JSON-ready data."""
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name), redact) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {name: plain(inner, redact) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, redact) for inner in value]
    if isinstance(value, SecretStr):
        return mask(value.get_secret_value()) if redact else value.get_secret_value()
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value
