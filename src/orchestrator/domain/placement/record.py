"""What was measured of one model on one node."""

from __future__ import annotations

from math import exp, exp2

from orchestrator.domain.placement.arm import Arm, size_class

PEAK_DECAY_S = 10.0  # time constant with which a latency peak gives way to the calmer values after it
FORGET_S = 60.0  # half-life of a latency that nothing has confirmed since, so that an avoided node is tried again
FAILURE_HALF_LIFE_S = 30.0  # a failure fades by itself, or a node that gets no traffic could never recover
FAILURE_STEP = 0.5
SUCCESS_STEP = 0.3
SMOOTHING = 0.2
LEARN_ALL = 100  # the first samples teach the `learned` policy one by one, later ones
LEARN_MASK = 7  # by every eighth: it costs more than all the other figures together
P95_UP = 0.095
P95_DOWN = 0.005


class Outcome:
    """How one attempt ended.

    `ok` True: answered; False: the node failed; None: says nothing about the node (the client left, or its request was
    wrong). `status` is the node's HTTP status, 0 when it sent none. `duration_s` runs from sending to the last byte,
    `ttft_s` to the first token of a stream. `tokens` counts generated tokens, 0 when unknown.
    """

    __slots__ = ("duration_s", "ok", "status", "tokens", "ttft_s")

    def __init__(
        self,
        ok: bool | None,
        duration_s: float,
        ttft_s: float | None = None,
        tokens: int = 0,
        status: int = 200,
    ) -> None:
        self.ok = ok
        self.duration_s = duration_s
        self.ttft_s = ttft_s
        self.tokens = tokens
        self.status = status


class Record:
    """Running figures of one model on one node. Only successes move the times: a failure is never a fast answer."""

    __slots__ = (
        "arms",
        "at",
        "failed_at",
        "failure",
        "first",
        "half_open",
        "latency",
        "p95",
        "samples",
        "streak",
        "timeout_s",
        "tps",
    )

    def __init__(self) -> None:
        self.samples = 0  # successes
        self.latency = 0.0  # s, peak EWMA of the duration
        self.first = 0.0  # s, peak EWMA of the time to the first token; the duration where the answer came whole
        self.p95 = 0.0  # s
        self.tps = 0.0  # tokens/s, 0 = unknown
        self.failure = 0.0  # 0..1 as of `failed_at`
        self.failed_at = 0.0
        self.streak = 0  # failures in a row; a success halves it
        self.at = 0.0  # last success
        self.half_open = False  # set by the breaker's owner
        self.timeout_s = 0.0  # current adaptive time limit, 0 = none; set by its owner
        self.arms: dict[int, Arm] = {}

    def failure_rate(self, now: float) -> float:
        """Decayed share of failures, 0..1."""
        failure = self.failure
        if failure == 0.0:
            return 0.0
        return failure * exp2((self.failed_at - now) / FAILURE_HALF_LIFE_S)

    def age_factor(self, now: float) -> float:
        """1 for a latency just measured, falling to 0 as it goes unconfirmed."""
        return exp2((self.at - now) / FORGET_S) if now > self.at else 1.0

    def fail(self, now: float) -> None:
        rate = self.failure_rate(now)
        self.failure = rate + (1.0 - rate) * FAILURE_STEP
        self.failed_at = now
        self.streak += 1

    def succeed(self, now: float, outcome: Outcome, load: float, reserved: int) -> None:
        """`load` is the node's in-flight share of its slots, `reserved` the tokens expected of the request."""
        duration = outcome.duration_s
        first = outcome.ttft_s
        if first is None:
            first = duration
        if self.failure:
            rate = self.failure_rate(now) * (1.0 - SUCCESS_STEP)
            self.failure = rate if rate > 1e-3 else 0.0
            self.failed_at = now
            self.streak >>= 1
        if self.samples:
            keep = exp((self.at - now) / PEAK_DECAY_S) if now > self.at else 1.0
            latency = self.latency
            self.latency = duration if duration > latency else duration + (latency - duration) * keep
            ttft = self.first
            self.first = first if first > ttft else first + (ttft - first) * keep
            # Frugal quantile: 19 steps down weigh as much as one up, so it settles where 5 % of values are above.
            self.p95 *= 1.0 + P95_UP if duration > self.p95 else 1.0 - P95_DOWN
        else:
            self.latency = self.p95 = duration
            self.first = first
        self.samples += 1
        self.at = now
        tokens = outcome.tokens
        if tokens > 0:
            span = duration - first if first < duration else duration
            if span > 0.0:
                speed = tokens / span
                self.tps = self.tps + (speed - self.tps) * SMOOTHING if self.tps else speed
        if self.samples < LEARN_ALL or not self.samples & LEARN_MASK:
            size = size_class(reserved)
            arm = self.arms.get(size)
            if arm is None:
                arm = self.arms[size] = Arm()
            arm.learn(load, duration)
