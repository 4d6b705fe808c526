"""Answers of people to a list of questions, and what they come to. The call waits in the inbox of approvals; who
approves it sends its arguments with the answers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.tool import ApprovalRule, SideEffect, Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome, Produced
from orchestrator.services.builtin_tools.material import Material, kept_as
from orchestrator.services.builtin_tools.offer import COUNT, FLAG, TEXT, choice, described, fields, offered, results

TYPES = ("text", "rating", "scale", "number", "boolean", "choice", "multiple_choice")
RATED = ("rating", "scale")
LOWEST, HIGHEST = 1, 5  # of a rating, where the question does not say
MOST_QUESTIONS, MOST_PEOPLE = 200, 1_000
LONGEST = 10_000  # characters of an answer
FILE = "feedback.json"

_NUMBER_OR_NULL = {"type": ["number", "null"]}
_OPTIONS = {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 100}
_QUESTION = fields(
    {
        "id": described(TEXT, "Names the answer; q1, q2, ... without it.", minLength=1, maxLength=100),
        "text": described(TEXT, "The question.", minLength=1, maxLength=2_000),
        "question": described(TEXT, "The same as text.", minLength=1, maxLength=2_000),
        "type": choice(TYPES, "Of the answer.", default="text"),
        "choices": {**_OPTIONS, "description": "For choice and multiple_choice."},
        "options": {**_OPTIONS, "description": "The same as choices."},
        "min": {"type": "number", "description": "Lowest rating, 1 without it, or number."},
        "max": {"type": "number", "description": "Highest rating, 5 without it, or number."},
        "required": described(FLAG, "Whether it must be answered."),
    }
)
_ANSWERS = {"type": "object", "description": "Answers by the ids of the questions."}


def feedback_offer() -> Tool:
    takes = {
        "title": described(TEXT, "What it is about.", minLength=1, maxLength=500),
        "questions": {
            "type": "array",
            "items": {"anyOf": [{"type": "string", "minLength": 1, "maxLength": 2_000}, _QUESTION]},
            "minItems": 1,
            "maxItems": MOST_QUESTIONS,
            "description": "Texts, or objects with id, text, type (" + ", ".join(TYPES) + "), choices, min, max, "
            "required.",
        },
        "anonymous": described(
            FLAG, "Told back. Who approved the call is in its record in any case, and in no answer.", default=False
        ),
        "required_questions": {
            "type": "array",
            "items": {"type": ["string", "integer"]},
            "description": "Those that must be answered: ids, or numbers from 0.",
        },
        "save_to_file": {
            "anyOf": [{"type": "boolean"}, {"type": "string", "minLength": 1}],
            "default": False,
            "description": "Answers and summary as JSON: true keeps an artifact, a text is a path below the tools' "
            "folder.",
        },
        "context": {"description": "Anything that helps to answer."},
        "responses": {
            "anyOf": [_ANSWERS, {"type": "array", "items": _ANSWERS, "maxItems": MOST_PEOPLE}],
            "description": "Who approves the call sends its arguments with the answers here: an object by the ids of "
            "the questions, or a list of such objects, one for each person.",
        },
    }
    summary = {
        "people": COUNT,
        "questions": COUNT,
        "answered": COUNT,
        "rating_average": _NUMBER_OR_NULL,
        "boolean_summary": results({"true": COUNT, "false": COUNT}),
        "choice_counts": {"type": "object"},
        "text_responses": COUNT,
        "by_question": {"type": "array"},
    }
    made = {"title": TEXT, "anonymous": FLAG, "responses": {"type": "array"}, "summary": results(summary)}
    kept = dict.fromkeys(("path", "filepath", "file_path", "artifact_id", "url"), TEXT)
    return offered(
        "feedback-collection",
        "people",
        "Asks people a list of questions and sums up their answers. The call waits in the inbox of approvals; who "
        "approves it sends the arguments with the answers as responses.",
        SideEffect.WRITE,
        fields(takes, ("title", "questions")),
        results(made | kept, ("title", "anonymous", "responses", "summary")),
        30.0,
        ApprovalRule.ALWAYS,
    )


@dataclass(frozen=True, slots=True)
class Question:
    """`low` and `high` bound an answer that is a number."""

    id: str
    text: str
    kind: str = "text"
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    required: bool = False


class FeedbackCollection:
    """`BuiltinTool`."""

    def __init__(self, material: Material) -> None:
        self.tool = feedback_offer()
        self._material = material

    async def run(self, order: CallOrder) -> CallOutcome:
        given = order.arguments
        questions = read_questions(given["questions"], given.get("required_questions", ()))
        if "responses" not in given:
            raise InvalidRequest("responses: nobody has answered", details={"field": "responses"})
        people = given["responses"] if isinstance(given["responses"], list) else [given["responses"]]
        answers = [_checked(questions, one, number) for number, one in enumerate(people)]
        told = {
            "title": given["title"],
            "anonymous": given.get("anonymous", False),
            "responses": [_response(one, number, answers) for one in questions for number in range(len(answers))],
            "summary": summary(questions, answers),
        }
        place, files = await self._kept(order, told)
        return CallOutcome(told | place, files)

    async def _kept(self, order: CallOrder, told: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[Produced, ...]]:
        where = order.arguments.get("save_to_file", False)
        if where is False:
            return {}, ()
        text = await asyncio.to_thread(json.dumps, told, ensure_ascii=False, indent=2)
        if where is True:
            return dict(kept_as(order, 1)), (Produced(FILE, "application/json", text.encode()),)
        found = await self._material.written(where, text.encode(), {})
        return {name: found[name] for name in ("path", "filepath", "file_path")}, ()


def read_questions(given: Sequence[Any], required: Sequence[str | int]) -> tuple[Question, ...]:
    """Raises InvalidRequest."""
    questions = [_question(one, number) for number, one in enumerate(given)]
    ids = [one.id for one in questions]
    if len(set(ids)) < len(ids):
        raise InvalidRequest("questions: two have the same id", details={"field": "questions"})
    wanted = {_named(name, ids) for name in required}
    return tuple(replace(one, required=one.required or one.id in wanted) for one in questions)


def _named(name: str | int, ids: Sequence[str]) -> str:
    if isinstance(name, int) and 0 <= name < len(ids):
        return ids[name]
    if isinstance(name, str) and name in ids:
        return name
    raise InvalidRequest(f"required_questions: there is no {name!r}", details={"field": "required_questions"})


def _question(given: str | Mapping[str, Any], number: int) -> Question:
    if isinstance(given, str):
        return Question(f"q{number + 1}", given)
    at = f"questions[{number}]"
    text = given.get("text") or given.get("question")
    if not text:
        raise InvalidRequest(f"{at}.text: missing", details={"field": "questions"})
    kind = given.get("type", "text")
    choices = tuple(given.get("choices") or given.get("options") or ())
    if kind in ("choice", "multiple_choice") and not choices:
        raise InvalidRequest(f"{at}.choices: missing", details={"field": "questions"})
    low, high = given.get("min"), given.get("max")
    if kind in RATED:
        low, high = LOWEST if low is None else low, HIGHEST if high is None else high
    if low is not None and high is not None and low > high:
        raise InvalidRequest(f"{at}.min: over max", details={"field": "questions"})
    return Question(given.get("id") or f"q{number + 1}", text, kind, choices, low, high, given.get("required", False))


def _checked(questions: Sequence[Question], given: Mapping[str, Any], person: int) -> Mapping[str, Any]:
    """One person's answers by id; one that is null or an empty text is none. Raises InvalidRequest."""
    unknown = sorted(given.keys() - {one.id for one in questions})
    if unknown:
        raise _wrong(person, unknown[0], "there is no such question")
    found = {}
    for one in questions:
        answer = given.get(one.id)
        if answer is None or answer in ("", []):
            if one.required:
                raise _wrong(person, one.id, "has to be answered")
        elif not _fits(one, answer):
            raise _wrong(person, one.id, f"is no answer to a question of the type {one.kind}")
        else:
            found[one.id] = answer
    return found


def _wrong(person: int, name: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"responses[{person}].{name}: {why}", details={"field": "responses"})


def _fits(question: Question, answer: Any) -> bool:
    match question.kind:
        case "text":
            return isinstance(answer, str) and len(answer) <= LONGEST
        case "boolean":
            return isinstance(answer, bool)
        case "choice":
            return answer in question.choices
        case "multiple_choice":
            return isinstance(answer, list) and all(one in question.choices for one in answer)
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        return False
    low, high = question.low, question.high
    return (low is None or answer >= low) and (high is None or answer <= high)


def _response(question: Question, person: int, answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    answer = answers[person].get(question.id)
    told = {"question_id": question.id, "question": question.text, "type": question.kind, "person": person}
    return told | {"response": answer, "answered": answer is not None}


def summary(questions: Sequence[Question], answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`rating_average` is the mean of all ratings, None without any."""
    given = [(one, [person[one.id] for person in answers if one.id in person]) for one in questions]
    ratings = [value for one, values in given if one.kind in RATED for value in values]
    truths = Counter(value for one, values in given if one.kind == "boolean" for value in values)
    return {
        "people": len(answers),
        "questions": len(questions),
        "answered": sum(len(values) for _, values in given),
        "rating_average": _mean(ratings),
        "boolean_summary": {"true": truths[True], "false": truths[False]},
        "choice_counts": {one.id: _chosen(one, values) for one, values in given if one.choices},
        "text_responses": sum(len(values) for one, values in given if one.kind == "text"),
        "by_question": [_sum(one, values) for one, values in given],
    }


def _sum(question: Question, values: Sequence[Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"question_id": question.id, "type": question.kind, "answered": len(values)}
    if question.kind in (*RATED, "number"):
        return told | {
            "average": _mean(values),
            "lowest": min(values, default=None),
            "highest": max(values, default=None),
        }
    return told


def _chosen(question: Question, values: Sequence[Any]) -> dict[str, int]:
    counts = Counter(one for value in values for one in (value if isinstance(value, list) else [value]))
    return {one: counts[one] for one in question.choices}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
