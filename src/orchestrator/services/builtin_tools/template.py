"""Texts made of a template and data."""

from __future__ import annotations

import asyncio

from orchestrator.domain.errors import InvalidRequest, ToolTimeout
from orchestrator.domain.tool import SideEffect, Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.ports.files import ReadableFiles
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.offer import COUNT, TEXT, choice, described, fields, offered, results

MOST_TEMPLATE = 1 << 20  # characters
MOST_CONTENT = 8 << 20  # characters
SECONDS = 20.0
_ONE = [{"required": ["template"]}, {"required": ["path"]}]


def template_offer() -> Tool:
    takes = {
        "template": described(TEXT, "Jinja: {{ name }}, {% for %}, {% if %}, filters.", maxLength=MOST_TEMPLATE),
        "path": described(TEXT, "Or a file below the tools' folder that holds the template.", minLength=1),
        "data": {"type": "object", "description": "The values by name.", "default": {}},
        "undefined": choice(
            ("strict", "empty"), "What a name without a value is: an error, or empty.", default="strict"
        ),
    }
    return offered(
        "template",
        "text",
        "Renders a Jinja template over the given data and returns the text. Filters beside Jinja's own: slugify, "
        "truncate_words, regex_search, regex_replace, to_json, from_json, date, markdown_format, basename, split.",
        SideEffect.READ,
        fields(takes, oneOf=_ONE),
        results({"content": TEXT, "result": TEXT, "size": COUNT}, ("content", "result", "size")),
        SECONDS + 10,
    )


class Template:
    """`BuiltinTool`. `function` answers as `adapters.jinja.rendering.render`."""

    def __init__(self, files: ReadableFiles, apart: Apart, function: str, seconds: float = SECONDS) -> None:
        self.tool = template_offer()
        self._files = files
        self._apart = apart
        self._function = function
        self._seconds = seconds

    async def run(self, order: CallOrder) -> CallOutcome:
        given = order.arguments
        template = given["template"] if "template" in given else await self._read(given["path"])
        data, undefined = given.get("data", {}), given.get("undefined", "strict")
        try:
            async with asyncio.timeout(self._seconds):
                told = await self._apart.call(
                    self._function, template=template, data=data, undefined=undefined, most=MOST_CONTENT
                )
        except TimeoutError:
            raise ToolTimeout(f"The template took more than {self._seconds:g} s.") from None
        content = told["content"]
        return CallOutcome({"content": content, "result": content, "size": len(content.encode())})

    async def _read(self, path: str) -> str:
        content = await self._files.read(path)
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise InvalidRequest(f"'{path}' is not UTF-8 text") from None
        if len(text) > MOST_TEMPLATE:
            raise InvalidRequest(f"a template may have {MOST_TEMPLATE:,} characters")
        return text
