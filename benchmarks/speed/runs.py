"""One measurement, in a process of its own: claim for so many seconds, and print what it took as JSON."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import resource
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from benchmarks.speed import clients
from benchmarks.speed.server import ACCOUNT, pin
from dintero_claims_client import Claimed, ClaimRequest, ClaimsClient, Journal

Figures = dict[str, float]


@attrs.frozen(kw_only=True)
class Run:
    """What to measure; `kind` is one of the functions below."""

    kind: str
    client: str
    base_url: str
    certificate: str
    width: int
    seconds: float = 0.0
    rate: float = 0.0
    rows: int = 0
    delay: float = 0.0
    loop: str = "asyncio"
    core: int | None = 0

    @property
    def context(self) -> ssl.SSLContext | None:
        """What the server is trusted by."""
        if not self.base_url.startswith("https"):
            return None
        return ssl.create_default_context(cafile=self.certificate)


class _Meter:
    """CPU, time and claims between two moments."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.counting = False

    def begin(self) -> None:
        gc.collect()

        self.times.clear()
        self.counting = True
        self._cpu, self._began = time.process_time(), time.perf_counter()

    def claimed(self, began: float, ended: float) -> None:
        if self.counting:
            self.times.append(ended - began)

    def end(self) -> Figures:
        seconds = time.perf_counter() - self._began
        cpu = time.process_time() - self._cpu
        self.counting = False
        count = len(self.times)
        return {
            "claims": count,
            "per_second": count / seconds,
            "cpu_us": cpu / count * 1e6 if count else float("inf"),
            "p50_ms": _share(self.times, 0.50) * 1e3,
            "p99_ms": _share(self.times, 0.99) * 1e3,
            "peak_mb": _peak(),
        }


async def closed(run: Run) -> Figures:
    """So many callers, each of which claims again as soon as it has its answer."""
    meter, over = _Meter(), False
    waiting = run.width
    warm = asyncio.Event()

    async def work(claim: clients.MakeClaim) -> None:
        nonlocal waiting
        # Each has its connection then.
        await claim(clients.request())
        waiting -= 1
        if not waiting:
            warm.set()
        while not over:
            began = time.perf_counter()
            await claim(clients.request())
            meter.claimed(began, time.perf_counter())

    async with clients.CLIENTS[run.client](run.base_url, run.width, run.context) as claim:
        workers = [asyncio.create_task(work(claim)) for _ in range(run.width)]
        await warm.wait()
        await asyncio.sleep(run.seconds / 5)
        meter.begin()
        await asyncio.sleep(run.seconds)
        figures = meter.end()
        over = True
        await asyncio.gather(*workers)
    return figures


def threads(run: Run) -> Figures:
    """Let threads do the same."""
    meter, over = _Meter(), threading.Event()
    figures: Figures = {}

    def watch() -> None:
        # Until all threads have their connections; then for the time that is measured.
        time.sleep(run.seconds / 5 + 1)
        meter.begin()
        time.sleep(run.seconds)
        figures.update(meter.end())
        over.set()

    watching = threading.Thread(target=watch)
    watching.start()
    clients.claim_in_threads(
        run.base_url,
        run.width,
        run.certificate if run.context else None,
        over.is_set,
        meter.claimed,
    )
    watching.join()
    return figures


async def opened(run: Run) -> Figures:
    """Claims that come at random, so many in a second on average, whether those before are done or not.

    What is added is what a claim takes beyond the server's delay. It counts from the call: that the timer of
    the benchmark is a millisecond late is not the client's, and how late the client makes it is the lag.
    """
    chance, lags, added = random.Random(1), list[float](), list[float]()
    loop = asyncio.get_running_loop()
    counting = False

    async def tick() -> None:
        while True:
            due = loop.time() + 0.001
            # How much longer this takes is what is measured.
            await asyncio.sleep(0.001)
            if counting:
                lags.append(loop.time() - due)

    async def one(claim: clients.MakeClaim) -> None:
        began = loop.time()
        await claim(clients.request())
        if counting:
            added.append(loop.time() - began - run.delay)

    async with clients.CLIENTS[run.client](run.base_url, run.width, run.context) as claim:
        # As many connections as can be needed are there before.
        await asyncio.gather(*(claim(clients.request()) for _ in range(min(run.width, 200))))
        ticker = asyncio.create_task(tick())
        tasks: set[asyncio.Task[None]] = set()
        due = began = loop.time()
        cpu = 0.0
        while due < began + 1 + run.seconds:
            if not counting and due > began + 1:
                counting, cpu = True, time.process_time()
            due += chance.expovariate(run.rate)
            await asyncio.sleep(max(0.0, due - loop.time()))
            task = asyncio.create_task(one(claim))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        cpu = time.process_time() - cpu
        backlog = len(tasks)
        await asyncio.gather(*tasks)
        ticker.cancel()
    return {
        "cpu_share": cpu / run.seconds,
        "backlog": backlog,
        "added_p50_ms": _share(added, 0.50) * 1e3,
        "added_p99_ms": _share(added, 0.99) * 1e3,
        "lag_p99_ms": _share(lags, 0.99) * 1e3,
    }


async def batch(run: Run) -> Figures:
    """`claim_many`, with a journal where the client's name says so; memory counts from a tenth of it on."""
    with tempfile.TemporaryDirectory() as directory:
        async with ClaimsClient(
            account_id=ACCOUNT,
            client_id="client",
            client_secret="secret",  # noqa: S106 - nobody checks it
            base_url=run.base_url,
            max_connections=run.width,
            ssl_context=run.context,
        ) as client:
            async for _ in client.claim_many(_requests(2 * run.width), concurrency=run.width):
                pass
            journal = Journal.open(Path(directory, "journal")) if run.client == "journal" else None
            if journal is not None:
                await journal.__aenter__()
            began, cpu, taken, warm_mb = time.perf_counter(), time.process_time(), 0, 0.0
            async for outcome in client.claim_many(
                _requests(run.rows), concurrency=run.width, journal=journal
            ):
                taken += isinstance(outcome, Claimed)
                if taken == run.rows // 10:
                    warm_mb = _peak()
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
            if journal is not None:
                await journal.aclose()
    assert taken == run.rows
    return {
        "per_second": run.rows / seconds,
        "cpu_us": cpu / run.rows * 1e6,
        "peak_mb": _peak(),
        "growth_mb": _peak() - warm_mb,
    }


async def cold(run: Run) -> Figures:
    """From nothing to the first claims, all at once."""
    began, cpu = time.perf_counter(), time.process_time()
    async with clients.CLIENTS[run.client](run.base_url, run.width, run.context) as claim:
        await asyncio.gather(*(claim(clients.request()) for _ in range(run.width)))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {"ms": seconds * 1e3, "cpu_ms": cpu * 1e3, "peak_mb": _peak()}


def _requests(count: int) -> Iterator[ClaimRequest]:
    return (clients.request() for _ in range(count))


def _share(values: list[float], share: float) -> float:
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure what the first argument says."""
    run = Run(**json.loads(sys.argv[1]))
    pin(run.core)
    figures: Figures
    if run.kind == "threads":
        figures = threads(run)
    else:
        kinds: dict[str, Any] = {"closed": closed, "opened": opened, "batch": batch, "cold": cold}
        if run.loop == "uvloop":
            import uvloop

            figures = uvloop.run(kinds[run.kind](run))
        else:
            figures = asyncio.run(kinds[run.kind](run))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
