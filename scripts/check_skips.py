"""A skipped test is a failed check, unless no machine like this one could run it.

    python scripts/check_skips.py JUNIT_XML

Reads the report that `pytest --junitxml` writes. Accepted reasons name an accelerator (GPU, CUDA, ROCm) or another
operating system; anything else, an expected failure included, fails (exit 1). So does a report without tests.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

ACCEPTED = re.compile(r"\b(accelerator|gpu|cuda|rocm|macos|darwin|windows)\b", re.IGNORECASE)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__)
        return 2
    # The file is our own test run's output, not hostile input.
    cases = list(ET.parse(Path(arguments[0])).iter("testcase"))  # noqa: S314
    refused = accepted = 0
    for case in cases:
        for skip in case.iter("skipped"):
            reason = skip.get("message") or skip.text or "no reason given"
            if ACCEPTED.search(reason):
                accepted += 1
            else:
                refused += 1
                print(f"error: skipped {case.get('classname')}::{case.get('name')}: {reason}")
    print(f"skips: {len(cases)} tests, {accepted} accepted skips, {refused} refused")
    if not cases:
        print("error: the report has no tests")
    return 1 if refused or not cases else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
