"""Markdown as a document in PDF. Nothing is fetched: pictures are shown as their names."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.errors import FPDFException
from fpdf.fonts import FontFace
from markdown_it import MarkdownIt
from markdown_it.token import Token

from orchestrator.adapters.fpdf.fonts import Typeface

SIZE, LINE = 11.0, 6.0  # points, millimetres
HEADINGS = {"h1": 20.0, "h2": 16.0, "h3": 14.0, "h4": 12.0, "h5": 11.0, "h6": 11.0}
INDENT = 7.0  # millimetres
MOST_PAGES = 500
MOST_DEPTH = 12  # lists and quotations in each other
_GREY = (243, 243, 243)
_LINK = (20, 70, 160)


class Problem(Exception):
    """What is wrong with the text."""


def compile_markdown(
    markdown: str, title: str, author: str, page_size: str, most_pages: int = MOST_PAGES
) -> dict[str, Any]:
    """`content` (base64), `pages`, and `missing`: how many characters could not be written."""
    tokens = (
        MarkdownIt("commonmark", {"html": False, "maxNesting": 40}).enable(["table", "strikethrough"]).parse(markdown)
    )
    try:
        paper = Paper(title, author, page_size, latin=_is_latin(markdown + title + author))
        paper.blocks(tokens, most_pages)
    except Problem as problem:
        return {"problem": str(problem)}
    except FPDFException as error:  # a table with more columns than fit, for one
        return {"problem": f"this cannot be set on a page: {str(error)[:200]}"}
    content = bytes(paper.pdf.output())
    return {
        "content": base64.b64encode(content).decode(),
        "pages": paper.pdf.pages_count,
        "missing": paper.face.missing,
    }


def _is_latin(text: str) -> bool:
    return all(ord(char) < 256 for char in text)


class _Pages(FPDF):
    def footer(self) -> None:
        self.set_y(-15)
        self.set_font("helvetica", size=8)
        self.set_text_color(110)
        self.cell(0, 10, str(self.page_no()), align="C")
        self.set_text_color(0)


class Paper:
    """Writes tokens from top to bottom."""

    def __init__(self, title: str, author: str, page_size: str, *, latin: bool) -> None:
        self.pdf = _Pages(format=page_size)
        self.pdf.set_margin(20)
        self.pdf.set_auto_page_break(auto=True, margin=20)
        self.face = Typeface(self.pdf, latin=latin)
        self._margin = self.pdf.l_margin
        self._lists: list[int | None] = []  # the number of the next entry; None: bullets
        self._depth = 0
        self.pdf.add_page()
        self._head(title, author)

    def _head(self, title: str, author: str) -> None:
        if title:
            self.pdf.set_title(title)
            self._font(size=24, style="B")
            self._whole(title, 10)
        if author:
            self.pdf.set_author(author)
            self._font(size=SIZE, style="I")
            self._whole(author, LINE)
        if title or author:
            self.pdf.ln(4)
        self._font()

    def _font(self, *, size: float = SIZE, style: str = "", code: bool = False) -> None:
        self.face.use(size, style, code=code)

    def _whole(self, text: str, height: float, **options: Any) -> None:
        self.pdf.multi_cell(
            0, height, self.face.written(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT, **options
        )

    def blocks(self, tokens: Sequence[Token], most_pages: int) -> None:
        at = 0
        while at < len(tokens):
            if self.pdf.pages_count > most_pages:
                raise Problem(f"the document has more than {most_pages:,} pages")
            at = self._block(tokens, at)

    def _block(self, tokens: Sequence[Token], at: int) -> int:
        """Where to go on."""
        token = tokens[at]
        match token.type:
            case "heading_open":
                self._heading(token.tag, tokens[at + 1])
                return at + 3
            case "paragraph_open":
                self._paragraph(tokens[at + 1])
                return at + 3
            case "fence" | "code_block":
                self._code(token.content)
            case "hr":
                self.pdf.ln(2)
                self.pdf.line(self.pdf.l_margin, self.pdf.y, self.pdf.w - self.pdf.r_margin, self.pdf.y)
                self.pdf.ln(4)
            case "table_open":
                end = next(index for index in range(at, len(tokens)) if tokens[index].type == "table_close")
                self._table(tokens[at:end])
                return end + 1
            case _:
                self._container(token)
        return at + 1

    def _container(self, token: Token) -> None:
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                start = int(token.attrs.get("start", 1)) if token.type == "ordered_list_open" else None
                self._lists.append(start)
            case "bullet_list_close" | "ordered_list_close":
                self._lists.pop()
                if not self._lists:
                    self.pdf.ln(2)
            case "list_item_open":
                self._mark()
                self._indent(1)
                self.pdf.set_x(self.pdf.l_margin)
            case "blockquote_open":
                self._indent(1)
            case "list_item_close" | "blockquote_close":
                self._indent(-1)

    def _indent(self, steps: int) -> None:
        self._depth += steps
        if self._depth > MOST_DEPTH:
            raise Problem(f"lists and quotations are nested deeper than {MOST_DEPTH} levels")
        self.pdf.set_left_margin(self._margin + INDENT * self._depth)

    def _mark(self) -> None:
        number = self._lists[-1]
        if number is not None:
            self._lists[-1] = number + 1
        self.pdf.set_x(self.pdf.l_margin)
        self._font()
        self.pdf.write(LINE, f"{number}." if number is not None else self.face.bullet)

    def _heading(self, tag: str, inline: Token) -> None:
        size = HEADINGS[tag]
        self.pdf.ln(3)
        self._inline(inline.children or [], size=size, style="B")
        self.pdf.ln(size / 2)
        self.pdf.ln(1)
        self._font()

    def _paragraph(self, inline: Token) -> None:
        self._font()
        self._inline(inline.children or [])
        self.pdf.ln(LINE)
        self.pdf.ln(0 if self._lists else 2)

    def _code(self, text: str) -> None:
        self._font(size=9, code=True)
        self.pdf.set_fill_color(*_GREY)
        shown = self.face.written(text.rstrip("\n").replace("\t", "    "), code=True)
        self.pdf.multi_cell(0, 5, shown, align="L", fill=True, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.pdf.set_fill_color(255)
        self.pdf.ln(3)
        self._font()

    def _inline(self, tokens: Sequence[Token], *, size: float = SIZE, style: str = "") -> None:
        """Runs of one line of thought, each in its own style."""
        marks: list[str] = []
        link = ""
        height = LINE * size / SIZE
        for token in tokens:
            match token.type:
                case "strong_open" | "em_open" | "s_open":
                    marks.append({"strong": "B", "em": "I", "s": "S"}[token.type.partition("_")[0]])
                case "strong_close" | "em_close" | "s_close":
                    marks.pop()
                case "link_open":
                    link = str(token.attrs.get("href", ""))
                case "link_close":
                    link = ""
                case _:
                    code = token.type == "code_inline"
                    text = "\n" if token.type == "hardbreak" else _words(token)
                    both = "".join(sorted({*style, *marks}))
                    self._font(size=size - 1 if code else size, style=both, code=code)
                    self.pdf.set_text_color(*(_LINK if link else (0, 0, 0)))
                    self._run(height, self.face.written(text, code=code), link)
        self.pdf.set_text_color(0)

    def _run(self, height: float, text: str, link: str) -> None:
        """The library breaks a word in two when it is the first of a run and does not fit any more."""
        first = text.lstrip(" ").split(" ", 1)[0].partition("\n")[0]
        width, left = self.pdf.get_string_width(first), self.pdf.w - self.pdf.r_margin - self.pdf.x
        if (
            width > left - 2
            and self.pdf.x > self.pdf.l_margin
            and width < self.pdf.w - self.pdf.r_margin - self.pdf.l_margin
        ):
            self.pdf.ln(height)
            text = text.lstrip(" ")
        self.pdf.write(height, text, link)

    def _table(self, tokens: Sequence[Token]) -> None:
        rows: list[list[str]] = []
        for token in tokens:
            if token.type == "tr_open":
                rows.append([])
            elif token.type == "inline":
                rows[-1].append(self.face.written("".join(_words(one) for one in token.children or [])))
        self._font(size=10, style="B")  # of the first row
        self._font(size=10)
        head = FontFace(emphasis="BOLD", fill_color=_GREY)
        with self.pdf.table(headings_style=head, line_height=LINE, text_align="LEFT") as table:
            for row in rows:
                cells = table.row()
                for cell in row:
                    cells.cell(cell)
        self.pdf.ln(3)
        self._font()


def _words(token: Token) -> str:
    """What is read of a piece of a line; of a picture its name."""
    if token.type == "softbreak":
        return " "
    if token.type == "image":
        return f"[{token.content or 'image'}]"
    return token.content
