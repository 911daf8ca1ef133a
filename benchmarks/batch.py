"""Batches: what the journal costs, and how memory grows with the number of rows.

    .venv/bin/python benchmarks/batch.py [--rows N] [--rounds R] [--concurrency C] [--memory ROWS]

Both are measured against a server in another process that answers every claim with the same few bytes,
on plain HTTP without latency, so that whatever the client spends shows. Where the system allows it, the
client has one core and the server another. Throughput: rows in a second with and without a journal, in
turns, each in a process of its own; the figure is the ratio of the medians. Memory: the peak of a process
that claims 10,000 rows with a journal, and of one that claims --memory rows.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dintero_claims_client import (
    ClaimDiscount,
    ClaimDiscountRef,
    Claimed,
    ClaimRequest,
    ClaimsClient,
    Journal,
)

_CLAIM = json.dumps(
    {"id": "3c90c3cc-0d44-4b50-8888-8dd25736052a", "created_at": "2026-11-23T12:00:00Z"}
).encode()
_TOKEN = json.dumps({"access_token": "token", "token_type": "Bearer", "expires_in": 86_400}).encode()


class _FixedAnswer(asyncio.Protocol):
    """Answers each request on a connection with the same bytes, whatever it says."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or b"0")
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            body = _TOKEN if b"/auth/token" in head.partition(b"\r\n")[0] else _CLAIM
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(body), body)
            )


async def serve() -> None:
    """Serve on a free port, which is printed, until stdin ends."""
    server = await asyncio.get_running_loop().create_server(_FixedAnswer, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


def requests(count: int) -> Iterator[ClaimRequest]:
    """Give so many claims, each made when it is asked for."""
    at = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
    for number in range(count):
        yield ClaimRequest(
            purchase_at=at,
            customer_id=f"customer-{number}",
            discounts=[
                ClaimDiscount(
                    id="discount-1", refs=[ClaimDiscountRef(id=f"item-{number}", amount=100, usage=1)]
                )
            ],
            ref=f"order-{number}",
        )


async def claim(port: int, rows: int, concurrency: int, journal: str | None) -> dict[str, float]:
    """Claim so many rows, and return what it took."""
    async with ClaimsClient(
        account_id="T12345678",
        client_id="client",
        client_secret="secret",  # noqa: S106 - nobody checks it
        base_url=f"http://127.0.0.1:{port}/v1",
        max_connections=concurrency,
    ) as client:
        # The connections and the token are there before the time is taken.
        async for _ in client.claim_many(requests(2 * concurrency), concurrency=concurrency):
            pass
        began, cpu = time.perf_counter(), time.process_time()
        taken = 0
        if journal is None:
            async for outcome in client.claim_many(requests(rows), concurrency=concurrency):
                taken += isinstance(outcome, Claimed)
        else:
            async with Journal.open(journal) as opened:
                async for outcome in client.claim_many(
                    requests(rows), concurrency=concurrency, journal=opened
                ):
                    taken += isinstance(outcome, Claimed)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert taken == rows
    return {
        "per_second": rows / seconds,
        "cpu_us": cpu / rows * 1e6,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _pin(core: int) -> None:
    if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})


def measured(port: int, rows: int, concurrency: int, *, with_journal: bool) -> dict[str, float]:
    """Measure one run, in a process of its own."""
    with tempfile.TemporaryDirectory() as directory:
        place = str(Path(directory, "journal")) if with_journal else "-"
        done = subprocess.run(  # noqa: S603 - this file
            [sys.executable, __file__, "--claim", str(port), str(rows), str(concurrency), place],
            check=True,
            capture_output=True,
            text=True,
        )
    result: dict[str, float] = json.loads(done.stdout)
    return result


def main() -> None:
    """Run both benchmarks, or be one of their processes."""
    parser = argparse.ArgumentParser(description="What a journal costs, and how memory grows.")
    parser.add_argument("--rows", type=int, default=30_000, help="of each run")
    parser.add_argument("--rounds", type=int, default=5, help="with and without a journal")
    parser.add_argument("--concurrency", type=int, default=500)
    parser.add_argument("--memory", type=int, default=1_000_000, help="rows of the long run; 0 is none")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--claim", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _pin(1)
        asyncio.run(serve())
        return
    if options.claim:
        _pin(0)
        port, rows, concurrency, journal = options.claim
        print(
            json.dumps(
                asyncio.run(
                    claim(int(port), int(rows), int(concurrency), None if journal == "-" else journal)
                )
            )
        )
        return
    with subprocess.Popen(  # noqa: S603 - this file
        [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        figures: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for _ in range(options.rounds):
            for with_journal, results in figures.items():
                results.append(measured(port, options.rows, options.concurrency, with_journal=with_journal))
        print("| journal | claims/s | CPU us/claim | peak MB |\n| --- | ---: | ---: | ---: |")
        medians = {}
        for with_journal, results in figures.items():
            median = {name: statistics.median(one[name] for one in results) for name in results[0]}
            medians[with_journal] = median["per_second"]
            shown = f"{median['per_second']:,.0f} | {median['cpu_us']:.0f} | {median['peak_mb']:.0f}"
            print(f"| {'yes' if with_journal else 'no'} | {shown} |")
        print(f"with a journal {medians[True] / medians[False]:.0%} of the throughput is kept")
        if options.memory:
            few = measured(port, 10_000, options.concurrency, with_journal=True)
            many = measured(port, options.memory, options.concurrency, with_journal=True)
            print(
                f"peak memory: {few['peak_mb']:.0f} MB for 10,000 rows, {many['peak_mb']:.0f} MB for "
                f"{options.memory:,} rows ({many['per_second']:,.0f}/s)"
            )
        server.terminate()


if __name__ == "__main__":
    main()
