#!/usr/bin/env bash
# Runs the tests on the wheel as it is released, without the source tree, on each Python that is given or found.
# Usage: scripts/test_wheel.sh [PYTHON...]     (default: python3.11 to python3.14, those that there are)
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./scripts/bootstrap.sh
root=$PWD
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
.venv/bin/python -m hatchling build -t sdist -d "$folder" >&2
mkdir "$folder/tree"
tar -xzf "$folder"/*.tar.gz -C "$folder/tree" --strip-components 1
(cd "$folder/tree" && "$root/.venv/bin/python" -m hatchling build -t wheel -d "$folder" >&2)

pythons=("$@")
if [ "${#pythons[@]}" -eq 0 ]; then
    for version in 3.11 3.12 3.13 3.14; do
        if found=$(command -v "python$version") && "$found" -c '' 2>/dev/null; then
            pythons+=("$found")
        fi
    done
fi
for python in "${pythons[@]}"; do
    "$python" --version
    venv=$folder/venv
    rm -rf "$venv" "$folder/elsewhere"
    "$python" -m venv --without-pip "$venv"
    python3 -m pip --disable-pip-version-check --python "$venv/bin/python" install -qq --no-warn-script-location \
        --no-deps --require-hashes -r constraints.txt
    python3 -m pip --disable-pip-version-check --python "$venv/bin/python" install -qq --no-warn-script-location \
        --no-deps --no-index "$folder"/*.whl
    # The tests look at the sources of everything but the package, which they find where it is installed.
    cp -r "$folder/tree" "$folder/elsewhere"
    rm -r "$folder/elsewhere/dintero_claims_client"
    (cd "$folder/elsewhere" && "$venv/bin/python" -m pytest -q tests/unit tests/client tests/engines tests/batch \
        tests/journal tests/sandbox tests/plugin tests/examples -p no:cacheprovider | tail -n 15)
done
