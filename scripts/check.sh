#!/usr/bin/env bash
# Lint, format, types, and whether the generated code is what the contract gives. Changes nothing.
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./scripts/bootstrap.sh
python=.venv/bin/python

"$python" -m ruff check --no-cache .
"$python" -m ruff format --no-cache --check .
"$python" -m mypy --no-incremental
"$python" -m mypy --no-incremental --strict scripts/regenerate.py
"$python" -m pyright --pythonpath "$python"
./scripts/regenerate.sh --check

# Registry addresses and paths of one machine do not belong into the repository.
if grep -n '://' constraints.txt; then
    echo "constraints.txt holds addresses" >&2
    exit 1
fi
