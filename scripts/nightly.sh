#!/usr/bin/env bash
# What takes too long for every change: the demonstration with many seeds, also with many faults.
# Usage: scripts/nightly.sh [SEEDS]
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/.."
./scripts/bootstrap.sh
seeds=${1:-50}
for rate in 0.1 0.3; do
    for seed in $(seq "$seeds"); do
        printf 'seed %s, fault rate %s: ' "$seed" "$rate"
        .venv/bin/dintero-claims demo --seed "$seed" --fault-rate "$rate" | tail -n 1
    done
done
