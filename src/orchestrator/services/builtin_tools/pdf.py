"""Documents in PDF, out of Markdown."""

from __future__ import annotations

import asyncio
import base64

from orchestrator.domain.tool import SideEffect, Tool
from orchestrator.domain.tool_call import CallOrder, CallOutcome
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.material import OUTPUT, OUTPUT_RESULT, Material, file_name_of
from orchestrator.services.builtin_tools.offer import COUNT, FLAG, TEXT, choice, described, fields, offered, results

MOST_MARKDOWN = 1 << 20  # characters
TIMEOUT = 120.0


def pdf_offer() -> Tool:
    takes = {
        "markdown_content": described(TEXT, "The document in Markdown.", minLength=1, maxLength=MOST_MARKDOWN),
        "title": described(TEXT, "Printed at the top and kept in the file.", maxLength=500, default=""),
        "author": described(TEXT, "The same.", maxLength=500, default=""),
        "page_size": choice(("A4", "Letter"), "Of the paper.", default="A4"),
        "install_if_missing": described(FLAG, "Accepted and without effect: nothing is ever installed.", default=True),
        **OUTPUT,
    }
    made = {"success": FLAG, "file_size": COUNT, "pages": COUNT, "missing_characters": COUNT}
    return offered(
        "pdf-compiler",
        "text",
        "Makes a PDF of Markdown: headings, lists, tables, code, quotations, links. Pictures are not fetched. Tells "
        "how many characters no font of the machine has.",
        SideEffect.WRITE,
        fields(takes, ("markdown_content",)),
        results({**made, **OUTPUT_RESULT}, ("success", "file_size", "pages")),
        TIMEOUT,
    )


class PdfCompiler:
    """`BuiltinTool`. `function` answers as `adapters.fpdf.document.compile_markdown`."""

    def __init__(self, material: Material, apart: Apart, function: str) -> None:
        self.tool = pdf_offer()
        self._material = material
        self._apart = apart
        self._function = function

    async def run(self, order: CallOrder) -> CallOutcome:
        given = order.arguments
        told = await self._apart.call(
            self._function,
            markdown=given["markdown_content"],
            title=given.get("title", ""),
            author=given.get("author", ""),
            page_size=given.get("page_size", "A4"),
        )
        content = await asyncio.to_thread(base64.b64decode, told["content"])
        name = file_name_of(given, "document.pdf")
        where, files = await self._material.kept(order, name, "application/pdf", content)
        result = {"success": True, "file_size": len(content), "pages": told["pages"]}
        return CallOutcome(result | {"missing_characters": told["missing"]} | where, files)
