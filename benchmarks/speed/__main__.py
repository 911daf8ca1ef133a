"""Measure how fast the library claims, beside other clients.

./scripts/bench.sh             everything, some 35 minutes; writes benchmarks/results/
./scripts/bench.sh --quick     under two minutes; exits with 1 where a ratio of CPU has become much worse
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
from pathlib import Path

from benchmarks.speed import plan, report
from benchmarks.speed.imports import import_ms, unwanted
from benchmarks.speed.server import served

_RESULTS = Path(__file__).parent.parent / "results"
_RECORDED = _RESULTS / "cpu-ratios.json"


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="bench.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="only what gates a change")
    parser.add_argument("--record", action="store_true", help="with --quick: what others are compared with")
    parser.add_argument("--goals", action="store_true", help="only what there is a goal for, some 20 minutes")
    parser.add_argument("--rounds", type=int, help="how often all is measured: 3 times, or 7 with --quick")
    parser.add_argument("--only", default="", help="only scenarios whose name holds this text")
    options = parser.parse_args()
    options.rounds = options.rounds or (7 if options.quick else 3)
    scenarios = plan.quick() if options.quick else plan.everything()
    scenarios = [one for one in scenarios if options.only in one.name]
    if options.goals:
        scenarios = [one for one in scenarios if one.rounds is None or one.rows > 100_000]

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as folder, served(Path(folder), core=1) as server:
        name = f"{server.name} (its 50 ms are {server.seconds[50] * 1e3:.2f} ms)"
        tell(report.machine(name))
        if not options.quick:
            results = plan.measure(scenarios, server, options.rounds, tell)
        else:
            results = plan.measure(scenarios, server, options.rounds, tell, plan.least)
            table, good = report.gates(results, _RECORDED)
            print(table)
            if options.record:
                report.record(results, _RECORDED)
                return 0
            if not good:
                # Something else may have kept the machine busy.
                more = plan.measure(scenarios, server, options.rounds, tell, plan.least)
                table, good = report.gates(plan.together(results, more), _RECORDED)
                print(f"\nonce more:\n\n{table}")
            return 0 if good else 1
    text = "\n".join(
        [
            "# Results\n",
            f"{datetime.date.today():%d %B %Y}. {report.machine(name)}.",
            f"Medians of {options.rounds} rounds, of one where no goal is about a situation; in each round",
            "all clients of a situation are measured in turns, in processes of their own, the client on one",
            "core and the server on another. Written by `scripts/bench.sh`.\n",
            "## Goals\n",
            report.goals(results, import_ms(options.rounds), unwanted()),
            "\n## So many claims in flight\n",
            report.closed(results),
            "## Other situations\n",
            report.others(results),
            "",
        ]
    )
    print(text)
    if not options.only:
        report.write(_RESULTS, results, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
