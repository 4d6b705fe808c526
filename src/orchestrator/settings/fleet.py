"""Nodes, how they are found, and the names of models."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from orchestrator.domain.node import MAX_CONCURRENCY_RANGE, NODE_ID, NodeKind
from orchestrator.settings.section import DURATION_PATTERN, Duration, Names, Section, seconds, setting
from orchestrator.settings.url import NormalUrl

FOREVER = "forever"


def keep_alive(value: object) -> object:
    """A time in seconds; -1 for `forever`, as Ollama writes it."""
    return -1.0 if value in (FOREVER, -1, "-1") else seconds(value)


KeepAlive = Annotated[
    float,
    BeforeValidator(
        keep_alive,
        json_schema_input_type=Annotated[float, Field(ge=0)]
        | Annotated[str, Field(pattern=DURATION_PATTERN)]
        | Literal["forever", -1],
    ),
    Field(ge=-1),
]
ModelName = Annotated[str, Field(min_length=1, max_length=300)]
_LEAST, _MOST = MAX_CONCURRENCY_RANGE


class Node(Section):
    """One model server given by the operator."""

    id: str = setting(description="Name of the node: letters, digits, '.', '_' and '-', no ':'.")
    url: NormalUrl = setting(description="http or https URL of the server, without credentials.")
    kind: NodeKind = setting(NodeKind.OLLAMA, "What software answers there.")
    max_concurrency: int | None = setting(
        None, "Requests at a time; none means load_balancer.default_max_concurrency.", ge=_LEAST, le=_MOST
    )
    api_key: SecretStr | None = setting(
        None, "Key to show to the server: `env:NAME` (read at use), `${file:/path}`, or the text.", secret=True
    )
    weight: float = setting(
        1.0, "Share of traffic under the weighted policies, against the other nodes.", gt=0, le=1000
    )
    labels: dict[str, str] = setting(description="Free labels.", factory=dict)
    models: tuple[ModelName, ...] = setting((), "Models served, for a server that has no list of its own.")

    @field_validator("id")
    @classmethod
    def _named(cls, value: str) -> str:
        if not NODE_ID.match(value):
            raise ValueError("must be 1-100 letters, digits, '.', '_' or '-', and begin with a letter or digit")
        return value


class Candidate(Section):
    """One place where discovery looks for a server."""

    url: NormalUrl = setting(description="http or https URL.")
    kind: NodeKind = setting(NodeKind.OLLAMA, "What software to expect there.")


_USUAL = (
    Candidate(url="http://127.0.0.1:11434", kind=NodeKind.OLLAMA),
    Candidate(url="http://127.0.0.1:1234", kind=NodeKind.OPENAI),  # LM Studio
    Candidate(url="http://127.0.0.1:8000", kind=NodeKind.OPENAI),  # vLLM
    Candidate(url="http://127.0.0.1:8080", kind=NodeKind.OPENAI),  # llama.cpp
)


class Discovery(Section):
    """Looking for servers on their usual ports."""

    enabled: bool = setting(True, "Whether to look for local model servers.")
    interval: Duration = setting(60.0, "Time between two looks, in seconds; 0 looks only at start.", ge=0)
    timeout: Duration = setting(1.0, "How long a candidate may take to answer, in seconds.", gt=0)
    candidates: tuple[Candidate, ...] = setting(
        _USUAL, "Where to look: by default Ollama 11434, LM Studio 1234, vLLM 8000, llama.cpp 8080."
    )


class EmbeddedOptions(Section):
    """The embedded engine, llama.cpp. The same options hold for each of its files."""

    context: int = setting(
        8192, "Tokens of context for all requests to a model together; 0: as many as it was trained for.", ge=0
    )
    parallel: int = setting(4, "Requests at a time to each model.", ge=1, le=64)
    threads: int | None = setting(None, "CPU threads for each model; none lets llama.cpp decide.", ge=1, le=1024)
    gpu_layers: int | None = setting(None, "Layers on the GPU; none lets llama.cpp decide.", ge=0, le=10_000)


class Models(Section):
    """Names of models, and models served by this process."""

    embedded: tuple[str, ...] = setting((), "GGUF files that the embedded engine serves.")
    engine: EmbeddedOptions = setting(description="The embedded engine.", factory=EmbeddedOptions)
    aliases: dict[ModelName, Names] = setting(
        description="Other names of models: a target, or a list of targets, best first.", factory=dict, live=True
    )
    pull_enabled: bool = setting(
        False,
        "Whether `/api/pull`, push, create, copy and delete of Ollama act on the fleet; otherwise they answer 400.",
        live=True,
    )

    keep_alive: KeepAlive | None = setting(
        None,
        "How long an Ollama server keeps a model in memory after a warm-up: a time, or `forever`; none leaves it to "
        "the server. Requests of clients say it themselves.",
        live=True,
    )
    keep_alive_for: dict[ModelName, KeepAlive] = setting(
        description="The same for single models, by name.", factory=dict, live=True
    )
    keep_loading: bool = setting(
        True,
        "Whether an Ollama server goes on loading a model when the client whose request began the load leaves: until "
        "the first byte, and for 120 s at most.",
        live=True,
    )
    warmup_timeout: Duration = setting(300.0, "How long a warm-up may take, in seconds.", gt=0, live=True)
    job_patience: Duration = setting(
        600.0,
        "When a pull, copy or creation fails: after so many seconds without progress; until then it is retried.",
        gt=0,
        live=True,
    )
    jobs_kept: Duration = setting(30 * 86_400.0, "How long jobs that have ended are kept, in seconds.", gt=0, live=True)
    unload_idle_after: Duration | None = setting(
        None, "Unload models that nobody has used for so long, in seconds; none unloads nothing.", gt=0, live=True
    )
    prewarm: bool = setting(
        False, "Whether models are loaded ahead of the demand that is forecast, where they fit.", live=True
    )
    prewarm_rate: float = setting(
        0.2, "Requests per minute, expected of a model, from which on it is loaded ahead.", gt=0, live=True
    )

    @model_validator(mode="after")
    def _targets(self) -> Self:
        for name, targets in self.aliases.items():
            if not targets or not all(targets):
                raise ValueError(f"alias {name!r} needs at least one target, and no empty one")
            if name in targets:
                raise ValueError(f"alias {name!r} points to itself")
        return self


class Demo(Section):
    """Nodes that answer canned text, so that a first start has something to talk to."""

    enabled: bool = setting(True, "Whether to start demo nodes when there is no other node.")
    nodes: int = setting(2, "How many of them.", ge=1, le=10)
