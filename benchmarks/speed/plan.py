"""What is measured: all clients of a scenario in turns, round after round, and the medians."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs

from benchmarks.speed.clients import THREADS
from benchmarks.speed.runs import Figures
from benchmarks.speed.server import Served

WIDTHS = (1, 50, 100, 500, 2_000)
FAST = ("library", "bare engine", "aiohttp", "raw sockets")
SLOW = ("httpx2", "httpx")


@attrs.frozen(kw_only=True)
class Scenario:
    """A situation in which clients are compared; `delay` is in milliseconds."""

    kind: str
    clients: Sequence[str]
    width: int
    tls: bool = False
    delay: int = 0
    seconds: float = 3.0
    rate: float = 0.0
    rows: int = 0
    loop: str = "asyncio"
    rounds: int | None = None
    """How often, where that is not as often as the others."""
    turns: int = 1
    """How often in each round: more where a ratio is near 1, and what else the machine does is not."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        what = {
            "closed": f"{self.width:,} in flight",
            "opened": f"{self.rate:g} claims/s at random moments",
            "batch": f"batch of {self.rows:,} rows, {self.width:,} in flight",
            "cold": f"{self.width:,} first claims at once",
        }[self.kind]
        loop = "" if self.loop == "asyncio" else f", {self.loop}"
        return f"{what}, {'TLS' if self.tls else 'plain'}, {self.delay} ms{loop}"


_GOALS = {(500, True, 50), (50, True, 50), (100, True, 50), (500, False, 0), (1, False, 0)}
"""Widths, TLS and delays that goals are about; the others are measured once."""


def everything() -> list[Scenario]:
    """Return all scenarios: some 35 minutes."""
    scenarios = []
    for width in WIDTHS:
        for tls in (False, True):
            for delay in (0, 50):
                place: dict[str, Any] = {"width": width, "tls": tls, "delay": delay}
                if (width, tls, delay) not in _GOALS:
                    place["rounds"] = 1
                turns = 3 if (width, tls, delay) == (500, True, 50) else 1
                scenarios.append(Scenario(kind="closed", clients=FAST, turns=turns, **place))
                # They need longer to show anything, and their connections to be there.
                seconds = 3.0 if width < 500 else 8.0
                # With thousands in flight httpx takes minutes for one figure, so there is one.
                if width <= 500 or (tls and delay):
                    scenarios.append(Scenario(kind="closed", clients=SLOW, seconds=seconds, **place))
                if width <= 500:
                    scenarios.append(Scenario(kind="closed", clients=(THREADS,), **place | {"rounds": 1}))
    tls_50: dict[str, Any] = {"tls": True, "delay": 50}
    journal = ("no journal", "journal")
    scenarios += [
        Scenario(kind="closed", clients=("library",), width=500, loop="uvloop", rounds=1),
        Scenario(kind="closed", clients=("library",), width=500, loop="uvloop", rounds=1, **tls_50),
        Scenario(kind="opened", clients=("library", "aiohttp", "raw sockets"), width=500, rate=300,
                 seconds=6.0, turns=2, **tls_50),
        Scenario(kind="opened", clients=SLOW, width=500, rate=300, seconds=6.0, rounds=1, **tls_50),
        Scenario(kind="opened", clients=("library", "aiohttp", "raw sockets"), width=1_000, rate=1_500,
                 seconds=6.0, **tls_50),
        Scenario(kind="batch", clients=journal, width=500, rows=30_000, turns=5),
        Scenario(kind="batch", clients=journal, width=500, rows=30_000, rounds=1, **tls_50),
        Scenario(kind="batch", clients=("no journal",), width=500, rows=1_000_000, rounds=1),
        Scenario(kind="cold", clients=(*FAST, *SLOW), width=1, tls=True),
        Scenario(kind="cold", clients=(*FAST, *SLOW), width=500, tls=True, rounds=1),
    ]  # fmt: skip
    return scenarios


def quick() -> list[Scenario]:
    """Return what gates a change: little, whose ratios of CPU are the same on any machine.

    With hundreds in flight they are not: how much of the processor's cache others use decides them.
    """
    return [
        Scenario(kind="closed", clients=("library", "bare engine", "raw sockets", "httpx"), width=1,
                 seconds=0.7),
        Scenario(kind="closed", clients=("library", "bare engine", "raw sockets", "httpx"), width=50,
                 seconds=0.7),
    ]  # fmt: skip


def together(one: Results, other: Results) -> Results:
    """Return the least figures of two measurements of the same."""
    return Results(
        [
            attrs.evolve(a, figures=_typical([a.figures, b.figures], least))
            for a, b in zip(one.all, other.all, strict=True)
        ]
    )


def least(figures: Sequence[float]) -> float:
    """Return the least: of CPU, what it is while nothing else is in the way."""
    return min(figures)


@attrs.frozen
class Result:
    """What is typical of one client in one scenario."""

    scenario: Scenario
    client: str
    figures: Figures


class Results:
    """All that was measured."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.all = results

    def of(
        self,
        client: str,
        kind: str,
        width: int | None = None,
        *,
        tls: bool = False,
        delay: int = 0,
        rate: float = 0.0,
        rows: int | None = None,
        loop: str = "asyncio",
    ) -> Figures | None:
        """Return the figures of one client in one scenario; None where that was not measured."""
        for result in self.all:
            one = result.scenario
            if (
                (result.client, one.kind, one.tls, one.delay, one.rate, one.loop)
                == (client, kind, tls, delay, rate, loop)
                and width in (None, one.width)
                and rows in (None, one.rows)
            ):
                return result.figures
        return None


def measure(
    scenarios: Sequence[Scenario],
    server: Served,
    rounds: int,
    tell: Callable[[str], None],
    typical: Callable[[Sequence[float]], float] = statistics.median,
) -> Results:
    """Measure everything, each time in a process of its own; `typical` makes one figure of many."""
    figures: dict[tuple[int, str], list[Figures]] = {}
    began = time.monotonic()
    for number in range(rounds):
        for index, scenario in enumerate(scenarios):
            if number >= (scenario.rounds or rounds):
                continue
            for turn in range(scenario.turns):
                for client in _in_turn(scenario.clients, number + turn):
                    figures.setdefault((index, client), []).append(_once(scenario, client, server))
            tell(f"{time.monotonic() - began:5.0f} s, round {number + 1} of {rounds}: {scenario.name}")
    return Results(
        [
            Result(scenario, client, _typical(figures[index, client], typical))
            for index, scenario in enumerate(scenarios)
            for client in scenario.clients
        ]
    )


def _in_turn(clients: Sequence[str], number: int) -> Iterator[str]:
    """Give the clients, each round another one first."""
    for offset in range(len(clients)):
        yield clients[(number + offset) % len(clients)]


def _once(scenario: Scenario, client: str, server: Served) -> Figures:
    run = {
        "kind": "threads" if client == THREADS else scenario.kind,
        "client": client,
        "base_url": server.base_url(scenario.delay, tls=scenario.tls),
        "certificate": server.certificate,
        "width": scenario.width,
        "seconds": scenario.seconds,
        "rate": scenario.rate,
        "rows": scenario.rows,
        "delay": server.seconds[scenario.delay],
        "loop": scenario.loop,
    }
    done = subprocess.run(  # noqa: S603 - a module of this package
        [sys.executable, "-m", "benchmarks.speed.runs", json.dumps(run)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{scenario.name}, {client}: {done.stderr[-2000:]}")
    figures: Figures = json.loads(done.stdout)
    return figures


def _typical(all_figures: Sequence[Figures], typical: Callable[[Sequence[float]], float]) -> Figures:
    return {name: typical([one[name] for one in all_figures]) for name in all_figures[0]}
