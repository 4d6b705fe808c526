"""`python -m orchestrator.adapters.callables.child`: calls functions, one at a time, until standard input ends."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
from typing import Any, BinaryIO

import msgspec

from orchestrator.adapters.callables.bounds import keep_within
from orchestrator.adapters.callables.frames import LENGTH, Order, Outcome, framed

_order = msgspec.json.Decoder(Order)


def call(order: Order) -> Outcome:
    """Whatever the function raises is the call's failure."""
    module, _, name = order.function.partition(":")
    try:
        function: Any = importlib.import_module(module)
        for part in name.split("."):
            function = getattr(function, part)
    except Exception as error:  # noqa: BLE001 - the operator's module may raise anything
        return Outcome(error=f"{order.function} cannot be loaded: {_words(error)}", final=True)
    try:
        argument = msgspec.json.decode(order.argument)
        result = function(argument) if order.bounds is None else function(**argument)
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
    except Exception as error:  # noqa: BLE001 - so may the function
        return Outcome(error=_words(error))
    return Outcome(result=result)


def encoded(outcome: Outcome, most: int) -> bytes:
    try:
        content = msgspec.json.encode(outcome)
    except Exception as error:  # noqa: BLE001 - a result may be an object with a will of its own
        return msgspec.json.encode(Outcome(error=f"the result is not JSON: {_words(error)}", final=True))
    if len(content) > most:
        return msgspec.json.encode(
            Outcome(error=f"the result has {len(content):,} bytes; at most {most:,} are taken", final=True)
        )
    return content


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:2_000]


def serve(orders: BinaryIO, outcomes: BinaryIO) -> None:
    while len(head := orders.read(LENGTH)) == LENGTH:
        order = _order.decode(orders.read(int.from_bytes(head, "big")))
        if order.bounds is not None:
            keep_within(order.bounds)
        outcomes.write(framed(encoded(call(order), order.output)))
        outcomes.flush()


def main() -> None:
    orders, outcomes = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a function that reads its standard input takes no orders
    os.close(nothing)
    os.dup2(2, 1)  # what functions print belongs into the log
    serve(orders, outcomes)


if __name__ == "__main__":
    main()
