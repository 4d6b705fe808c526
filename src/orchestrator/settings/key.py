"""The keys of the tree, as data: for origins, environment names, suggestions and the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from orchestrator.settings.section import Section, members, optional
from orchestrator.settings.tree import Settings

ENVIRONMENT_PREFIX = "ORCHESTRATOR_"


@dataclass(frozen=True, slots=True)
class Key:
    """One key that can be set. A list or a free mapping is one key, whatever it holds."""

    path: str
    annotation: Any
    default: Any  # PydanticUndefined: has to be given
    description: str
    live: bool
    secret: bool
    limits: tuple[Any, ...] = ()

    @property
    def environment(self) -> str:
        """The environment variable that sets the key."""
        return ENVIRONMENT_PREFIX + self.path.upper().replace(".", "__")

    @property
    def optional(self) -> bool:
        return optional(self.annotation)

    @property
    def is_list(self) -> bool:
        return any(get_origin(part) is tuple for part in members(self.annotation))

    @property
    def is_mapping(self) -> bool:
        return any(get_origin(part) is dict for part in members(self.annotation))

    @property
    def item(self) -> type[Section] | None:
        """The model of a list's items, where they are more than plain values."""
        for part in members(self.annotation):
            if get_origin(part) is tuple and (model := as_section(get_args(part)[0])) is not None:
                return model
        return None


def as_section(annotation: Any) -> type[Section] | None:
    """The annotation, if it is a section."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


@cache
def keys() -> Mapping[str, Key]:
    """Every key of the tree by its path, in the order of the models."""
    return {key.path: key for key in model_keys(Settings)}


@cache
def sections() -> frozenset[str]:
    """The paths that are sections."""
    return frozenset(path.rpartition(".")[0] for path in keys()) | frozenset(
        ".".join(path.split(".")[:depth]) for path in keys() for depth in range(1, path.count(".") + 1)
    )


def model_keys(model: type[Section], prefix: str = "") -> Iterator[Key]:
    """The keys of one model; `prefix` ends with its dot."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        inner = as_section(field.annotation)
        if inner is not None:
            yield from model_keys(inner, f"{path}.")
        else:
            yield _key(path, field)


def _key(path: str, field: FieldInfo) -> Key:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    default = field.default
    if default is PydanticUndefined and field.default_factory is not None:
        default = field.get_default(call_default_factory=True, validated_data={})
    return Key(
        path=path,
        annotation=field.annotation,
        default=default,
        description=field.description or "",
        live=bool(extra.get("live")),
        secret=bool(extra.get("secret")),
        limits=(*field.metadata, *_inner_limits(field.annotation)),
    )


def _inner_limits(annotation: Any) -> tuple[Any, ...]:
    return tuple(limit for part in get_args(annotation) for limit in getattr(part, "__metadata__", ()))


def live_paths() -> frozenset[str]:
    """The keys that take effect while the service runs; all others need a restart."""
    return frozenset(path for path, key in keys().items() if key.live)


def siblings(path: Sequence[str | int]) -> tuple[str, ...]:
    """The names that may stand where the last step of `path` does; none where any name may."""
    annotation: Any = Settings
    for step in path[:-1]:
        model = as_section(annotation)
        if model is not None:
            if step not in model.model_fields:
                return ()
            annotation = model.model_fields[str(step)].annotation
        else:
            part = next((part for part in members(annotation) if get_origin(part) in (tuple, dict)), None)
            if part is None:
                return ()
            annotation = get_args(part)[0 if get_origin(part) is tuple else 1]
    model = as_section(annotation)
    return tuple(model.model_fields) if model is not None else ()


def is_secret(path: Sequence[str | int]) -> bool:
    """Whether what stands at `path`, or around it, must not be repeated."""
    annotation: Any = Settings
    for step in path:
        model = as_section(annotation)
        if model is not None:
            field = model.model_fields.get(str(step))
            if field is None:
                return False
            if isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("secret"):
                return True
            annotation = field.annotation
        else:
            part = next((part for part in members(annotation) if get_origin(part) in (tuple, dict)), None)
            if part is None:
                return SecretStr in members(annotation)
            annotation = get_args(part)[0 if get_origin(part) is tuple else 1]
    return False
