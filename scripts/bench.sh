#!/usr/bin/env bash
# How fast the library claims, beside other clients, in one run: ./scripts/bench.sh [--quick] [--rounds N].
# Everything takes some 35 minutes and writes benchmarks/results/; --quick takes under two, and exits with 1 where
# a ratio of CPU is more than 30 % worse than the one that is recorded there.
set -euo pipefail
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
"$root/scripts/bootstrap.sh"
cd "$root"
# Thousands of connections, where the system allows them.
ulimit -n "$(ulimit -Hn)" 2>/dev/null || true
exec .venv/bin/python -m benchmarks.speed "$@"
