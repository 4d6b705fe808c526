"""`python -m orchestrator.adapters.llamacpp.child`: the process of llama.cpp's server, started by `llama_server`.

It reads its order from standard input and ends when that is closed, however the parent ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

import xllamacpp  # type: ignore[import-untyped]  # it ships no types

from orchestrator.adapters.llamacpp.order import READY, Order

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """While the model loads, nothing watches standard input: the kernel does."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def serve(order: Order) -> xllamacpp.Server:
    """Returns when the model is loaded and the server listens."""
    params = xllamacpp.CommonParams()
    params.model.path = order.path
    params.model_alias = {order.name}
    params.hostnames = ["127.0.0.1"]
    params.port = order.port
    params.api_keys = [order.key]
    params.ui = False
    params.endpoint_slots = False
    params.use_jinja = True  # tools
    params.n_ctx = order.context
    params.n_parallel = order.parallel
    params.kv_unified = True  # one request alone may use the whole context
    params.n_gpu_layers = order.gpu_layers
    params.embedding = True  # beside answers, from the same model
    if order.threads:
        params.cpuparams.n_threads = order.threads
        params.cpuparams_batch.n_threads = order.threads
    if order.last_pooling:
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_LAST
    if order.whole_batch and order.context:
        params.n_batch = params.n_ubatch = order.context
    return xllamacpp.Server(params)


def main() -> None:
    die_with_parent()
    line = sys.stdin.buffer.readline()
    if not line:  # the parent ended before the kernel was told
        return
    answer = os.dup(1)
    os.dup2(2, 1)  # what llama.cpp prints belongs into the log
    order = Order.decode(line)
    server = serve(order)
    os.write(answer, READY)
    sys.stdin.buffer.read()  # until the parent is gone
    del server
    os._exit(0)


if __name__ == "__main__":
    main()
