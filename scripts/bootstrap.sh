#!/usr/bin/env bash
# Makes .venv at the root of the checkout: the pinned packages, the library (editable), its command and
# the code generator. Does nothing when that is done already. Takes the interpreter from $PYTHON.
set -euo pipefail
unset CDPATH # makes cd print, and go elsewhere
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
python=${PYTHON:-python3}

"$python" - <<'PY' || exit 2
import sys
if sys.version_info < (3, 11):
    sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: set PYTHON to another interpreter")
PY

# The stamp holds the folder too: an environment does not survive being moved.
stamp=$({ echo "$root"; "$python" -c 'import sys; print(sys.version)'; cat constraints.txt pyproject.toml scripts/bootstrap.sh; } |
    "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')
if [ -x .venv/bin/python ] && [ "$(cat .venv/.stamp 2>/dev/null)" = "$stamp" ]; then
    exit 0
fi

echo "setting up .venv (pinned packages from constraints.txt)" >&2
rm -rf .venv
# Without pip inside: Debian's python3 has no ensurepip, and the pip that runs this script serves.
"$python" -m venv --without-pip .venv
pip() { "$python" -m pip --disable-pip-version-check --python .venv/bin/python "$@"; }
# Without resolving, because the pins are complete: pip looks for the newest release of what another package asks
# for with an extra, and ends with an error as soon as there is one that is not the pinned one.
pip install -qq --no-warn-script-location --no-deps --require-hashes -r constraints.txt >&2
# The build backend is among the pinned packages, so building fetches nothing either.
pip install -qq --no-warn-script-location --no-deps --no-build-isolation -e . >&2
pip check >&2
echo "$stamp" > .venv/.stamp
