"""Where a chunked body ends, over any split of its bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.adapters.http1.framing import ChunkedBody
from orchestrator.domain.errors import MalformedAnswer

pieces = st.lists(st.binary(min_size=1, max_size=60), max_size=8)
extensions = st.sampled_from([b"", b";a", b";a=b", b' ; a="b"', b"\t"])
endings = st.sampled_from([b"\r\n", b"X-Trailer: 1\r\n\r\n", b"A: b\r\nC: d\r\n\r\n"])
rests = st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"\x00"])
cuts = st.lists(st.integers(min_value=1, max_value=500), max_size=12)


def split(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({place for place in places if place < len(data)})
    return [data[start:end] for start, end in zip([0, *edges], [*edges, len(data)], strict=True)]


def fed(parts: list[bytes]) -> tuple[bytes, bytes, bytes | None]:
    """What came out of all parts; bytes fed after the end are part of the rest."""
    body = ChunkedBody()
    raw = content = b""
    rest: bytes | None = None
    for part in parts:
        if rest is not None:
            rest += part
            continue
        more_raw, more, rest = body.feed(part)
        raw, content = raw + more_raw, content + more
    return raw, content, rest


@given(pieces, extensions, endings, rests, cuts)
def test_any_split_gives_the_same_body(
    chunks: list[bytes], extension: bytes, ending: bytes, rest: bytes, places: list[int]
) -> None:
    encoded = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    encoded += b"0" + extension + b"\r\n" + ending + rest

    raw, content, behind = fed(split(encoded, places))

    assert content == b"".join(chunks)
    assert behind == rest
    # What is relayed is chunked framing of the same content, without its end.
    assert fed([raw + b"0\r\n\r\n"])[1:] == (content, b"")


@given(pieces.filter(bool), st.integers(min_value=1, max_value=400), cuts)
def test_a_body_that_is_cut_off_has_no_end(chunks: list[bytes], missing: int, places: list[int]) -> None:
    encoded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    _, content, behind = fed(split(encoded[: -min(missing, len(encoded))], places))

    assert behind is None
    assert b"".join(chunks).startswith(content)


@pytest.mark.parametrize(
    "encoded",
    [
        b"+5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5_0\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"\r\nhello\r\n",
        b";ext\r\nhello\r\n",
        b"g\r\nhello\r\n",
        b"5\nhello\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"5;" + b"x" * 300,
        b"0\r\nX: y\n\r\n",
        b"0\r\n" + b"x" * 300,
    ],
)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_what_is_no_framing_is_refused(encoded: bytes, step: int) -> None:
    with pytest.raises(MalformedAnswer):
        fed([encoded[at : at + step] for at in range(0, len(encoded), step)])


@given(st.binary(max_size=200), cuts)
def test_noise_is_refused_or_waits_for_more_but_never_breaks(noise: bytes, places: list[int]) -> None:
    try:
        _, content, _ = fed(split(noise, places))
    except MalformedAnswer:
        return
    assert len(content) <= len(noise)
