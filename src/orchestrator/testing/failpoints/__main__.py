"""`python -m orchestrator.testing.failpoints`"""

from __future__ import annotations

import sys

from orchestrator.testing.failpoints.command import main

if __name__ == "__main__":
    sys.exit(main())
