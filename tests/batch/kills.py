"""Batches whose process is killed again and again, and whether the server's ledger agrees with what was told.

Five figures must be zero when a batch is finished:

- lost: a row that is told as taken, or not told at all, and the ledger has none;
- doubled: the ledger has more than one claim of a row, or a `ref` came with other bytes;
- misattributed: a row is told with another claim than the ledger has of it;
- refused: a row is told as not taken, and the ledger has it;
- unknown: a row of a finished batch is told as unknown, or as not finished.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from faults.script import Fault, Operation, Plan, Point, Queues, Request
from faults.seeded import Seeded
from faults.server import FaultServer
from support.canary import SECRET, is_clean

from dintero_claims_client._journal.store import JournalStore
from dintero_claims_client.cli.batch_export import exported

Json = dict[str, Any]

FIGURES = ("lost", "doubled", "misattributed", "refused", "unknown")

_TESTS = Path(__file__).parents[1]


@dataclass(frozen=True)
class Ended:
    """How a process ended: `code` is None where it was killed, and `trace` the boundaries that it came to."""

    code: int | None
    out: str
    err: str
    trace: list[str]

    @property
    def summary(self) -> Json:
        """The one JSON object on stdout."""
        return json.loads(self.out)

    @property
    def told(self) -> list[Json]:
        """The outcomes on stdout, without a last one that was cut short."""
        return [json.loads(line) for line in self.out.splitlines(keepends=True) if line.endswith("\n")]


class Children:
    """Runs commands, each in a process of its own that can be killed, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pid: int | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "batch.child",
            env={"PYTHONPATH": str(_TESTS), "PATH": os.environ["PATH"]},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        # Without another job it ends; one that hangs is killed before it.
        self.kill()
        await self._process.communicate(b"")

    def kill(self) -> None:
        """Kill the process that runs, if one does."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    async def run(
        self,
        *arguments: str | Path | int,
        base_url: str,
        kill_at: int | None = None,
        traced: bool = False,
        at_once: int = 1000,
        file_size: int | None = None,
        stdin: Path | None = None,
    ) -> Ended:
        """Run a command, or `claim_many` of child.py; killed at this boundary if it comes to it.

        `at_once` are the rows of an input in one transaction, `file_size` the bytes beyond which the kernel
        kills whoever writes.
        """
        out, err, trace = (self._folder / name for name in ("stdout", "stderr", "trace"))
        for file in (out, err, trace):
            file.unlink(missing_ok=True)
        job = {
            "arguments": [str(argument) for argument in arguments],
            "kill_at": kill_at,
            "trace": str(trace) if traced or kill_at is not None else None,
            "at_once": at_once,
            "file_size": file_size,
            "is_quick": at_once < 1000,
            "stdin": os.devnull if stdin is None else str(stdin),
            "stdout": str(out),
            "stderr": str(err),
            "env": {
                "DINTERO_BASE_URL": base_url,
                "DINTERO_ACCOUNT_ID": "T12345678",
                "DINTERO_CLIENT_ID": "client-1",
                "DINTERO_CLIENT_SECRET": SECRET,
            },
        }
        self._pid = int(await self._ask(job))
        status = int(await self._ask("go"))
        self._pid = None
        said = [file.read_text() if file.exists() else "" for file in (out, err, trace)]
        assert all(map(is_clean, said))
        assert "Traceback" not in said[1], said[1]
        ended = Ended(
            None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status), *said[:2], said[2].splitlines()
        )
        if ended.code is None:
            assert os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGXFSZ), status
        return ended

    async def _ask(self, line: object) -> bytes:
        reader, writer = self._process.stdout, self._process.stdin
        assert reader is not None
        assert writer is not None
        writer.write(json.dumps(line).encode() + b"\n")
        await writer.drain()
        return await reader.readline()


@dataclass
class Watched:
    """A plan that does as another one says, and calls back at the n-th request of a kind that comes."""

    plan: Plan
    operation: Operation = "claim"
    countdown: int | None = None
    fault: Fault | None = None
    """What strikes that request, instead of what the other plan says."""
    strike: Any = None

    def for_connection(self, number: int) -> Fault | None:
        """See `Plan`."""
        return self.plan.for_connection(number)

    def for_head(self, operation: Operation) -> Fault | None:
        """See `Plan`."""
        if operation == self.operation and self._is_upload() and self._is_it():
            return self.fault
        return self.plan.for_head(operation)

    def for_request(self, request: Request) -> Fault | None:
        """See `Plan`."""
        if request.operation == self.operation and not self._is_upload() and self._is_it():
            return self.fault or self.plan.for_request(request)
        return self.plan.for_request(request)

    def describe(self) -> Json:
        """See `Plan`."""
        return self.plan.describe()

    def _is_upload(self) -> bool:
        return self.fault is not None and self.fault.at is Point.UPLOAD

    def _is_it(self) -> bool:
        if self.countdown is None:
            return False
        self.countdown -= 1
        if self.countdown:
            return False
        self.countdown = None
        self.strike()
        return True


def claim_of(number: int, *, ref: bool, limited: bool = False, customer: str = "customer") -> Json:
    """Return the claim of a row; its customer claims nothing else."""
    fields = {"ref": f"order-{number}"} if ref else {}
    discount = f"{'limited-' if limited else ''}discount-{number}"
    return {
        "purchase_at": "2026-11-07T05:31:56+00:00",
        "customer_id": f"{customer}-{number}",
        "discounts": [{"id": discount, "refs": [{"id": "item-1", "amount": number + 1, "usage": 1}]}],
        **fields,
    }


def any_claims(count: int, chance: random.Random) -> list[Json]:
    """Return claims of all kinds."""
    return [
        claim_of(number, ref=chance.random() < 0.5, limited=chance.random() < 0.2) for number in range(count)
    ]


@dataclass
class Report:
    """What was counted over all batches."""

    kills: int = 0
    batches: int = 0
    faulted: int = 0
    """Exchanges that a fault struck as well."""
    recovered: int = 0
    """Rows whose answer was lost, and that were found again."""
    figures: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Say whether all five figures are zero."""
        return not any(self.figures[name] for name in FIGURES)

    def compare(self, claims: Iterable[Json], told: Iterable[Json], server: FaultServer) -> None:
        """Count what a finished batch tells against the ledger, row by row."""
        by_customer: dict[str, list[Json]] = {}
        for one in told:
            by_customer.setdefault(one["row"]["customer_id"], []).append(one)
        customers = set()
        for claim in claims:
            customers.add(claim["customer_id"])
            held = server.ledger.by_customer.get(claim["customer_id"], [])
            lines = by_customer.get(claim["customer_id"], [])
            found = {_judge(claim, held, line) for line in lines} if lines else {"lost"}
            if len(held) > 1:
                found.add("doubled")
            for name in found - {None}:
                self._count(str(name), f"{claim['customer_id']}: told {lines}; held {held}")
        for customer in server.ledger.by_customer.keys() - customers:
            self._count("doubled", f"{customer} is no customer of this batch")
        for ref in server.changed:
            self._count("doubled", f"{ref} came with other bytes")

    def _count(self, name: str, example: str) -> None:
        self.figures[name] += 1
        if len(self.examples) < 20:
            self.examples.append(f"{name}: {example}")

    def __str__(self) -> str:
        return ", ".join(f"{self.figures[name]} {name}" for name in FIGURES)


def _judge(claim: Json, held: Sequence[Json], line: Json) -> str | None:
    """Return which figure a row counts in, by what is told of it and what the ledger has."""
    match line["outcome"]:
        case "taken" if not held:
            return "lost"
        case "taken" if line["claim"] is None:
            return "unknown"
        case "taken":
            told = line["claim"]
            same = (
                told["id"] in {one["id"] for one in held}
                and told.get("ref", line["ref"]) == line["ref"] == held[0]["ref"]
            )
            ours = held[0]["discounts"] == claim["discounts"] and claim.get("ref") in (None, held[0]["ref"])
            return None if same and ours else "misattributed"
        case "refused" | "rejected":
            return "refused" if held else None
        case _:
            return "unknown"


def told_by(journal: Path) -> list[Json]:
    """Return what a journal tells of its rows, also one whose process was killed; it stays as it is."""
    with closing(JournalStore.open_for_reading(journal)) as store:
        return [dict(row) for row in exported(store)]


class Scene:
    """A batch, its files, the server that it claims at, and the processes that work on it."""

    def __init__(self, folder: Path, claims: Sequence[Json], server: FaultServer, children: Children) -> None:
        self.claims = list(claims)
        self.server = server
        self.children = children
        self.input = folder / "claims.jsonl"
        self.journal = folder / "claims.jsonl.journal"
        self.export = folder / "export.jsonl"
        self.input.write_text("".join(f"{json.dumps(claim)}\n" for claim in claims))

    async def run(self, *arguments: str | Path | int, **options: Any) -> Ended:
        """Run a command at the server."""
        return await self.children.run(*arguments, base_url=self.server.base_url, **options)

    async def exported(self) -> list[Json]:
        """Return what `batch export` writes."""
        ended = await self.run("batch", "export", self.journal, "--out", self.export)
        assert ended.code == 0, ended.err
        return [json.loads(line) for line in self.export.read_text().splitlines()]


@asynccontextmanager
async def scene(
    folder: Path, claims: Sequence[Json], children: Children, plan: Plan | None = None
) -> AsyncIterator[Scene]:
    """Give a batch that is about to be run, in a folder of its own."""
    async with FaultServer(plan=Watched(Queues() if plan is None else plan)) as server:
        yield Scene(Path(tempfile.mkdtemp(dir=folder)), claims, server, children)


class RandomKills:
    """Batches of a seed, whose processes are killed at random until so many kills have happened.

    In turns those of the command, whose journals have an input, and those of a program that uses the library.
    """

    def __init__(self, folder: Path, count: int, rows: int, seed: int, fault_rate: float) -> None:
        self.report = Report()
        self._folder = folder
        self._count = count
        self._rows = rows
        self._seed = seed
        self._fault_rate = fault_rate
        self._chance = random.Random(seed)
        # Long enough that a batch gets on between two kills, and short enough for several in one.
        self._most = max(2, 2 * rows // 20)

    async def run(self) -> Report:
        """Run batches, and return what was counted."""
        async with Children(self._folder) as children:
            while self.report.kills < self._count:
                await self._run_batch(children)
                if not self.report.is_clean:
                    break
        return self.report

    async def _run_batch(self, children: Children) -> None:
        report, number = self.report, self.report.batches
        claims = any_claims(self._rows, random.Random(f"{self._seed}/{number}"))
        faults = Seeded(
            self._seed * 1000 + number,
            self._fault_rate,
            rates={"connection": self._fault_rate / 2, "token": 0.0},
            attempts=6,
            heavy=0.002,
            refusals=0.3,
            throttling=0.02,
        )
        async with scene(self._folder, claims, children, faults) as batch:
            run_once = self._run_once if (self._seed + number) % 2 == 0 else self._run_program_once
            while (ended := await run_once(batch, children)).code is None:
                report.kills += 1
                _watch(f"{report.kills:,} kills, {len(batch.server.ledger.claims):,} claims")
            assert ended.code in (0, 1), ended.err
            told = told_by(batch.journal)
            report.compare(claims, told, batch.server)
            report.recovered += sum(line.get("recovered", False) for line in told)
            report.faulted += batch.server.faulted
            # What was refused is not taken, and can be.
            again = await batch.run("batch", "retry-refused", batch.journal)
            while again.code == 1:
                again = await batch.run("batch", "retry-refused", batch.journal)
            assert again.code == 0, again.err
            report.compare(claims, await batch.exported(), batch.server)
        report.batches += 1

    def _kill_at_random(self, batch: Scene, children: Children) -> Json:
        """Prepare the next kill, if there is to be one; return the options that it takes."""
        chance, plan = self._chance, batch.server.plan
        assert isinstance(plan, Watched)
        plan.countdown = None
        if self.report.kills >= self._count:
            return {}
        if chance.random() < 0.2:
            return {"kill_at": chance.randrange(60)}
        plan.countdown, plan.strike = chance.randrange(1, self._most), children.kill
        return {}

    async def _run_program_once(self, batch: Scene, children: Children) -> Ended:
        options = self._kill_at_random(batch, children)
        if batch.journal.exists() and self._chance.random() < 0.3:
            # Which claims what the journal has; the rest is still with the program.
            ended = await batch.run("batch", "resume", batch.journal, **options)
            if ended.code is None:
                return ended
        return await batch.run("claim_many", batch.input, batch.journal, 60, **options)

    async def _run_once(self, batch: Scene, children: Children) -> Ended:
        begun = batch.journal.exists()
        to_resume = begun and self._chance.random() < 0.7
        arguments = ["resume", batch.journal] if to_resume else ["run", batch.input]
        options = self._kill_at_random(batch, children)
        ended = await batch.run("batch", *arguments, **options)
        if ended.code == 2 and not batch.server.claim_requests:
            # Killed before there was anything to resume.
            ended = await batch.run("batch", "run", batch.input, **options)
        return ended


def _watch(text: str) -> None:
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


async def run_random_kills(count: int, rows: int, seed: int, fault_rate: float) -> Report:
    """Kill so many times at random, and say on stdout how to do it again if anything is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        runs = RandomKills(Path(folder), count, rows, seed, fault_rate)
        try:
            report = await runs.run()
        except BaseException:
            print(_again(count, rows, seed, fault_rate), flush=True)
            raise
    if not report.is_clean:
        print("\n".join(report.examples))
        print(_again(count, rows, seed, fault_rate))
    return report


def _again(count: int, rows: int, seed: int, fault_rate: float) -> str:
    return f"again with: ./scripts/kills.sh {count} --rows {rows} --seed {seed} --fault-rate {fault_rate:g}"


def main() -> int:
    """Kill at random from the command line; 0 if all five figures are zero."""
    parser = argparse.ArgumentParser(prog="kills", description="Batches whose process is killed at random.")
    parser.add_argument("count", type=int, nargs="?", default=200, help="how many kills")
    parser.add_argument("--seed", type=int, default=None, help="what to repeat; by default another each time")
    parser.add_argument("--rows", type=int, default=5000, help="how many rows a batch has")
    parser.add_argument("--fault-rate", type=float, default=0.1, help="the share of exchanges that fail too")
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    report = asyncio.run(run_random_kills(given.count, given.rows, seed, given.fault_rate))
    print(f"{report.kills:,} kills, {report.batches:,} batches of {given.rows:,} rows: {report}")
    return 0 if report.is_clean and report.kills >= given.count else 1


if __name__ == "__main__":
    sys.exit(main())
