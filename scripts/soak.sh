#!/usr/bin/env bash
# Claims against a server that fails at random: ./scripts/soak.sh COUNT [--seed N] [--engine aiohttp|httpx|httpx2].
# Exits non-zero unless no claim was lost, doubled, misattributed, falsely refused or left unknown.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
"$root/scripts/bootstrap.sh"
PYTHONPATH="$root/tests" exec "$root/.venv/bin/python" -m faults.soak "$@"
