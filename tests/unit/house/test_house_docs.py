"""The reference is complete and current, and every link between pages leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


def test_the_reference_is_complete_and_current() -> None:
    command = [sys.executable, str(ROOT / "scripts/check_docs.py")]

    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = [link for link in LINK.findall(page.read_text()) if "://" not in link]

    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("folder", ["tutorial", "how-to", "reference", "explanation", "adr"])
def test_an_index_names_every_page_of_its_folder(folder: str) -> None:
    index = (ROOT / "docs" / folder / "index.md").read_text()
    pages = {page.name for page in (ROOT / "docs" / folder).glob("*.md")} - {"index.md"}

    assert {page for page in pages if f"({page})" not in index} == set()
