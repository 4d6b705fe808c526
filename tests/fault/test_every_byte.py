"""One stream, cut or broken off at every one of its bytes: the client reads it whole, or a part and one error."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_under_test import FORMS, Form, fleet, read_stream
from scripted_node import STREAMS, ScriptedNode, chunked

every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
TEXT = " three four"
QUICK = {
    "retry": {"max_attempts": 1},
    "circuit_breaker": {"enabled": False},
    "health_check": {"interval": 60},
    "queue": {"enabled": False},
}
OTHER = {"openai": "ollama", "anthropic": "openai", "ollama": "openai"}
ways = pytest.mark.parametrize("way", ["relayed", "translated"])


@ways
@every_form
async def test_cut_anywhere_it_is_the_same_stream(form: Form, way: str, tmp_path: Path) -> None:
    dialect = form.name if way == "relayed" else OTHER[form.name]
    whole = b"".join(chunked(*STREAMS[dialect]))
    node = ScriptedNode(whole)
    async with fleet(tmp_path, {"a": node}, kinds={"a": dialect}, config=QUICK) as tried:
        for place in range(1, len(whole)):
            node.answer = (whole[:place], whole[place:])

            seen = await tried.stream(form)

            assert (seen.text, seen.errors, seen.ended) == (TEXT, [], 1), whole[:place]


@ways
@every_form
async def test_line_ends_of_either_kind_are_understood(form: Form, way: str, tmp_path: Path) -> None:
    dialect = form.name if way == "relayed" else OTHER[form.name]
    crlf = [piece.replace(b"\n", b"\r\n") for piece in STREAMS[dialect]]
    node = ScriptedNode(*chunked(*crlf))
    async with fleet(tmp_path, {"a": node}, kinds={"a": dialect}, config=QUICK) as tried:
        answer = await tried.client.post(form.path, json=form.body(stream=True))

        seen = read_stream(form, answer.content.replace(b"\r\n", b"\n"))
        assert (seen.text, seen.errors, seen.ended) == (TEXT, [], 1)
        node.answer = [b"".join(chunked(b"".join(crlf)))[at : at + 5] for at in range(0, 2000, 5)]
        again = await tried.client.post(form.path, json=form.body(stream=True))
        seen = read_stream(form, again.content.replace(b"\r\n", b"\n"))
        assert (seen.text, seen.errors, seen.ended) == (TEXT, [], 1)


@ways
@every_form
async def test_broken_off_anywhere_it_is_never_a_good_end(form: Form, way: str, tmp_path: Path) -> None:
    """The node dies behind each byte in turn. Whoever has no byte yet gets an error status; whoever has one gets what
    was whole and one error. Only where nothing but framing is missing may the answer count as complete."""
    dialect = form.name if way == "relayed" else OTHER[form.name]
    pieces = STREAMS[dialect]
    whole = b"".join(chunked(*pieces))
    node = ScriptedNode(whole, close=True)
    async with fleet(tmp_path, {"a": node}, kinds={"a": dialect}, config=QUICK) as tried:
        begun = 0
        for place in range(1, len(whole)):
            node.answer = (whole[:place],)

            answer = await tried.client.post(form.path, json=form.body(stream=True))

            if answer.status_code != 200:
                assert answer.status_code == 502
                assert form.error(answer.json())
                assert not begun, "a later break, and yet no byte was sent on"
                continue
            begun += 1
            seen = read_stream(form, answer.content)
            assert TEXT.startswith(seen.text)
            assert len(seen.errors) == 1, (whole[:place], answer.content)
            assert not seen.after_error
            if seen.ended:  # the node's own end was whole, then the connection broke before the framing's
                assert pieces[-1] in whole[:place]
            await tried.settled()
        assert begun > 50


@every_form
async def test_a_stream_without_its_last_line_end_is_whole(form: Form, tmp_path: Path) -> None:
    pieces = list(STREAMS[form.name])
    pieces[-1] = pieces[-1].rstrip(b"\n")
    node = ScriptedNode(*chunked(*pieces))
    async with fleet(tmp_path, {"a": node}, kinds={"a": form.name}, config=QUICK) as tried:
        seen = await tried.stream(form)

        assert (seen.text, seen.errors, seen.ended) == (TEXT, [], 1)
