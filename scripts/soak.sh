#!/usr/bin/env bash
# Claims against a server that fails at random: ./scripts/soak.sh COUNT [--seed N] [--engine aiohttp|httpx|httpx2],
# or as one batch with a journal: ./scripts/soak.sh --batch COUNT [--seed N].
# Exits non-zero unless no claim was lost, doubled, misattributed, falsely refused or left unknown.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
"$root/scripts/bootstrap.sh"
module=faults.soak
if [ "${1-}" = --batch ]; then
    module=faults.batch_soak
    shift
fi
PYTHONPATH="$root/tests" exec "$root/.venv/bin/python" -m "$module" "$@"
