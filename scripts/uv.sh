#!/usr/bin/env bash
# uv with the index and certificate that pip is configured for here (pip.conf, PIP_INDEX_URL, PIP_CERT): uv reads
# neither. What UV_* variables say wins. Only the index goes over: extra indexes and wheel folders of one machine
# must not decide what a lock file resolves to.
set -euo pipefail

pip_setting() { .venv/bin/python -m pip config get "global.$1" 2>/dev/null || true; }

if [[ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]]; then
    index="${PIP_INDEX_URL:-$(pip_setting index-url)}"
    [[ -z "$index" ]] || export UV_DEFAULT_INDEX="$index"
fi
if [[ -z "${SSL_CERT_FILE:-}" ]]; then
    cert="${PIP_CERT:-$(pip_setting cert)}"
    [[ -z "$cert" ]] || export SSL_CERT_FILE="$cert"
fi
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-${PIP_DEFAULT_TIMEOUT:-60}}"
export VIRTUAL_ENV="$PWD/.venv"
exec .venv/bin/uv --quiet --no-config "$@"
