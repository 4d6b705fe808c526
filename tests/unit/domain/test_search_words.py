from __future__ import annotations

import pytest

from orchestrator.domain.rank_fusion import fused
from orchestrator.domain.text_search import Phrase, fits, read_search, relevance, text_of, words_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("File_Analyzer v2.1", ("file", "analyzer", "v2", "1")),
        ("Größe ﬁnal İ Ångström", ("grosse", "final", "i", "angstrom")),
        ("東京タワー abc", ("東", "京", "タ", "ワ", "ー", "abc")),
        ("a\0b \ud800 c", ("a", "b", "c")),
        ("---", ()),
        ("x" * 100, ("x" * 64,)),
    ],
)
def test_words(text: str, expected: tuple[str, ...]) -> None:
    assert words_of(text) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('"a b" c', [(("a", "b"), False), (("c",), True)]),
        ('c "a b"', [(("c",), False), (("a", "b"), False)]),
        ('c "a b', [(("c",), False), (("a", "b"), True)]),
        ("a-b c", [(("a", "b"), False), (("c",), True)]),
        ('c ""', [(("c",), True)]),
        ("c !!", [(("c",), True)]),
        ("?!", []),
    ],
)
def test_a_query_is_phrases_and_the_last_word_may_go_on(query: str, expected: list[object]) -> None:
    search = read_search(query)
    assert search is not None
    assert [(one.words, one.prefix) for one in search.phrases] == expected


def test_a_blank_query_asks_for_nothing_and_a_long_one_is_cut() -> None:
    assert read_search(" \t") is None
    search = read_search("a " * 10_000)
    assert search is not None
    assert len(search.phrases) == 32


def test_phrases_do_not_go_from_the_title_into_the_rest() -> None:
    text = text_of("one two", "three four")
    for query, expected in (("two three", True), ('"two three"', False), ("three-four", True), ("tw fo", False)):
        search = read_search(query)
        assert search is not None
        assert fits(search, text) is expected, query


def test_names_count_more_than_the_rest_and_short_ones_more_than_long_ones() -> None:
    search = read_search("report")
    assert search is not None
    assert search.phrases == (Phrase(("report",), prefix=True),)
    titles = [("report",), ("report", "x"), ("reports",), ("other",)]
    shuffled = [titles[place] for place in (2, 0, 3, 1)]
    assert sorted(shuffled, key=lambda title: relevance(search, title)) == titles


def test_reciprocal_ranks_are_added() -> None:
    found = fused([["a", "b", "c"], ["c", "a"]])
    assert [thing for thing, _ in found] == ["a", "c", "b"]
    assert found[0][1] == pytest.approx(1 / 61 + 1 / 62)
    assert found[2][1] == pytest.approx(1 / 62)
    assert fused([]) == []
