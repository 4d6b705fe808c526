"""The command line of the model server."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
from collections.abc import Sequence
from typing import get_args

from orchestrator.testing.model_server.behaviour import Kind
from orchestrator.testing.model_server.model import Model
from orchestrator.testing.model_server.server import DEFAULT_MODEL, ModelServer
from orchestrator.testing.model_server.service import DIALECTS

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

EXAMPLES = """
examples:
  # an Ollama with two models, 8 GB of memory and 2 s to load a model
  python -m orchestrator.testing.model_server --port 11434 --dialect ollama \\
      --model llama3:8b=5GB --model qwen3:4b=4GB --vram 8GB --load-delay 2000

  # a server of all dialects that answers 40 tokens a second, the first after 200 ms
  python -m orchestrator.testing.model_server --port 0 --model demo --ttft-ms 200 --tokens-per-second 40

  # from now on: break every stream by RST after 3 tokens; then make all well again
  curl -d '{"mode": "cut", "after": 3}' http://127.0.0.1:PORT/_control/mode
  curl -X POST http://127.0.0.1:PORT/_control/reset

When it listens it prints one line of JSON with its "url"; SIGTERM and SIGINT end it with exit code 0.
"""


def size(text: str) -> int:
    """Bytes from `5GB`, `300m` or a plain number; units are powers of 1,000."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 8GB")
    return int(float(found.group(1)) * 1000 ** _POWERS[found.group(2).lower()])


def model(text: str) -> Model:
    """A model from `NAME` or `NAME=SIZE`."""
    name, given, amount = text.partition("=")
    if not name:
        raise argparse.ArgumentTypeError("a model needs a name")
    return Model(name, size=size(amount)) if given else Model(name)


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    made = argparse.ArgumentParser(
        prog="python -m orchestrator.testing.model_server",
        description="A fake model server that speaks OpenAI's, Anthropic's and Ollama's dialect and fails on command.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s; there is no authentication)")
    add("--port", type=int, default=0, help="port to listen on; 0 takes a free one (default: %(default)s)")
    add(
        "--dialect",
        action="append",
        choices=["all", *DIALECTS],
        help="dialect to speak; may be repeated (default: all)",
    )
    add(
        "--model",
        action="append",
        type=model,
        metavar="NAME[=SIZE]",
        help="model to offer; may be repeated (default: demo)",
    )
    add("--ttft-ms", type=float, default=0.0, help="time to the first token (default: none)")
    add("--tokens-per-second", type=float, help="rate of the tokens after the first (default: all at once)")
    add("--tokens", type=int, help="length of every answer in tokens (default: as long as the echo is)")
    add("--embedding-dim", type=int, default=64, help="length of embedding vectors (default: %(default)s)")
    add(
        "--vram",
        type=size,
        metavar="SIZE",
        help="memory for models; the least recently used is evicted (default: no limit)",
    )
    add("--load-delay", type=float, default=0.0, metavar="MS", help="time that loading a model takes (default: none)")
    add("--required-key", metavar="KEY", help="refuse requests without this key (Authorization: Bearer or x-api-key)")
    add("--mode", metavar="KIND", choices=get_args(Kind), help="fault to begin with: %(choices)s")
    return made


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    chosen = arguments.dialect or ["all"]
    server = ModelServer(
        arguments.model or [DEFAULT_MODEL],
        dialects=tuple(DIALECTS) if "all" in chosen else tuple(dict.fromkeys(chosen)),
        host=arguments.host,
        port=arguments.port,
        ttft_ms=arguments.ttft_ms,
        tokens_per_second=arguments.tokens_per_second,
        tokens=arguments.tokens,
        embedding_dim=arguments.embedding_dim,
        vram=arguments.vram,
        load_delay_ms=arguments.load_delay,
        required_key=arguments.required_key,
    )
    if arguments.mode is not None:
        server.mode(arguments.mode)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with server:
        names = [dialect.name for dialect in server.service.dialects]
        ready = {"url": server.url, "port": server.port, "pid": os.getpid(), "dialects": names}
        print(json.dumps({**ready, "models": server.service.catalogue.names}), flush=True)
        await stop.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    asked = parser().parse_args(arguments)
    try:
        asyncio.run(serve(asked))
    except OSError as error:
        parser().exit(1, f"cannot listen on {asked.host}:{asked.port}: {error.strerror}\n")
    return 0
