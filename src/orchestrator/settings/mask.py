"""How secrets are shown."""

from __future__ import annotations

import re

from orchestrator.settings.secret import REFERENCE

MASK = "***REDACTED***"
_PASSWORD = re.compile(r"(?<=://)([^:@/?#]*):(.*)@")
_QUERY_PASSWORD = re.compile(r"(?i)([?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&#]*")


def mask(secret: str) -> str:
    """The mask; a reference such as `env:NAME` is no secret and stays."""
    return secret if REFERENCE.match(secret) else MASK


def mask_url(url: str) -> str:
    """The URL without its passwords."""
    url = _PASSWORD.sub(rf"\g<1>:{MASK}@", url)
    return _QUERY_PASSWORD.sub(rf"\g<1>{MASK}", url)
