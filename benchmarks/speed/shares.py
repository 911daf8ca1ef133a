"""Where the time of a claim goes: `.venv/bin/python -m benchmarks.speed.shares [WIDTH]`.

Counted by cProfile, which makes functions that do little look slower than they are: shares, not times.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, cast

from benchmarks.speed import clients
from benchmarks.speed.server import pin, served

_CLAIMS = 20_000

_PARTS = (
    ("checking the request", ("/_validation.py",)),
    ("tokens, queue, pauses, retries, quota", ("/_tokens.py", "/_limiter.py", "/_pacing.py", "/_retry.py",
                                               "/_quota.py", "/_calls.py", "/_waiting.py")),
    ("building, and what may be believed", ("/_operations.py", "/_protocol.py", "/_secrets.py")),
    ("the client's face", ("/dintero_claims_client/client.py",)),
    ("models (generated code)", ("/_generated/", "_generated.models")),
    ("the engine", ("/_engines/", "_engines.base")),
    ("aiohttp's pool and parser", ("/aiohttp/", "/yarl/", "/multidict/")),
    ("JSON", ("/json/",)),
    ("asyncio", ("/asyncio/", "/selectors.py")),
    ("the benchmark itself", ("/benchmarks/",)),
)  # fmt: skip

_SYSTEM = ("'send' of '_socket", "'recv' of '_socket", "'poll' of 'select")


async def _profiled(base_url: str, width: int) -> pstats.Stats:
    async with clients.library(base_url, width, None) as claim:

        async def work(count: int) -> None:
            for _ in range(count):
                await claim(clients.request())

        await asyncio.gather(*(work(2) for _ in range(width)))
        profile = cProfile.Profile()
        profile.enable()
        await asyncio.gather(*(work(_CLAIMS // width) for _ in range(width)))
        profile.disable()
    return pstats.Stats(profile)


def shares(stats: pstats.Stats) -> dict[str, float]:
    """Return the share of each part; what is built into Python counts for whoever called it."""
    found = Counter[str]()
    functions = cast("dict[Any, Any]", stats.stats)  # type: ignore[attr-defined]
    for function, (_, _, own, _, callers) in functions.items():
        if function[0] != "~" or any(name in function[2] for name in _SYSTEM):
            found[_part(function)] += own
            continue
        for caller, (_, _, by_caller, _) in callers.items():
            found[_part(caller)] += by_caller
    total = found.total()
    return {part: time / total for part, time in found.most_common()}


def _part(function: tuple[str, int, str]) -> str:
    if any(name in function[2] for name in _SYSTEM):
        return "system calls: write, read, look whether a connection is quiet"
    return next((part for part, names in _PARTS if any(name in function[0] for name in names)), "the rest")


def main() -> None:
    """Print the shares as a table."""
    width = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as folder, served(Path(folder), core=1) as server:
        pin(0)
        stats = asyncio.run(_profiled(server.base_url(0, tls=False), width))
    print("| part | share |\n| --- | ---: |")
    for part, share in shares(stats).items():
        print(f"| {part} | {share:.0%} |")


if __name__ == "__main__":
    main()
