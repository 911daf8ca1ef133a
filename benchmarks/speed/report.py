"""The results as tables, plots and data."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import attrs

from benchmarks.speed.clients import THREADS
from benchmarks.speed.goals import GATES, GOALS, SLACK
from benchmarks.speed.plan import FAST, SLOW, WIDTHS, Results
from benchmarks.speed.plots import lines

_CLIENTS = (*FAST, *SLOW, THREADS)
IMPORT_BOUND = 50.0
"""Milliseconds that the library may add to importing aiohttp and httpx."""


def goals(results: Results, import_ms: float, unwanted: Sequence[str]) -> str:
    """Return the table of goals with what was measured, and which of them are met."""
    rows = ["| what | at least | at most | measured | met |", "| --- | ---: | ---: | ---: | --- |"]
    for goal in GOALS:
        value = goal.value(results)
        if value is None:
            continue
        bound = f"{goal.figure:g}{_unit(goal.unit)}"
        bounds = (bound, "") if goal.bound == "at least" else ("", bound)
        shown = f"{value:.2f}{_unit(goal.unit)}" if value < 10 else f"{value:.1f}{_unit(goal.unit)}"
        rows.append(f"| {goal.what} | {bounds[0]} | {bounds[1]} | {shown} | {_yes(goal.is_met(value))} |")
    rows.append(
        f"| importing it, over aiohttp and httpx | | {IMPORT_BOUND:g} ms | {import_ms:.0f} ms | "
        f"{_yes(import_ms <= IMPORT_BOUND)} |"
    )
    rows.append(
        f"| imported with it of cli, sandbox or tests | | nothing | {', '.join(unwanted) or 'nothing'} | "
        f"{_yes(not unwanted)} |"
    )
    return "\n".join(rows)


def closed(results: Results) -> str:
    """Return a table for each situation with a set number of claims in flight."""
    parts = []
    for tls in (False, True):
        for delay in (0, 50):
            widths = [width for width in WIDTHS if _row("library", width, results, tls=tls, delay=delay)]
            if not widths:
                continue
            parts.append(f"### {'TLS' if tls else 'Plain'}, {delay} ms\n")
            parts.append("claims/s (CPU µs for each claim; p50 / p99 in ms)\n")
            parts.append("| client | " + " | ".join(f"{width:,}" for width in widths) + " |")
            parts.append("| --- |" + " ---: |" * len(widths))
            for client in _CLIENTS:
                cells = [_row(client, width, results, tls=tls, delay=delay) for width in widths]
                if any(cells):
                    parts.append(f"| {client} | " + " | ".join(cell or "-" for cell in cells) + " |")
            parts.append("")
    return "\n".join(parts)


def _row(client: str, width: int, results: Results, *, tls: bool, delay: int) -> str:
    found = results.of(client, "closed", width, tls=tls, delay=delay)
    if found is None:
        return ""
    if not found["claims"]:
        return "none"
    return (
        f"{found['per_second']:,.0f} ({found['cpu_us']:,.0f}; {found['p50_ms']:.3g} / {found['p99_ms']:.3g})"
    )


def others(results: Results) -> str:
    """Return what was measured in other situations, figure by figure."""
    parts = ["| scenario | client | |", "| --- | --- | --- |"]
    for result in results.all:
        if result.scenario.kind == "closed" and result.scenario.loop == "asyncio":
            continue
        shown = ", ".join(f"{name} {value:,.4g}" for name, value in result.figures.items())
        parts.append(f"| {result.scenario.name} | {result.client} | {shown} |")
    return "\n".join(parts)


def machine(server: str) -> str:
    """Describe where it was measured, and with what."""
    model = "an unknown processor"
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    packages = ("aiohttp", "httpx", "httpx2", "requests", "httptools", "uvloop")
    return (
        f"{os.cpu_count()} cores of {model}; {platform.system()} {platform.release()}; "
        f"Python {sys.version.split()[0]}; server: {server}; "
        + ", ".join(f"{name} {version(name)}" for name in packages)
    )


def write(folder: Path, results: Results, text: str) -> None:
    """Write the tables, the data and the plots."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(text)
    data = [
        {"scenario": attrs.asdict(one.scenario), "client": one.client, "figures": one.figures}
        for one in results.all
    ]
    (folder / "results.json").write_text(json.dumps(data, indent=1) + "\n")
    for name, title, unit, figure, tls, delay in (
        ("rate", "Claims a second, TLS, 50 ms of latency", "claims/s", "per_second", True, 50),
        ("cpu", "CPU for each claim, plain, no latency", "µs", "cpu_us", False, 0),
    ):
        series = {
            client: [
                None if (found := results.of(client, "closed", width, tls=tls, delay=delay)) is None
                or not found["claims"]
                else found[figure]
                for width in WIDTHS
            ]
            for client in _CLIENTS
        }  # fmt: skip
        (folder / f"{name}.svg").write_text(lines(title, unit, WIDTHS, series))


def gates(results: Results, recorded: Path) -> tuple[str, bool]:
    """Compare ratios of CPU with the recorded ones; say whether all are within the slack."""
    before: dict[str, float] = json.loads(recorded.read_text()) if recorded.exists() else {}
    rows = ["| CPU for each claim | recorded | measured | |", "| --- | ---: | ---: | --- |"]
    good = True
    for name, value_of in GATES.items():
        value = value_of(results)
        if value is None:
            continue
        was = before.get(name)
        is_good = was is None or value <= SLACK * was
        good = good and is_good
        rows.append(
            f"| {name} | {'-' if was is None else f'{was:.3f}'} | {value:.3f} | "
            f"{'' if is_good else f'more than {SLACK - 1:.0%} worse'} |"
        )
    return "\n".join(rows), good


def record(results: Results, recorded: Path) -> None:
    """Write down the ratios of CPU that later changes are compared with."""
    recorded.parent.mkdir(parents=True, exist_ok=True)
    values = {name: value_of(results) for name, value_of in GATES.items()}
    recorded.write_text(json.dumps({k: round(v, 4) for k, v in values.items() if v}, indent=1) + "\n")


def _unit(unit: str) -> str:
    return {"x": "x", "": ""}.get(unit, f" {unit}")


def _yes(is_met: bool) -> str:
    return "yes" if is_met else "**no**"
