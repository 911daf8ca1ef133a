#!/usr/bin/env bash
# Makes 2,000 claims against a local sandbox in which things go wrong, and compares the outcome with its
# ledger. Options: see dintero-claims demo --help.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
"$root/scripts/bootstrap.sh"
exec "$root/.venv/bin/dintero-claims" demo "$@"
