"""Cost of a placement decision, for every policy and fleet size, while requests begin and finish between decisions.

    python benchmarks/placement.py [--decisions 4000] [--json FILE]

One thread of pure Python, no I/O. "decision" is `Placement.choose` alone; "begin+finish" is what the bookkeeping of one
request costs. About half of the slots are taken all the time; the last rows leave 1 % of the slots free. The cost of
the clock itself (measured here) is taken off. "mean" leaves out the slowest 1 %, in which other processes of a shared
machine took the core; the limits are applied to it, and p99 stands beside it.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
from collections import deque
from pathlib import Path
from time import perf_counter_ns

from orchestrator.domain.placement import (
    DEFAULT_POLICY,
    POLICIES,
    CandidateSet,
    NodeState,
    Outcome,
    Placement,
    PlacementRequest,
    Residency,
    Roster,
    prefix_chain,
)

MODEL = "llama3:latest"
SIZES = (10, 100, 1000)
LIMIT_US, DEFAULT_LIMIT_US = 50.0, 10.0


def fleet(size: int, rng: random.Random) -> list[NodeState]:
    roster = Roster()
    nodes = []
    for number in range(size):
        node = roster.join(f"node-{number}", max_concurrency=4, weight=rng.choice((1.0, 2.0, 4.0)))
        node.set_loaded({MODEL: Residency()} if rng.random() < 0.5 else {"other": Residency()})
        nodes.append(node)
    return nodes


def requests(rng: random.Random) -> list[PlacementRequest]:
    chats = [[rng.randbytes(400) for _ in range(rng.randint(1, 12))] for _ in range(500)]
    return [PlacementRequest(MODEL, prefix=prefix_chain(chat), est_tokens=rng.choice((100, 1000))) for chat in chats]


def clock_cost() -> float:
    spans = []
    for _ in range(2000):
        start = perf_counter_ns()
        spans.append(perf_counter_ns() - start)
    return sorted(spans)[len(spans) // 2]


def measure(policy: str, size: int, decisions: int, share: float) -> dict[str, float | int | str]:
    """Hold `share` of all slots busy and time each decision, begin and finish."""
    rng = random.Random(size)
    nodes = fleet(size, rng)
    candidates = CandidateSet(nodes, MODEL, size=4_000_000_000)
    placement = Placement(policy, rand=rng.random)
    asked = requests(rng)
    running: deque[NodeState] = deque()
    now, failures = 0.0, 0
    target = max(1, int(size * 4 * share))
    spans: list[int] = []
    bookkeeping: list[int] = []
    for turn in range(decisions + target):
        now += 0.001
        request = asked[turn % len(asked)]
        start = perf_counter_ns()
        node = placement.choose(candidates, request, now)
        middle = perf_counter_ns()
        if node is not None:
            node.begin(MODEL, request.est_tokens)
            running.append(node)
        after = perf_counter_ns()
        if turn >= target:
            spans.append(middle - start)
            bookkeeping.append(after - middle)
        if len(running) > target or node is None:
            ended = running.popleft()
            ok = rng.random() > 0.01
            failures += not ok
            outcome = Outcome(ok, rng.uniform(0.2, 2.0), 0.1, 50, 200 if ok else 503)
            start = perf_counter_ns()
            ended.finish(MODEL, outcome, now, request.est_tokens)
            if turn >= target:
                bookkeeping[-1] += perf_counter_ns() - start
    own = clock_cost()
    bookkeeping.sort()
    spans.sort()
    kept = spans[: int(len(spans) * 0.99)]
    return {
        "policy": policy,
        "nodes": size,
        "busy": share,
        "mean_us": round((sum(kept) / len(kept) - own) / 1000, 2),
        "p50_us": round((spans[len(spans) // 2] - own) / 1000, 2),
        "p99_us": round((spans[int(len(spans) * 0.99)] - own) / 1000, 2),
        "begin_finish_us": round((bookkeeping[len(bookkeeping) // 2] - 2 * own) / 1000, 2),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decisions", type=int, default=4000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = [measure(policy, size, arguments.decisions, 0.5) for policy in POLICIES for size in SIZES]
    rows += [measure(policy, SIZES[-1], arguments.decisions, 0.99) for policy in POLICIES]
    print(f"{'policy':<22}{'nodes':>6}{'busy':>6}{'mean us':>10}{'p50 us':>9}{'p99 us':>9}{'begin+finish us':>17}")
    for row in rows:
        print(
            f"{row['policy']:<22}{row['nodes']:>6}{row['busy']:>6}{row['mean_us']:>10}{row['p50_us']:>9}"
            f"{row['p99_us']:>9}{row['begin_finish_us']:>17}"
        )
    slow = [
        row
        for row in rows
        if float(row["mean_us"]) > (DEFAULT_LIMIT_US if row["policy"] == DEFAULT_POLICY else LIMIT_US)
    ]
    for row in slow:
        print(f"over its limit: {row['policy']} with {row['nodes']} nodes", file=sys.stderr)
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"python": platform.python_version(), "machine": platform.machine(), "rows": rows}, indent=2)
        )
    return 1 if slow else 0


if __name__ == "__main__":
    raise SystemExit(main())
