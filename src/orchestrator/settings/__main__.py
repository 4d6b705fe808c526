"""`python -m orchestrator.settings DIRECTORY` writes the generated reference pages."""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator.settings.reference import write

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m orchestrator.settings DIRECTORY")
    write(Path(sys.argv[1]))
