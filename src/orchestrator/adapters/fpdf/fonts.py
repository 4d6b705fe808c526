"""Typefaces: one of the machine that knows many scripts, or those that every reader of PDF has (Latin only)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fpdf import FPDF
from fpdf.fonts import TTFFont

_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "/System/Library/Fonts/Supplemental")
_TEXT = {
    "": ("DejaVuSans.ttf", "NotoSans-Regular.ttf"),
    "B": ("DejaVuSans-Bold.ttf", "NotoSans-Bold.ttf"),
    "I": ("DejaVuSans-Oblique.ttf", "NotoSans-Italic.ttf"),
    "BI": ("DejaVuSans-BoldOblique.ttf", "NotoSans-BoldItalic.ttf"),
}
_CODE = ("DejaVuSansMono.ttf", "NotoSansMono-Regular.ttf")
_PLAIN = str.maketrans(
    {
        "\u2013": "-",
        "\u2014": "-",
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2026": "...",
        "\u2022": "\u00b7",
    }
)
MISSING = "?"


class Typeface:
    """The fonts of a document. Those out of files are loaded when they are first used: that takes a while."""

    def __init__(self, pdf: FPDF, *, latin: bool) -> None:
        """`latin`: the document needs no other characters, so that no font has to be a part of it."""
        self.missing = 0  # characters that could not be written
        self._pdf = pdf
        self._files = None if latin else _folder()
        self._known: dict[str, frozenset[int]] = {}

    @property
    def bullet(self) -> str:
        return "\u00b7" if self._files is None else "\u2022"

    def use(self, size: float, style: str = "", *, code: bool = False) -> None:
        """`style`: any of B, I and S."""
        if self._files is None:
            self._pdf.set_font("courier" if code else "helvetica", style, size)
            return
        family = "code" if code else "text"
        self._load(family, "".join(letter for letter in "BI" if letter in style))
        self._pdf.set_font(family, style, size)

    def written(self, text: str, *, code: bool = False) -> str:
        """The text with what the family does not have replaced."""
        known = self._characters("code" if code else "text")
        if known is None:
            text = text.translate(_PLAIN)
        result = [char if _has(known, ord(char)) else MISSING for char in text]
        self.missing += sum(new != old for new, old in zip(result, text, strict=True))
        return "".join(result)

    def _load(self, family: str, style: str) -> None:
        key = family + style
        if self._files is None or key in self._pdf.fonts:
            return
        folder, which = self._files
        path = folder / (_CODE[which] if family == "code" else _TEXT[style][which])
        self._pdf.add_font(family, style, path if path.exists() else folder / _TEXT[""][which])

    def _characters(self, family: str) -> frozenset[int] | None:
        """None for Latin-1."""
        if self._files is None:
            return None
        if family not in self._known:
            self._load(family, "")
            font = self._pdf.fonts[family]
            assert isinstance(font, TTFFont)  # as it comes out of a file
            self._known[family] = frozenset(font.cmap)
        return self._known[family]


def _has(known: frozenset[int] | None, char: int) -> bool:
    if char < 32:
        return char in (9, 10)
    return char < 256 if known is None else char in known


def _folder() -> tuple[Path, int] | None:
    """Where there is a font, and which of the names above it has."""
    folders = []
    spec = find_spec("matplotlib")
    if spec is not None and spec.submodule_search_locations:
        folders.append(Path(spec.submodule_search_locations[0]) / "mpl-data/fonts/ttf")
    for which, name in enumerate(_TEXT[""]):
        for folder in folders:
            if (folder / name).exists():
                return folder, which
        for top in _FOLDERS:
            path = next(iter(sorted(Path(top).rglob(name))), None) if Path(top).is_dir() else None
            if path is not None:
                return path.parent, which
    return None
