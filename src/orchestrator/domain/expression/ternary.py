"""`condition ? a : b`, written as Python has it."""

from __future__ import annotations

MAX_CHOICES, MAX_NESTING = 20, 40
_OPEN, _CLOSE, _QUOTES = "([{", ")]}", "'\""


def rewritten(text: str) -> str:
    """The text with each `c ? a : b` as `((a) if (c) else (b))`. Within braces the condition begins after the last
    colon. A text that is wrong stays wrong. Raises ValueError for more choices or brackets than it takes."""
    if "?" not in text:
        return text
    if text.count("?") > MAX_CHOICES or _nesting(text) > MAX_NESTING:
        raise ValueError("too deeply nested")
    return _group(text, "")


def _nesting(text: str) -> int:
    depth = deepest = 0
    for letter in text:
        depth += (letter in _OPEN) - (letter in _CLOSE)
        deepest = max(deepest, depth)
    return deepest


def _group(text: str, bracket: str) -> str:
    parts, separators = _split(text)
    return "".join(_choice(part, bracket) + separator for part, separator in zip(parts, (*separators, ""), strict=True))


def _choice(text: str, bracket: str) -> str:
    marks = _marks(text)
    question = next((at for at, mark in marks if mark == "?"), None)
    if question is None:
        return _inner(text)
    start = max((at + 1 for at, mark in marks if mark == ":" and at < question), default=0) if bracket == "{" else 0
    open_questions = 1
    for at, mark in marks:
        if at <= question:
            continue
        open_questions += 1 if mark == "?" else -1
        if open_questions == 0:
            condition, yes, no = text[start:question], text[question + 1 : at], text[at + 1 :]
            head = _inner(text[:start])
            return f"{head}(({_choice(yes, '')}) if ({_choice(condition, '')}) else ({_choice(no, '')}))"
    return text


def _inner(text: str) -> str:
    """The text with what is in its brackets rewritten."""
    done, at = "", 0
    while at < len(text):
        letter = text[at]
        if letter in _QUOTES:
            end = _quoted(text, at)
            done += text[at:end]
        elif letter in _OPEN:
            end = _bracketed(text, at)
            closed = end - 1 if text[end - 1] in _CLOSE and end - 1 > at else end
            done += letter + _group(text[at + 1 : closed], letter) + text[closed:end]
        else:
            end = at + 1
            done += letter
        at = end
    return done


def _split(text: str) -> tuple[list[str], list[str]]:
    """At the commas that are in no bracket."""
    commas = [at for at, mark in _marks(text) if mark == ","]
    starts, ends = [0, *(at + 1 for at in commas)], [*commas, len(text)]
    return [text[start:end] for start, end in zip(starts, ends, strict=True)], [","] * len(commas)


def _marks(text: str) -> list[tuple[int, str]]:
    """Question marks, colons and commas that are in no bracket and no string."""
    found, at = [], 0
    while at < len(text):
        letter = text[at]
        if letter in _QUOTES:
            at = _quoted(text, at)
            continue
        if letter in _OPEN:
            at = _bracketed(text, at)
            continue
        if letter in "?:,":
            found.append((at, letter))
        at += 1
    return found


def _quoted(text: str, start: int) -> int:
    at = start + 1
    while at < len(text) and text[at] != text[start]:
        at += 2 if text[at] == "\\" else 1
    return min(at + 1, len(text))


def _bracketed(text: str, start: int) -> int:
    depth, at = 0, start
    while at < len(text):
        letter = text[at]
        if letter in _QUOTES:
            at = _quoted(text, at)
            continue
        depth += (letter in _OPEN) - (letter in _CLOSE)
        at += 1
        if depth == 0:
            break
    return at
