"""The tool `report-generator`."""

from __future__ import annotations

from pathlib import Path

import pytest
from builtin_calls import Caller

from orchestrator.services.builtin_tools.material import Material
from orchestrator.services.builtin_tools.report import ReportGenerator

SOURCES = {
    "results": [{"title": "One", "url": "https://a.example/1", "snippet": "first\nline"}, "plain"],
    "total_results": 2,
}
EXTRACTS = [{"title": "One", "url": "https://a.example/1", "content": "The text."}]


@pytest.fixture
def report(material: Material) -> Caller:
    return Caller(ReportGenerator(material))


async def test_a_report_has_all_that_was_given_and_no_more(report: Caller) -> None:
    told = await report(
        title="Tea",
        query="What is\ntea?",
        search_results=SOURCES,
        extraction_results=EXTRACTS,
        findings=["It is a drink.", {"text": "It is old."}],
        recommendations="Drink it.",
        quality_score=0.8,
        context={"asked_by": "Anna"},
    )
    assert (
        told["markdown"]
        == """# Tea

**Question:** What is tea?

## Summary

2 sources, 1 extracted text, 2 findings. It is a drink.

**Quality score:** 0.8

## Findings

- It is a drink.
- It is old.

## Extracted texts

### One

The text.

<https://a.example/1>

## Recommendations

- Drink it.

## Context

```json
{
  "asked_by": "Anna"
}
```

## Sources

1. [One](https://a.example/1): first line
2. plain
"""
    )
    assert told["report"] == told["markdown"]
    assert told["summary"].startswith("2 sources")
    assert told["word_count"] == 56
    assert told["size"] == len(told["markdown"].encode())


async def test_of_nothing_comes_nothing(report: Caller) -> None:
    told = await report(title="T", query="Q", search_results=[], extraction_results=None)
    assert told["markdown"] == "# T\n\n**Question:** Q\n\n## Summary\n\n0 sources, 0 extracted texts, 0 findings.\n"


async def test_it_is_written_and_kept(report: Caller, root: Path) -> None:
    arguments = {"title": "T", "query": "Q", "search_results": [], "extraction_results": []}
    outcome = await report.outcome(**arguments, output_path="reports/t.md")
    told, (made,) = outcome.result, outcome.files
    assert told["file_path"] == told["filepath"] == "reports/t.md"
    assert (root / "reports/t.md").read_bytes() == made.content == told["markdown"].encode()
    assert (made.file_name, made.mime_type) == ("t.md", "text/markdown")
