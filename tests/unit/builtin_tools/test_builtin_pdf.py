"""The tool `pdf-compiler`."""

from __future__ import annotations

import base64
import re
import zlib
from pathlib import Path

import pytest
from builtin_calls import Caller

from orchestrator.adapters.fpdf.document import compile_markdown
from orchestrator.services.builtin_tools.apart import Apart
from orchestrator.services.builtin_tools.material import Material
from orchestrator.services.builtin_tools.pdf import PdfCompiler

EVERYTHING = """# One

A **bold**, *slanted*, ~~gone~~, `code` and [link](https://a.example/x).
![picture](https://a.example/p.png) ![local](../../etc/passwd)

- a
  1. b
     > c

```
d = 1
```

| e | f |
|---|---|
| g | `h` |

---

<script>i</script>
"""


@pytest.fixture
def compiler(material: Material, apart: Apart) -> Caller:
    return Caller(PdfCompiler(material, apart, "orchestrator.adapters.fpdf.document:compile_markdown"))


def drawn(pdf: bytes) -> bytes:
    """What is in the streams of a document."""
    found = b""
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            found += zlib.decompress(stream)
        except zlib.error:
            found += stream
    return found


async def test_a_document_is_made_and_kept(compiler: Caller, root: Path) -> None:
    outcome = await compiler.outcome(
        markdown_content=EVERYTHING, title="Tea", author="Anna", output_path="out/tea.pdf", install_if_missing=True
    )
    told, (made,) = outcome.result, outcome.files
    assert (told["success"], told["output_path"], told["pages"]) == (True, "out/tea.pdf", 1)
    assert told["file_size"] == len(made.content)
    assert (root / "out/tea.pdf").read_bytes() == made.content
    assert made.content.startswith(b"%PDF-")
    assert (made.file_name, made.mime_type) == ("tea.pdf", "application/pdf")
    assert told["missing_characters"] == 0


def made_of(markdown: str) -> tuple[bytes, int, int]:
    told = compile_markdown(markdown, "", "", "A4")
    return base64.b64decode(told["content"]), told["pages"], told["missing"]


def test_all_of_the_text_is_there() -> None:
    text = drawn(made_of(EVERYTHING)[0])
    for word in (b"One", b"bold", b"slanted", b"gone", b"code", b"link", b"d = 1", b"picture", b"<script>"):
        assert word in text
    assert b"https://a.example/x" in made_of(EVERYTHING)[0]


def test_other_scripts_need_a_font_and_what_no_font_has_is_counted() -> None:
    content, _, missing = made_of("Ελληνικά – кириллица")
    assert missing == 0
    assert b"FontFile2" in content
    assert made_of("\U0001f9ff and \x01")[2] >= 1


def test_long_texts_go_on_over_pages_and_have_an_end() -> None:
    assert made_of("word " * 2_000)[1] > 2
    assert "more than 3 pages" in compile_markdown("a\n\n---\n\n" * 100, "", "", "A4", most_pages=3)["problem"]


@pytest.mark.parametrize(
    "markdown",
    [
        "> " * 200 + "deep",
        "".join("  " * depth + "- x\n" for depth in range(100)),
        "|" + "a|" * 300 + "\n|" + "-|" * 300 + "\n|" + "b|" * 300,
        "x" * 20_000,
        "[a](javascript:alert(1)) [b](file:///etc/passwd)",
        "`" * 5_000 + "*" * 5_000 + "[" * 5_000,
        "# " + "wide " * 500,
        "\ud7ff\ufffd\x00\x0b",
        "   ",
    ],
)
def test_odd_texts_make_a_document_or_a_sentence(markdown: str) -> None:
    told = compile_markdown(markdown, "", "", "Letter")
    assert told.get("problem") or base64.b64decode(told["content"]).startswith(b"%PDF-")
