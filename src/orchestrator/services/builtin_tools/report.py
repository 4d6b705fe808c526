"""Reports: what was found on a question, in Markdown. Everything in one comes from the arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.domain.tool import SideEffect, Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.services.builtin_tools.material import OUTPUT, OUTPUT_RESULT, Material, file_name_of
from orchestrator.services.builtin_tools.offer import COUNT, TEXT, described, fields, offered, results

MOST_SOURCES = 200
MOST_EXTRACT = 20_000  # characters of one extracted text
TIMEOUT = 30.0
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_REQUIRED = ("title", "query", "search_results", "extraction_results")
Given = Mapping[str, Any]


def report_offer() -> Tool:
    many = {"type": ["array", "string", "object"]}
    takes = {
        "title": described(TEXT, "Of the report.", minLength=1, maxLength=500),
        "query": described(TEXT, "The question.", maxLength=10_000),
        "search_results": {
            "type": ["array", "object", "string", "null"],
            "description": "Sources: objects with title, url, snippet; or the result of web-search.",
        },
        "extraction_results": {
            "type": ["array", "object", "string", "null"],
            "description": "Texts taken from the sources: objects with title, url, text (or content).",
        },
        "findings": described(many, "What was found: texts."),
        "recommendations": described(many, "What to do: texts."),
        "quality_score": {"type": ["number", "string"], "description": "Shown as it is."},
        "context": {"description": "Anything else that is to be shown."},
        **OUTPUT,
    }
    made = {"markdown": TEXT, "report": TEXT, "summary": TEXT, "word_count": COUNT, "size": COUNT, "sources": COUNT}
    return offered(
        "report-generator",
        "text",
        "Puts search results, extracted texts, findings and recommendations together as a report in Markdown with "
        "numbered sources. It adds nothing of its own.",
        SideEffect.WRITE,
        fields(takes, _REQUIRED),
        results({**made, **OUTPUT_RESULT}, ("markdown", "report", "summary", "word_count")),
        TIMEOUT,
    )


class ReportGenerator:
    """`BuiltinTool`."""

    def __init__(self, material: Material) -> None:
        self.tool = report_offer()
        self._material = material

    async def run(self, order: CallOrder) -> CallOutcome:
        markdown, summary, sources = written(order.arguments)
        content = markdown.encode()
        name = file_name_of(order.arguments, "report.md")
        where, files = await self._material.kept(order, name, "text/markdown", content)
        words = len(_WORD.findall(markdown))
        told = {"markdown": markdown, "report": markdown, "summary": summary, "word_count": words}
        return CallOutcome(told | {"size": len(content), "sources": sources} | where, files)


def written(given: Given) -> tuple[str, str, int]:
    """The report, its first paragraph, and how many sources it names."""
    sources = _entries(given["search_results"])[:MOST_SOURCES]
    extracts = _entries(given["extraction_results"])[:MOST_SOURCES]
    findings, advice = _texts(given.get("findings")), _texts(given.get("recommendations"))
    summary = _summary(given["query"], len(sources), len(extracts), findings)
    parts = [f"# {_line(given['title'])}", f"**Question:** {_line(given['query'])}", "## Summary", summary]
    if "quality_score" in given:
        parts.append(f"**Quality score:** {_line(given['quality_score'])}")
    parts += _section("Findings", [_bullets(findings)] if findings else [])
    parts += _section("Extracted texts", [_extract(one) for one in extracts])
    parts += _section("Recommendations", [_bullets(advice)] if advice else [])
    if given.get("context") not in (None, "", {}, []):
        parts += _section("Context", [_block(given["context"])])
    parts += _section(
        "Sources", ["\n".join(_source(number, one) for number, one in enumerate(sources, 1))] * bool(sources)
    )
    return "\n\n".join(parts) + "\n", summary, len(sources)


def _summary(query: str, sources: int, extracts: int, findings: list[str]) -> str:
    counts = (
        f"{_counted(sources, 'source')}, {_counted(extracts, 'extracted text')}, {_counted(len(findings), 'finding')}."
    )
    return f"{counts} {_line(findings[0])}" if findings else counts


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _section(title: str, parts: Iterable[str]) -> list[str]:
    shown = [part for part in parts if part]
    return [f"## {title}", *shown] if shown else []


def _entries(value: Any) -> list[Any]:
    """The list in what a tool gave back, or what was given as a list of one."""
    if isinstance(value, Mapping):
        for name in ("results", "items", "data", "extractions"):
            if isinstance(value.get(name), list):
                return list(value[name])
    if value in (None, "", {}, []):
        return []
    return list(value) if isinstance(value, list) else [value]


def _texts(value: Any) -> list[str]:
    return [text for one in _entries(value) if (text := _said(one))]


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        for name in ("text", "finding", "recommendation", "content", "summary", "snippet", "title"):
            if isinstance(value.get(name), str) and value[name].strip():
                return str(value[name]).strip()
        return json.dumps(value, ensure_ascii=False)
    return str(value).strip()


def _bullets(texts: list[str]) -> str:
    return "\n".join(f"- {_line(text)}" for text in texts)


def _extract(value: Any) -> str:
    text = _said(value)[:MOST_EXTRACT]
    if not isinstance(value, Mapping):
        return text
    name, url = _line(value.get("title") or ""), _line(value.get("url") or "")
    head = f"### {name or url}" if name or url else ""
    where = f"<{url}>" if name and url else ""
    return "\n\n".join(part for part in (head, text if text != name else "", where) if part)


def _source(number: int, value: Any) -> str:
    if not isinstance(value, Mapping):
        return f"{number}. {_line(value)}"
    name, url = _line(value.get("title") or ""), _line(value.get("url") or value.get("link") or "")
    shown = f"[{name or url}]({url})" if url else name or _said(value)
    snippet = _line(value.get("snippet") or "")
    return f"{number}. {shown}{f': {snippet}' if snippet else ''}"


def _block(value: Any) -> str:
    return (
        value.strip() if isinstance(value, str) else f"```json\n{json.dumps(value, ensure_ascii=False, indent=2)}\n```"
    )


def _line(value: Any) -> str:
    """On one line."""
    return " ".join(str(value).split())
