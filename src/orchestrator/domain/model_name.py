"""Names of models: `name`, `name:tag`, `namespace/name:tag`, `host[:port]/namespace/name:tag`.

A missing tag means `latest`, so `llama3` and `llama3:latest` are one model; whatever is counted per model is counted
under the catalogue's name and never under a client's spelling.
"""

from __future__ import annotations

import re

from orchestrator.domain.errors import InvalidRequest

MAX_LENGTH = 256
LATEST = ":latest"
# What Ollama, Hugging Face and the hosted providers use in names; `|` and `,` stay free for our own notation.
_VALID = re.compile(r"[A-Za-z0-9_.@-][A-Za-z0-9_.@:/+~() -]*\Z")
_SLASH = re.compile(r"\s*/\s*")


def key_of(name: str) -> str:
    """What two spellings of one model have in common: the name without `:latest`."""
    return name[: -len(LATEST)] if name.endswith(LATEST) else name


def split(name: str) -> tuple[str, str]:
    """`llama3:8b` -> (`llama3`, `8b`); the tag is empty when there is none. A port is no tag."""
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, "")


def with_tag(name: str) -> str:
    """The full name: `:latest` is added where there is no tag."""
    return name if split(name)[1] else name + LATEST


def check(name: str) -> str:
    """The name as a client gave it, without surrounding blanks. Raises InvalidRequest for what can be no name."""
    name = name.strip()
    if not name:
        raise InvalidRequest("model is required")
    if len(name) > MAX_LENGTH:
        raise InvalidRequest(f"the model's name is over {MAX_LENGTH} characters")
    if not _VALID.match(name) or any(part in ("", ".", "..") for part in name.split("/")):
        raise InvalidRequest("the model's name holds characters that no model's name has")
    return name


def normalise(name: str) -> str:
    """The name in the form in which Ollama stores it: lower case, no blanks around slashes. For pull, copy, create."""
    return check(_SLASH.sub("/", name.strip()).lower())
