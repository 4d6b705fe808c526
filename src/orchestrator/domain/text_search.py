"""Search by words, the same in every store.

Texts are taken apart here and not by the databases: letters and digits make words, everything else separates them; case
and accents do not count; each Chinese or Japanese character is a word. What a user writes is never a query language:
words must all occur, the last one is the beginning of a word, and what stands in quotes or has no space in it occurs in
one piece.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

WORD_LIMIT = 64  # characters of a word that count
TITLE_WORDS, BODY_WORDS = 200, 2_000  # of one text; later words are not searched
QUERY_WORDS = 32
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_WORD = re.compile(f"[{_CJK}]|[^\\W_{_CJK}]+")
_PIECE = re.compile(r'"([^"]*)("|$)|([^\s"]+)')
_ACCENTED = re.compile(r"[^\x00-\x7f]")


@dataclass(frozen=True, slots=True)
class Text:
    """What is searched of one thing: its name, and what else is known of it."""

    title: tuple[str, ...]
    body: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that follow each other; with `prefix` the last one may go on."""

    words: tuple[str, ...]
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class TextSearch:
    """All phrases must occur. Without any nothing is found."""

    phrases: tuple[Phrase, ...] = ()


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text, in the form in which they are compared."""
    small = text.casefold()
    if _ACCENTED.search(small):
        parts = unicodedata.normalize("NFKD", small)
        small = "".join(char for char in parts if not unicodedata.combining(char)).casefold()
    return tuple(word[:WORD_LIMIT] for word in _WORD.findall(small))


def text_of(title: str, *body: str) -> Text:
    """What is searched of a thing with this name and these other texts."""
    return Text(words_of(title)[:TITLE_WORDS], words_of("\n".join(body))[:BODY_WORDS])


def read_search(query: str) -> TextSearch | None:
    """What a user has written, whatever it is; None when it is blank and so asks for nothing."""
    if not query or query.isspace():
        return None
    phrases: list[Phrase] = []
    room = QUERY_WORDS
    for piece in _PIECE.finditer(query):
        quoted, end, plain = piece.groups()
        words = words_of(quoted if plain is None else plain)[:room]
        if words:
            phrases.append(Phrase(words, prefix=plain is not None or not end))
            room -= len(words)
    return TextSearch(tuple(Phrase(one.words, one.prefix and one is phrases[-1]) for one in phrases))


def fits(search: TextSearch, text: Text) -> bool:
    """Whether all phrases occur, each in the title or in the body."""
    return bool(search.phrases) and all(_within(one, text.title) or _within(one, text.body) for one in search.phrases)


def relevance(search: TextSearch, title: Sequence[str]) -> tuple[int, int]:
    """A key to sort what fits, the most relevant first: for each phrase 0 when it is in the title as whole words, 1
    when a word of the title begins so, 2 when it is only in the body; then the length of the title in words."""
    cost = 0
    for phrase in search.phrases:
        if not _within(Phrase(phrase.words), title):
            cost += 1 if phrase.prefix and _within(phrase, title) else 2
    return cost, len(title)


def _within(phrase: Phrase, words: Sequence[str]) -> bool:
    wanted, last = phrase.words[:-1], phrase.words[-1]
    span = len(wanted)
    for start in range(len(words) - span):
        if tuple(words[start : start + span]) == wanted:
            found = words[start + span]
            if found == last or (phrase.prefix and found.startswith(last)):
                return True
    return False
