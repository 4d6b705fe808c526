"""Model loads and time to first token where memory is short: warm_first beside round_robin and least_connections.

    python -m benchmarks.warm [--requests 1000] [--rate 10] [--seed 1] [--json FILE]

Three fake nodes with room for two of six models each, behind the real service, all in this process. A load takes
400 ms and an answer about 150 ms, a tenth of what small models on a GPU take. Requests arrive at random times that
are fixed before (open loop, Poisson) and ask for the models by Zipf's law (s = 1.1); every policy gets the same
arrivals, and freshly started nodes and service. Exits with 1 unless warm_first loads at most a fifth as often as
round_robin, and its 95th percentile of the time to first token is at most half.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter

import httpx2

from benchmarks.service import service
from orchestrator.testing.model_server import Model, ModelServer

POLICIES = ("round_robin", "least_connections", "warm_first")
MODELS, ROOM, NODES, SKEW = 6, 2, 3, 1.1
SIZE = 4_000_000_000
LOAD_MS, TTFT_MS, TOKENS, TOKENS_PER_SECOND = 400.0, 30.0, 12, 100.0
LONGEST_S = 120.0

Arrival = tuple[float, str]


def arrivals(count: int, rate: float, seed: int) -> list[Arrival]:
    rng = random.Random(seed)
    weights = [1 / rank**SKEW for rank in range(1, MODELS + 1)]
    at, planned = 0.0, []
    for _ in range(count):
        at += rng.expovariate(rate)
        planned.append((at, f"m{rng.choices(range(MODELS), weights)[0]}:latest"))
    return planned


async def ask(client: httpx2.AsyncClient, url: str, model: str) -> float | None:
    """Seconds from sending to the first token; None where the answer was an error."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    start = perf_counter()
    first = None
    async with client.stream("POST", f"{url}/api/chat", json=body) as answer:
        async for _ in answer.aiter_bytes():
            if first is None:
                first = perf_counter() - start
        return first if answer.status_code == 200 else None


async def measure(policy: str, planned: list[Arrival]) -> dict[str, float | str]:
    async with AsyncExitStack() as stack:
        models = [Model(f"m{i}", SIZE) for i in range(MODELS)]
        nodes = [
            await stack.enter_async_context(
                ModelServer(
                    models,
                    vram=ROOM * SIZE,
                    load_delay_ms=LOAD_MS,
                    ttft_ms=TTFT_MS,
                    tokens=TOKENS,
                    tokens_per_second=TOKENS_PER_SECOND,
                )
            )
            for _ in range(NODES)
        ]
        config = {"gateway": {"policy": policy}, "health_check": {"interval": 0.5}}
        _, url = await stack.enter_async_context(service(nodes, config))
        client = await stack.enter_async_context(
            httpx2.AsyncClient(timeout=LONGEST_S, limits=httpx2.Limits(max_connections=None))
        )
        begin = perf_counter()

        async def one(arrival: Arrival) -> float | None:
            at, model = arrival
            await asyncio.sleep(max(0.0, begin + at - perf_counter()))
            return await ask(client, url, model)

        async with asyncio.timeout(planned[-1][0] + LONGEST_S):
            firsts = await asyncio.gather(*map(one, planned))
        loads = sum(node.service.memory.loads for node in nodes)
    times = sorted(first for first in firsts if first is not None)
    return {
        "policy": policy,
        "loads_per_1000": round(1000 * loads / len(planned), 1),
        "ttft_p50_ms": round(times[len(times) // 2] * 1000, 1),
        "ttft_p95_ms": round(times[int(len(times) * 0.95)] * 1000, 1),
        "errors": len(planned) - len(times),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=10.0, help="requests per second")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    planned = arrivals(options.requests, options.rate, options.seed)
    rows = {}
    print(f"{'policy':<20}{'loads/1000':>12}{'p50 TTFT ms':>13}{'p95 TTFT ms':>13}{'errors':>8}")
    for policy in POLICIES:
        row = rows[policy] = asyncio.run(measure(policy, planned))
        print(
            f"{policy:<20}{row['loads_per_1000']:>12}{row['ttft_p50_ms']:>13}{row['ttft_p95_ms']:>13}{row['errors']:>8}"
        )
    if options.json:
        options.json.write_text(
            json.dumps({"requests": options.requests, "rate": options.rate, "rows": list(rows.values())}, indent=2)
        )
    base, warm = rows["round_robin"], rows["warm_first"]
    few = float(warm["loads_per_1000"]) <= float(base["loads_per_1000"]) / 5
    soon = float(warm["ttft_p95_ms"]) <= float(base["ttft_p95_ms"]) / 2
    return 0 if few and soon and not warm["errors"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
