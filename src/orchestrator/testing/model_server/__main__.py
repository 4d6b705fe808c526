"""`python -m orchestrator.testing.model_server`"""

from __future__ import annotations

import sys

from orchestrator.testing.model_server.command import main

if __name__ == "__main__":
    sys.exit(main())
