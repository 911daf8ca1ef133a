#!/usr/bin/env bash
# Builds the documentation into docs/_build/html, from what is here, without network; any warning is an error.
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./scripts/bootstrap.sh
.venv/bin/python -m sphinx -E -W --keep-going -q -b html docs docs/_build/html
echo "docs/_build/html/index.html"
