#!/usr/bin/env bash
# What takes too long for every change: a million claims against random faults, a batch of a tenth of them, one that
# is killed 200 times, the same on a caller's httpx client, many arbitrary answers, the demonstration with many seeds,
# the tests on the wheel with each Python that there is, how well deadlines are kept, the comparison of policies, and
# that of speed.
# Usage: scripts/nightly.sh [CLAIMS] [SEEDS]
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./scripts/bootstrap.sh
claims=${1:-1000000}
seeds=${2:-50}

./scripts/soak.sh "$claims"
./scripts/soak.sh --batch "$((claims / 10 + 1000))"
./scripts/kills.sh 200
for engine in httpx httpx2; do
    ./scripts/soak.sh "$((claims / 50 + 1000))" --engine "$engine"
done
DINTERO_EXAMPLES=20 ./scripts/test.sh -q --timeout 3600 tests/faults/test_properties.py tests/unit/test_protocol_properties.py
for rate in 0.1 0.3; do
    for seed in $(seq "$seeds"); do
        printf 'seed %s, fault rate %s: ' "$seed" "$rate"
        .venv/bin/dintero-claims demo --seed "$seed" --fault-rate "$rate" | tail -n 1
    done
done
./scripts/test_wheel.sh
.venv/bin/python benchmarks/deadlines.py
.venv/bin/python benchmarks/reliability.py
./scripts/bench.sh
