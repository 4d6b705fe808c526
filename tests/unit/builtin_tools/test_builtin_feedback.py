"""The tool `feedback-collection`, after a person has answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from builtin_calls import Caller

from orchestrator.domain.errors import InvalidRequest
from orchestrator.domain.tool_call import needs_approval
from orchestrator.services.builtin_tools.feedback import FeedbackCollection
from orchestrator.services.builtin_tools.material import Material

QUESTIONS: list[Any] = [
    "What was good?",
    {"id": "stars", "text": "How good?", "type": "rating", "required": True},
    {"id": "again", "question": "Again?", "type": "boolean"},
    {"id": "colour", "text": "Which?", "type": "choice", "options": ["red", "blue"]},
    {"id": "age", "text": "How old?", "type": "number", "min": 0},
]


@pytest.fixture
def feedback(material: Material) -> Caller:
    return Caller(FeedbackCollection(material))


def test_it_always_needs_a_person(feedback: Caller) -> None:
    assert needs_approval(feedback.tool.tool, {})


async def test_answers_of_one(feedback: Caller) -> None:
    answers = {"q1": "the tea", "stars": 4, "again": True, "colour": "blue"}
    told = await feedback(title="The visit", questions=QUESTIONS, responses=answers)
    assert [(one["question_id"], one["response"]) for one in told["responses"]] == [*answers.items(), ("age", None)]
    assert told["summary"] == {
        "people": 1,
        "questions": 5,
        "answered": 4,
        "rating_average": 4.0,
        "boolean_summary": {"true": 1, "false": 0},
        "choice_counts": {"colour": {"red": 0, "blue": 1}},
        "text_responses": 1,
        "by_question": [
            {"question_id": "q1", "type": "text", "answered": 1},
            {"question_id": "stars", "type": "rating", "answered": 1, "average": 4.0, "lowest": 4, "highest": 4},
            {"question_id": "again", "type": "boolean", "answered": 1},
            {"question_id": "colour", "type": "choice", "answered": 1},
            {"question_id": "age", "type": "number", "answered": 0, "average": None, "lowest": None, "highest": None},
        ],
    }


async def test_answers_of_several(feedback: Caller) -> None:
    people = [{"stars": 5, "again": True}, {"stars": 2, "again": False, "q1": ""}]
    told = await feedback(title="The visit", questions=QUESTIONS, responses=people, anonymous=True)
    assert told["anonymous"] is True
    assert len(told["responses"]) == 10
    assert (told["summary"]["people"], told["summary"]["rating_average"]) == (2, 3.5)
    assert told["summary"]["boolean_summary"] == {"true": 1, "false": 1}


async def test_they_are_kept(feedback: Caller, root: Path) -> None:
    given: dict[str, Any] = {"title": "t", "questions": ["?"], "responses": {"q1": "Grüße"}}
    assert "path" not in await feedback(**given)
    told = await feedback(**given, save_to_file="answers/a.json")
    assert told["path"] == "answers/a.json"
    kept = json.loads((root / "answers/a.json").read_text())
    assert kept["responses"][0]["response"] == "Grüße"
    outcome = await feedback.outcome(**given, save_to_file=True)
    assert json.loads(outcome.files[0].content)["summary"]["answered"] == 1
    assert outcome.result["artifact_id"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "nobody has answered"),
        ({"responses": {}}, r"responses\[0\].stars: has to be answered"),
        ({"responses": [{"stars": 1}, {"stars": None}]}, r"responses\[1\].stars"),
        ({"responses": {"stars": 6}}, "stars"),
        ({"responses": {"stars": True}}, "stars"),
        ({"responses": {"stars": 3, "again": "yes"}}, "again"),
        ({"responses": {"stars": 3, "colour": "green"}}, "colour"),
        ({"responses": {"stars": 3, "age": -1}}, "age"),
        ({"responses": {"stars": 3, "other": 1}}, "other: there is no such question"),
        ({"responses": {"stars": 3}, "required_questions": ["again"]}, "again: has to be answered"),
        ({"responses": {"stars": 3}, "required_questions": [0]}, "q1: has to be answered"),
        ({"responses": {"stars": 3}, "required_questions": ["none"]}, "required_questions"),
        ({"responses": {"stars": 3}, "required_questions": [5]}, "required_questions"),
    ],
)
async def test_what_is_no_answer(feedback: Caller, given: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        await feedback(title="The visit", questions=QUESTIONS, **given)


@pytest.mark.parametrize(
    "question",
    [
        {"id": "a"},
        {"text": "?", "type": "choice"},
        {"text": "?", "type": "rating", "min": 9},
        {"text": "?", "id": "q1"},
    ],
)
async def test_what_is_no_question(feedback: Caller, question: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="questions"):
        await feedback(title="t", questions=["?", question], responses={})
