"""A llama model of half a megabyte with random weights: the real engine loads it and answers, with nonsense.

A few weights are not random: it says readable letters, ends after some words, and calls a tool when it is offered
tools and has not called one yet.

Not named `gguf.py`: the tests' folder is on the path, and it would hide the package of that name.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGUFWriter, TokenType

WIDTH = 64  # of an embedding
LAYERS = 2
HEADS = 4
FEED_FORWARD = 128
CONTEXT = 2048
# What three numbers of the residual stream mean.
OFFERED, DONE, ALWAYS = 0, 1, 2
Weights = npt.NDArray[np.float32]
_WORDS = ("▁the", "▁a", "▁is", "▁of", "▁and", "▁hello", "▁world", "▁node", "▁fleet", "▁model", "▁answer", "▁one")
_MARKS = ("<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<tools>", "</tools>")
# ChatML with Hermes' form of tool calls, in which llama.cpp finds calls of tools.
TEMPLATE = """\
{%- if tools %}<|im_start|>system
<tools>{% for tool in tools %}
{{ tool | tojson }}{% endfor %}
</tools><|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}
{%- if message.tool_calls %}{% for call in message.tool_calls %}
<tool_call>{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}</tool_call>
{%- endfor %}{% endif %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def tiny_gguf(path: Path, seed: int = 7) -> Path:
    """Writes the model to `path`."""
    writer = GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_file_type(0)
    _add_tokens(writer)
    _add_tensors(writer, np.random.default_rng(seed))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def shared_gguf(folder: Path, name: str = "tiny.gguf") -> Path:
    """The model in `folder`, written once however many processes ask for it."""
    path = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            os.replace(tiny_gguf(folder / f"{name}.part"), path)
    return path


def _tokens() -> list[tuple[str, TokenType]]:
    tokens = [("<unk>", TokenType.UNKNOWN), ("<s>", TokenType.CONTROL), ("</s>", TokenType.CONTROL)]
    tokens += [(f"<0x{byte:02X}>", TokenType.BYTE) for byte in range(256)]
    tokens += [(word, TokenType.NORMAL) for word in _WORDS]
    tokens += [(mark, TokenType.CONTROL if mark.startswith("<|") else TokenType.USER_DEFINED) for mark in _MARKS]
    return tokens


def _add_tokens(writer: GGUFWriter) -> None:
    tokens = _tokens()
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_scores([-float(rank) for rank in range(len(tokens))])
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_add_space_prefix(False)  # the engine could not match a template's text to a grammar
    writer.add_bos_token_id(1)
    writer.add_eos_token_id([text for text, _ in tokens].index("<|im_end|>"))
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)


def _add_tensors(writer: GGUFWriter, random: np.random.Generator) -> None:
    tokens = [text for text, _ in _tokens()]
    call = tokens.index("<tool_call>")
    ends_call = [tokens.index("</tool_call>"), tokens.index("<0x3E>")]  # it may be spelled in letters

    def weights(*shape: int, scale: float = 0.3) -> Weights:
        return random.normal(0, scale, shape).astype(np.float32)

    def add(name: str, values: Weights) -> None:
        writer.add_tensor(f"{name}.weight", values)

    embedding = weights(len(tokens), WIDTH)
    embedding[:, : ALWAYS + 1] = 0
    embedding[:, ALWAYS] = 1
    embedding[tokens.index("<tools>"), OFFERED] = 1
    embedding[call, OFFERED] = -2
    embedding[ends_call, DONE] = 8
    add("token_embd", embedding)
    for layer in range(LAYERS):
        parts = {name: weights(WIDTH, WIDTH) for name in ("attn_q", "attn_k", "attn_v")}
        parts["attn_output"] = weights(WIDTH, WIDTH, scale=0.05)
        parts["attn_output"][: ALWAYS + 1] = 0
        if layer == 0:  # one head looks at all tokens alike, and reports how many offered tools
            parts["attn_q"][: WIDTH // HEADS] = 0
            parts["attn_v"][0] = 0
            parts["attn_v"][0, OFFERED] = 300
            parts["attn_output"][:, 0] = 0
            parts["attn_output"][OFFERED, 0] = 1
        parts |= {name: weights(FEED_FORWARD, WIDTH) for name in ("ffn_gate", "ffn_up")}
        parts["ffn_down"] = weights(WIDTH, FEED_FORWARD, scale=0.05)
        parts["ffn_down"][: ALWAYS + 1] = 0
        for name, values in parts.items():
            add(f"blk.{layer}.{name}", values)
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{layer}.{name}", np.ones(WIDTH, dtype=np.float32))
    add("output_norm", np.ones(WIDTH, dtype=np.float32))
    output = weights(len(tokens), WIDTH)
    output[:, : ALWAYS + 1] = 0
    output[:, ALWAYS] = [_liking(text) for text in tokens]
    output[call, OFFERED] = 40
    output[tokens.index("<|im_end|>"), DONE] = 40
    add("output", output)


def _liking(token: str) -> float:
    """How readily a token is said: words and plain letters, now and then the end, no broken UTF-8, no other marks."""
    if token in ("<|im_end|>", "<0x22>"):
        return 10.0
    if token == "<0x2C>":
        return -40.0  # less than "<": one call is enough
    byte = int(token[3:5], 16) if token.startswith("<0x") else 0
    plain = token.startswith("▁") or (32 <= byte < 127 and byte not in b"<>\\")
    return 8.0 if plain else -30.0
