#!/usr/bin/env bash
# Batches of 5,000 rows whose process is killed at random: ./scripts/kills.sh [COUNT] [--seed N], 200 kills by default.
# Exits non-zero unless no claim was lost, doubled, misattributed, falsely refused or left unknown.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
"$root/scripts/bootstrap.sh"
PYTHONPATH="$root/tests" exec "$root/.venv/bin/python" -m batch.kills "$@"
