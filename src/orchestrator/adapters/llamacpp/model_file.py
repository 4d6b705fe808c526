"""What a GGUF file says of itself in its header.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The numbers of a file are not trusted:
every length is held against a limit before anything is read.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from orchestrator.domain.errors import ConfigurationError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_KEYS = 10_000
MAX_TEXT = 16 << 20  # bytes of one text; the longest are chat templates
MAX_ITEMS = 10_000_000  # of one list; the longest are vocabularies
_NUMBERS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _LIST = 8, 9
_PART = re.compile(r"-\d{5}-of-\d{5}\Z")
_ENCODERS = ("bert", "t5encoder")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model as its file describes it. `context` is the length it was trained for, 0 when the file does not say."""

    path: Path
    architecture: str
    context: int
    pooled: bool  # says how its embeddings are pooled: made for embeddings
    encoder: bool  # can do nothing but embeddings

    @property
    def name(self) -> str:
        """The file's name without its ending and without the number of its part."""
        return _PART.sub("", self.path.stem)


def read_model_file(path: Path) -> ModelFile:
    """Raises ConfigurationError for a file that is missing, not readable or no GGUF file."""
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise ConfigurationError(f"models.embedded: {path} is not a GGUF file.")
            values = _header(file)
    except OSError as error:
        raise ConfigurationError(f"models.embedded: cannot read {path}: {error.strerror}.") from None
    except (struct.error, ValueError, RecursionError):
        raise ConfigurationError(f"models.embedded: {path} is not a whole GGUF file: its header is broken.") from None
    architecture = str(values.get("general.architecture", ""))
    context = values.get(f"{architecture}.context_length", 0)
    return ModelFile(
        path=path.resolve(),
        architecture=architecture,
        context=context if isinstance(context, int) and context > 0 else 0,
        pooled=f"{architecture}.pooling_type" in values,
        encoder=architecture.endswith(_ENCODERS) or values.get(f"{architecture}.attention.causal") is False,
    )


def _header(file: BinaryIO) -> dict[str, Any]:
    """The keys with their values; lists are skipped."""
    version, _, count = struct.unpack("<IQQ", file.read(20))
    if version not in VERSIONS or count > MAX_KEYS:
        raise ValueError(version)
    values: dict[str, Any] = {}
    for _ in range(count):
        key = _text(file)
        values[key] = _value(file, _number(file, "<I"))
    return values


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _TEXT:
        return _text(file)
    if kind != _LIST:
        return _number(file, _format(kind))
    item, count = struct.unpack("<IQ", file.read(12))
    if count > MAX_ITEMS:
        raise ValueError(count)
    if item in _NUMBERS:
        file.seek(count * struct.calcsize(_NUMBERS[item]), 1)
        return None
    for _ in range(count):
        if item == _TEXT:
            file.seek(_length(file), 1)
        else:
            _value(file, item)
    return None


def _format(kind: int) -> str:
    if kind not in _NUMBERS:
        raise ValueError(kind)
    return _NUMBERS[kind]


def _number(file: BinaryIO, form: str) -> Any:
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _length(file: BinaryIO) -> int:
    length: int = _number(file, "<Q")
    if length > MAX_TEXT:
        raise ValueError(length)
    return length


def _text(file: BinaryIO) -> str:
    length = _length(file)
    data = file.read(length)
    if len(data) < length:
        raise ValueError(length)
    return data.decode("utf-8", "replace")
