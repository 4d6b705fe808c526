from __future__ import annotations

import pytest

from orchestrator.domain.byte_range import ByteRange, unchanged, wanted
from orchestrator.domain.errors import RangeNotSatisfiable

TAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "start", "length"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-9", 0, 10),
        ("bytes=5-", 5, 5),
        ("bytes=-3", 7, 3),
        ("bytes=-30", 0, 10),
        ("bytes=8-100", 8, 2),
        ("Bytes= 9-9", 9, 1),
    ],
)
def test_a_part(header: str, start: int, length: int) -> None:
    assert wanted(header, "", TAG, 10) == ByteRange(start, length, False)


@pytest.mark.parametrize(
    "header", ["", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b", "bytes=1-2-3"]
)
def test_what_asks_for_nothing_less(header: str) -> None:
    assert wanted(header, "", TAG, 10) == ByteRange(0, 10)


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0", f"bytes={10**30}-", f"bytes=-{10**30}"])
def test_behind_the_end(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        wanted(header, "", TAG, 10)


def test_nothing_is_in_an_empty_representation() -> None:
    assert wanted("", "", TAG, 0) == ByteRange(0, 0)
    for header in ("bytes=0-0", "bytes=-1"):
        with pytest.raises(RangeNotSatisfiable):
            wanted(header, "", TAG, 0)


def test_a_range_of_other_bytes_is_not_given() -> None:
    assert wanted("bytes=0-1", TAG, TAG, 10).length == 2
    for other in ('"abd"', 'W/"abc"', "Wed, 21 Oct 2026 07:28:00 GMT"):
        assert wanted("bytes=0-1", other, TAG, 10) == ByteRange(0, 10)


def test_content_range() -> None:
    assert wanted("bytes=2-3", "", TAG, 10).content_range(10) == "bytes 2-3/10"


def test_what_the_client_has() -> None:
    assert unchanged('"x", W/"abc"', TAG)
    assert unchanged("*", TAG)
    assert not unchanged("", TAG)
    assert not unchanged('"x"', TAG)
