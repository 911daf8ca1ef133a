#!/usr/bin/env bash
# Runs the tests, on an environment that it makes itself. Arguments go to pytest.
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./scripts/bootstrap.sh
exec .venv/bin/python -m pytest "$@"
