"""What the library is to reach, as ratios within one run, and what a change must not lose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import attrs

from benchmarks.speed.plan import Results


@attrs.frozen
class Goal:
    """A figure and its bound: at least so much, or at most."""

    what: str
    bound: Literal["at least", "at most"]
    figure: float
    unit: str
    value: Callable[[Results], float | None]

    def is_met(self, value: float) -> bool:
        """Say whether a value is within the bound."""
        return value >= self.figure if self.bound == "at least" else value <= self.figure


def _ratio(
    figure: str, over: str, width: int, *, tls: bool = False, delay: int = 0, client: str = "library"
) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        ours = results.of(client, "closed", width, tls=tls, delay=delay)
        theirs = results.of(over, "closed", width, tls=tls, delay=delay)
        return None if ours is None or theirs is None else ours[figure] / theirs[figure]

    return value


def _opened(figure: str, rate: float) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        found = results.of("library", "opened", tls=True, delay=50, rate=rate)
        return None if found is None else found[figure]

    return value


def _ideal(width: int) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        found = results.of("library", "closed", width, tls=True, delay=50)
        return None if found is None else found["per_second"] * 0.05 / width

    return value


def _kept(*, tls: bool = False, delay: int = 0) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        with_journal = results.of("journal", "batch", 500, tls=tls, delay=delay, rows=30_000)
        without = results.of("no journal", "batch", 500, tls=tls, delay=delay, rows=30_000)
        if with_journal is None or without is None:
            return None
        return with_journal["per_second"] / without["per_second"]

    return value


def _growth(results: Results) -> float | None:
    found = results.of("no journal", "batch", rows=1_000_000)
    return None if found is None else found["growth_mb"]


GOALS = (
    Goal("claims/s over httpx, 500 in flight, TLS, 50 ms", "at least", 30, "x",
         _ratio("per_second", "httpx", 500, tls=True, delay=50)),
    Goal("claims/s over httpx, 50 in flight, TLS, 50 ms", "at least", 7, "x",
         _ratio("per_second", "httpx", 50, tls=True, delay=50)),
    Goal("claims/s over httpx, 500 in flight, plain, no latency", "at least", 12, "x",
         _ratio("per_second", "httpx", 500)),
    Goal("claims/s over raw asyncio sockets, 500 in flight", "at least", 0.33, "x",
         _ratio("per_second", "raw sockets", 500)),
    Goal("CPU per claim over httpx, 1 in flight", "at most", 0.30, "x", _ratio("cpu_us", "httpx", 1)),
    Goal("CPU per claim over generated code on the engine, 500 in flight, TLS, 50 ms", "at most", 1.10, "x",
         _ratio("cpu_us", "bare engine", 500, tls=True, delay=50)),
    Goal("share of the ideal rate, 100 in flight, TLS, 50 ms", "at least", 0.93, "", _ideal(100)),
    Goal("added latency p50, 300 claims/s", "at most", 1, "ms", _opened("added_p50_ms", 300)),
    Goal("added latency p99, 300 claims/s", "at most", 3, "ms", _opened("added_p99_ms", 300)),
    Goal("event-loop lag p99, 1,500 claims/s", "at most", 3, "ms", _opened("lag_p99_ms", 1_500)),
    Goal("memory growth over a million claims", "at most", 8, "MB", _growth),
    Goal("throughput kept with the journal, 500 in flight", "at least", 0.85, "", _kept()),
)  # fmt: skip

SLACK = 1.3
"""How much worse than last recorded a ratio of CPU may be before a change is held up."""

GATES = {
    "library over httpx, 1 in flight": _ratio("cpu_us", "httpx", 1),
    "library over bare engine, 1 in flight": _ratio("cpu_us", "bare engine", 1),
    "library over raw sockets, 1 in flight": _ratio("cpu_us", "raw sockets", 1),
    "library over httpx, 50 in flight": _ratio("cpu_us", "httpx", 50),
    "library over bare engine, 50 in flight": _ratio("cpu_us", "bare engine", 50),
    "library over raw sockets, 50 in flight": _ratio("cpu_us", "raw sockets", 50),
}
"""Ratios of CPU for each claim; the smaller the better."""
