"""What the server does wrong, to which requests, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from random import Random
from typing import Any, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal[
    "ok",
    "slow",
    "hang",
    "hang_mid",
    "reset",
    "close",
    "cut",
    "eof",
    "half_close",
    "status",
    "flaky",
    "malformed",
    "huge_line",
    "error_body_200",
    "sse_error_midway",
    "wrong_health",
    "split_utf8",
    "no_usage",
    "status_then_slow",
]
Family: TypeAlias = Literal["inference", "health", "library"]


class Mode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One way to answer.

    `ms` is the delay of `slow` and `status_then_slow` and the longest time of `hang` and `hang_mid` (`None`: until
    released). `after` counts tokens. `status`, `body` and `headers` are the error's; `message` its text. `percent` of
    the requests get `fault` in `flaky`, drawn from `seed`. `count` is how many errors `status_then_slow` gives first.
    `fails` is what `wrong_health` breaks. `megabytes` is the length of `huge_line`. `ttft_ms`, `tokens_per_second` and
    `tokens` override the settings for the requests concerned, in any mode.
    """

    kind: Kind = "ok"
    ms: float | None = None
    after: int = 2
    status: int = 500
    body: Any = None
    headers: dict[str, str] = {}
    message: str = "injected fault"
    percent: float = 50.0
    seed: int = 0
    fault: Mode | None = None
    megabytes: float = 10.0
    fails: Literal["health", "inference"] = "health"
    count: int = 1
    ttft_ms: float | None = None
    tokens_per_second: float | None = None
    tokens: int | None = None


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A mode and the requests it is for.

    `path` is a path or a pattern (`/v1/*`). Without one, `routes` chooses the family: inference only (the default:
    health and model lists stay honest), health, library or all. `model` is the name in the request. `times` ends the
    rule after so many requests.
    """

    mode: Mode
    path: str | None = None
    model: str | None = None
    routes: Literal["inference", "health", "library", "all"] = "inference"
    times: int | None = None

    def matches(self, path: str, model: str, family: Family) -> bool:
        """Whether the rule is for this request."""
        if self.model is not None and self.model != model:
            return False
        if self.path is not None:
            return fnmatchcase(path, self.path)
        if self.mode.kind == "wrong_health":
            return self.mode.fails == family
        return self.routes in ("all", family)

    @property
    def selector(self) -> tuple[str | None, str | None, str]:
        """Two standing rules with one selector cannot both hold: the later replaces the earlier."""
        return (self.path, self.model, self.routes)

    @property
    def precision(self) -> int:
        """How narrow the rule is: a path weighs more than a model, a model more than none."""
        return 2 * (self.path is not None) + (self.model is not None)


class _Held:
    """A rule in force with what it has used up."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.used = 0
        self._dice = Random(rule.mode.seed)  # noqa: S311 - a reproducible fault, not a secret

    @property
    def spent(self) -> bool:
        return self.rule.times is not None and self.used >= self.rule.times

    def take(self) -> Mode:
        """The mode for the next request, with `flaky` and `status_then_slow` resolved to what they do this time."""
        mode = self.rule.mode
        self.used += 1
        if mode.kind == "flaky":
            struck = self._dice.random() * 100 < mode.percent
            fault = mode.fault or msgspec.structs.replace(mode, kind="status")
            return fault if struck else msgspec.structs.replace(mode, kind="ok")
        if mode.kind == "status_then_slow":
            return msgspec.structs.replace(mode, kind="status" if self.used <= mode.count else "slow")
        if mode.kind == "wrong_health":
            return msgspec.structs.replace(mode, kind="status")
        return mode


class Behaviour:
    """The rules in force: those with `times` first, oldest first; then the narrowest standing one, newest first."""

    OK = Mode()

    def __init__(self) -> None:
        self._limited: list[_Held] = []
        self._standing: list[_Held] = []

    def __iter__(self) -> Iterator[Rule]:
        return (held.rule for held in (*self._limited, *self._standing))

    @property
    def any(self) -> bool:
        """Whether there is any rule at all."""
        return bool(self._limited or self._standing)

    def add(self, rule: Rule) -> None:
        """Put `rule` in force."""
        if rule.times is not None:
            self._limited.append(_Held(rule))
            return
        kept = [held for held in self._standing if held.rule.selector != rule.selector]
        self._standing = sorted([_Held(rule), *kept], key=lambda held: -held.rule.precision)

    def clear(self) -> None:
        """Do nothing wrong from now on."""
        self._limited.clear()
        self._standing.clear()

    def pick(self, path: str, model: str, family: Family) -> Mode:
        """The mode for one request; counts it against the rule it came from."""
        for held in (*self._limited, *self._standing):
            if held.rule.matches(path, model, family):
                mode = held.take()
                if held.spent:
                    self._limited.remove(held)
                return mode
        return self.OK
