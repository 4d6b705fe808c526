"""Sets of node indexes as whole numbers: bit i stands for node i.

An AND of two 1,000-bit numbers takes about 50 ns, so the questions of placement (who has room, who holds the model,
who is resting) are answered for the whole fleet at once, with no loop over its nodes. All shifts of such numbers are
here: this module is not compiled (docs/adr/0008-compiled-data-plane.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator


def only(index: int) -> int:
    """The set of one node."""
    return 1 << index


def holds(mask: int, index: int) -> bool:
    """Whether the index is in the set."""
    return bool(mask >> index & 1)


def lowest(mask: int) -> int:
    """Index of the lowest set bit; -1 for the empty set."""
    return (mask & -mask).bit_length() - 1


def following(mask: int, index: int) -> int:
    """The next index of a non-empty set after this one (-1: the first), and the first after the last."""
    above = mask >> (index + 1)
    return index + 1 + lowest(above) if above else lowest(mask)


def nth(mask: int, k: int) -> int:
    """Index of the k-th set bit, counted from 0; needs k < mask.bit_count()."""
    base = 0
    width = mask.bit_length()
    while width > 1:
        half = width >> 1
        low = mask & ((1 << half) - 1)
        count = low.bit_count()
        if k < count:
            mask = low
            width = half
        else:
            k -= count
            mask >>= half
            base += half
            width -= half
    return base


def draw(mask: int, rand: Callable[[], float]) -> int:
    """One index of a non-empty set, each with the same probability."""
    width = mask.bit_length()
    # Dense sets, the usual case, end here; a rejected draw leaves the next one as uniform as the first.
    for _ in range(3):
        index = int(rand() * width)
        if mask >> index & 1:
            return index
    return nth(mask, int(rand() * mask.bit_count()))


def members(mask: int) -> Iterator[int]:
    """The indexes of a set, lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
