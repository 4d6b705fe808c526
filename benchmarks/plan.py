"""What is measured, in which order and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.prompts import SMALL_BODY, Dialect

EVERYBODY = frozenset({"direct", "nginx", "litellm", "ours", "ours-asgi"})
FAST = EVERYBODY - {"litellm"}
TRANSLATORS = frozenset({"ours", "ours-asgi"})


@dataclass(frozen=True)
class Rate:
    """Closed loop: `concurrency` clients, each sending its next request when it has its answer, for `seconds`.

    With `one_core` gateway, stub and clients share a core, so that added latency is the gateway's work and no wake-ups.
    """

    name: str
    concurrency: int
    seconds: int
    targets: frozenset[str] = EVERYBODY
    dialect: Dialect = "openai"
    body_bytes: int = SMALL_BODY
    one_core: bool = False


@dataclass(frozen=True)
class Streams:
    """`streams` concurrent SSE streams of `chunks` chunks each, one per `interval_ms`, begun over `ramp_ms`."""

    name: str
    streams: int
    chunks: int = 100
    interval_ms: int = 50
    ramp_ms: int = 1000
    targets: frozenset[str] = FAST
    dialect: Dialect = "openai"
    slow_readers: int = 0

    @property
    def seconds(self) -> int:
        """When to give up: twice the time it should take."""
        return 5 + 2 * (self.ramp_ms + self.chunks * self.interval_ms) // 1000


Scenario = Rate | Streams


def full(seconds: int) -> tuple[Scenario, ...]:
    return (
        Rate("c1", 1, seconds, one_core=True),
        Rate("c32", 32, seconds),
        Rate("c128", 128, seconds),
        Rate("c32-8KiB", 32, seconds, body_bytes=8192),
        Rate("c32-anthropic", 32, seconds, targets=TRANSLATORS, dialect="anthropic"),
        Rate("c32-ollama", 32, seconds, targets=TRANSLATORS, dialect="ollama"),
        Streams("streams-10", 10, targets=EVERYBODY),
        Streams("streams-500", 500),
        Streams("streams-500-slow-reader", 500, slow_readers=2),
        Streams("streams-500-anthropic", 500, targets=TRANSLATORS, dialect="anthropic"),
        Streams("streams-2000", 2000, ramp_ms=2000),
        Streams("streams-3000", 3000, ramp_ms=2000),
    )


def quick() -> tuple[Scenario, ...]:
    """Every kind of measurement once, in about a minute: shows that all works, its figures are rough."""
    return (
        Rate("c1", 1, 1, one_core=True),
        Rate("c32", 32, 2),
        Rate("c32-anthropic", 32, 1, targets=TRANSLATORS, dialect="anthropic"),
        Rate("c32-ollama", 32, 1, targets=TRANSLATORS, dialect="ollama"),
        Streams("streams-10", 10, chunks=20, targets=EVERYBODY),
        Streams("streams-500", 500, chunks=40),
        Streams("streams-500-slow-reader", 500, chunks=40, slow_readers=2),
    )


def chosen(scenarios: Iterable[Scenario], names: Iterable[str]) -> tuple[Scenario, ...]:
    """The scenarios with these names; all of them when no name is given."""
    wanted = set(names)
    return tuple(each for each in scenarios if not wanted or each.name in wanted)
