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
MYPYPATH=scripts "$python" -m mypy --no-incremental --strict scripts/*.py scripts/contract/*.py
"$python" -m mypy --no-incremental --strict examples/*.py
# The server that all figures rest on, and what makes the figures.
MYPYPATH=tests:scripts "$python" -m mypy --no-incremental --strict benchmarks/*.py benchmarks/speed/*.py \
    tests/faults/{answers,connection,forms_body,forms_framing,forms_head,forms_list,forms_status}.py \
    tests/faults/{ledger,peer,proxy,script,seeded,server,soak,wire}.py
"$python" -m pyright --pythonpath "$python"
./scripts/regenerate.sh --check

# Registry addresses and paths of one machine do not belong into the repository.
if grep -n '://' constraints.txt; then
    echo "constraints.txt holds addresses" >&2
    exit 1
fi
