#!/usr/bin/env bash
# Makes dintero_claims_client/_generated from openapi/discounts.yaml, offline. With --check it changes nothing:
# 0 = up to date, 1 = differs (the diff is on stdout), 2 = cannot tell. See scripts/regenerate.py.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# 1 is for a difference: an environment that cannot be set up must not look like one.
"$root/scripts/bootstrap.sh" || exit 2
exec "$root/.venv/bin/python" -I "$root/scripts/regenerate.py" "$@"
