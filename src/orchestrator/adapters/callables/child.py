"""`python -m orchestrator.adapters.callables.child`: calls functions, one at a time, until standard input ends."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import sys
from typing import Any, BinaryIO

import msgspec

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
        result = function(msgspec.json.decode(order.argument))
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
    except Exception as error:  # noqa: BLE001 - so may the function
        return Outcome(error=_words(error))
    return Outcome(result=result)


def encoded(outcome: Outcome) -> bytes:
    try:
        return msgspec.json.encode(outcome)
    except Exception as error:  # noqa: BLE001 - a result may be an object with a will of its own
        return msgspec.json.encode(Outcome(error=f"the result is not JSON: {_words(error)}", final=True))


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:2_000]


def serve(orders: BinaryIO, outcomes: BinaryIO) -> None:
    while len(head := orders.read(LENGTH)) == LENGTH:
        order = _order.decode(orders.read(int.from_bytes(head, "big")))
        outcomes.write(framed(encoded(call(order))))
        outcomes.flush()


def main() -> None:
    outcomes = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what functions print belongs into the log
    serve(sys.stdin.buffer, outcomes)


if __name__ == "__main__":
    main()
