"""Chats that grow turn by turn: how many turns land on the node that has their beginning cached.

    python -m benchmarks.prefixes [--chats 300] [--seed 1] [--policy NAME] [--cold] [--json FILE]

Four fake nodes that hold the model, behind the real service; "x2" is two services that share the nodes and nothing
else, each turn going to one of them by chance. Ten system prompts of 3 KB are shared by the chats. A turn lands where
its prefix lives when the node that served the chat's last turn serves it too. With `--cold` no node has the model in
memory when the chats begin, and a load takes 2 s. Exits with 1 unless prefix_affinity gets
80 % of the later turns there, with one service and with two, and no node has more than 1.25 times the mean.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2

from benchmarks.service import service
from orchestrator.testing.model_server import ModelServer

RUNS = (
    ("prefix_affinity", 1),
    ("prefix_affinity", 2),
    ("round_robin", 1),
    ("least_connections", 1),
    ("warm_first", 1),
)
NODES, TURNS = 4, 6
LOAD_MS = 2000.0
STARTS_S = 20.0  # in which the chats begin
LONGEST_S = 120.0


class Chats:
    """One run's conversations; the same seed gives the same chats, turns and pauses."""

    def __init__(self, client: httpx2.AsyncClient, urls: list[str], seed: int) -> None:
        self.client, self.urls, self.seed = client, urls, seed
        self.sent: Counter[str] = Counter()
        self.followed = self.hits = self.errors = 0

    async def chat(self, number: int) -> None:
        rng = random.Random(f"{self.seed} {number}")
        await asyncio.sleep(rng.uniform(0.0, STARTS_S))
        system = f"You are assistant {number % 10}. " * 150
        messages = [{"role": "system", "content": system}, {"role": "user", "content": f"Question {number}"}]
        last = ""
        for turn in range(rng.randint(TURNS // 2, TURNS * 3 // 2)):
            body = {"model": "demo", "messages": messages}
            answer = await self.client.post(f"{rng.choice(self.urls)}/v1/chat/completions", json=body)
            if answer.status_code != 200:
                self.errors += 1
                return
            node = answer.headers["x-selected-server"]
            self.sent[node] += 1
            if last:
                self.followed += 1
                self.hits += node == last
            last = node
            messages.append(answer.json()["choices"][0]["message"])
            messages.append({"role": "user", "content": f"And then, {turn}?"})
            await asyncio.sleep(rng.uniform(0.5, 2.0))


async def measure(policy: str, replicas: int, count: int, seed: int, cold: bool) -> dict[str, float | str]:
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                ModelServer(["demo"], ttft_ms=50, tokens=10, tokens_per_second=100, load_delay_ms=LOAD_MS * cold)
            )
            for _ in range(NODES)
        ]
        client = await stack.enter_async_context(
            httpx2.AsyncClient(timeout=LONGEST_S, limits=httpx2.Limits(max_connections=None))
        )
        for node in nodes[: 0 if cold else NODES]:
            await client.post(f"{node.url}/api/generate", json={"model": "demo"})  # loads it
        config = {"gateway": {"policy": policy}}
        urls = [(await stack.enter_async_context(service(nodes, config)))[1] for _ in range(replicas)]
        chats = Chats(client, urls, seed)
        async with asyncio.timeout(LONGEST_S):
            await asyncio.gather(*(chats.chat(number) for number in range(count)))
    return {
        "policy": f"{policy} x{replicas}",
        "turns": chats.sent.total(),
        "hit_share": round(chats.hits / chats.followed, 3),
        "busiest_over_mean": round(max(chats.sent.values()) / (chats.sent.total() / NODES), 3),
        "errors": chats.errors,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chats", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--policy", help="only this one")
    parser.add_argument("--cold", action="store_true", help="no node has the model in memory when the chats begin")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    print(f"{'policy':<22}{'turns':>7}{'prefix hits':>13}{'busiest/mean':>14}{'errors':>8}")
    for policy, replicas in RUNS:
        if options.policy not in (None, policy):
            continue
        row = asyncio.run(measure(policy, replicas, options.chats, options.seed, options.cold))
        rows.append(row)
        print(
            f"{row['policy']:<22}{row['turns']:>7}{row['hit_share']:>13}{row['busiest_over_mean']:>14}{row['errors']:>8}"
        )
    if options.json:
        options.json.write_text(
            json.dumps({"chats": options.chats, "seed": options.seed, "cold": options.cold, "rows": rows}, indent=2)
        )
    ours = [row for row in rows if str(row["policy"]).startswith("prefix_affinity")]
    good = [float(row["hit_share"]) >= 0.8 and float(row["busiest_over_mean"]) <= 1.25 for row in ours]
    return 0 if all(good) and not any(row["errors"] for row in ours) else 1


if __name__ == "__main__":
    raise SystemExit(main())
