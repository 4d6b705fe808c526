#!/usr/bin/env bash
# Makes .venv with uv and the build backend in it, from Python >= 3.11 alone. Usage: scripts/venv.sh [PYTHON]
set -euo pipefail

find_python() {
    local candidate
    for candidate in "$@"; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

if [[ -n "${1:-}" ]]; then
    wanted=("$1")
else
    wanted=(python3 python3.14 python3.13 python3.12 python3.11)
fi
if ! python="$(find_python "${wanted[@]}")"; then
    echo "error: Python 3.11 or newer is needed, and ${wanted[*]} is not that." >&2
    echo "  Debian, Ubuntu:  sudo apt install python3 python3-venv" >&2
    echo "  elsewhere:       make install PYTHON=/path/to/python3.11" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    echo "error: $python cannot make virtual environments." >&2
    echo "  Debian, Ubuntu:  sudo apt install python3-venv     (or python$version-venv)" >&2
    exit 1
fi
[[ -x .venv/bin/python ]] && .venv/bin/python -c '' 2>/dev/null || "$python" -m venv --clear .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
