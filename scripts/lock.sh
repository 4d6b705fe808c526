#!/usr/bin/env bash
# Writes the three requirement files with hashes and without index addresses (docs/adr/0004).
# UPGRADE=1 takes the newest releases; otherwise pins that still fit stay.
set -euo pipefail

compile() {
    local output="$1"
    shift
    # uv keeps the pins it finds in its output file; without UPGRADE that is what makes the lock steady.
    [[ -z "${UPGRADE:-}" ]] || set -- --upgrade "$@"
    scripts/uv.sh pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
        --output-file "$output" "$@" >/dev/null
}

compile requirements/lock.txt --all-extras --group test --group check --group bench pyproject.toml
compile requirements/runtime.txt --extra postgres --extra llamacpp --extra mcp --constraints requirements/lock.txt pyproject.toml
compile requirements/build.txt --constraints requirements/lock.txt requirements/build.in
