"""Runs commands in processes that kill themselves at any boundary between journal, network and consumer.

Reads jobs, one a line, from stdin, and forks a process for each, so that none has to import everything. What
counts as a boundary is patched in here; the package knows nothing of it.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dintero_claims_client import (
    ClaimRequest,
    ClaimsClient,
    Journal,
    RetryPolicy,
    _search,
    claim_request_from_json,
)
from dintero_claims_client._batch_run import BatchRun
from dintero_claims_client._engines.aiohttp_engine import AiohttpEngine
from dintero_claims_client._journal import MarkSent, Row, SetOutcome, files
from dintero_claims_client._journal import store as store_module
from dintero_claims_client._journal.store import JournalStore
from dintero_claims_client.batch import Batch
from dintero_claims_client.cli import batch as commands
from dintero_claims_client.cli import batch_load, main
from dintero_claims_client.cli.batch_export import shown
from dintero_claims_client.outcomes import Rejected

_CHECKPOINT = "PRAGMA wal_checkpoint"
_STATEMENTS = ("COMMIT", "VACUUM", _CHECKPOINT)


class Boundaries:
    """Counts what the process comes to, writes it down, and kills it at the one that is asked for."""

    def __init__(self, trace: str, kill_at: int | None) -> None:
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._kill_at = kill_at
        self._count = 0
        self.doing = ""
        """What the store is asked to do at this moment, for the name of a COMMIT."""

    def come(self, name: str) -> None:
        """Note that the process is at this boundary."""
        os.write(self._trace, f"{name}\n".encode())
        if self._count == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self._count += 1

    def before(self, kind: Any, name: str, label: str) -> None:
        """Let a function come to a boundary before it does anything."""
        real = getattr(kind, name)

        @functools.wraps(real)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.come(f"before {label}")
            return real(*args, **kwargs)

        setattr(kind, name, call)

    def name(self, method: str, label: Callable[[Any], str]) -> None:
        """Name what a method of the store commits."""
        real = getattr(JournalStore, method)

        @functools.wraps(real)
        def call(store: JournalStore, *args: Any, **kwargs: Any) -> Any:
            before, self.doing = self.doing, label(args)
            try:
                return real(store, *args, **kwargs)
            finally:
                self.doing = before

        setattr(JournalStore, method, call)


def _patch(at: Boundaries) -> None:
    _patch_journal(at)
    _patch_network(at)
    _patch_outcomes(at)


def _patch_journal(at: Boundaries) -> None:
    for method in (
        "bind_account",
        "begin_input",
        "add_input",
        "finish_input",
        "requeue_refused",
        "purge",
        "close",
    ):
        at.name(method, lambda _, method=method: method)
    at.name("write", lambda args: _written(args[0]))
    at.before(Journal, "write", "a write is queued")
    at.before(files, "make", "a file is made")
    at.before(store_module, "hold", "the lock")
    at.before(store_module, "check_all", "the check of the journal")
    at.before(JournalStore, "close", "the close")
    real_connect = sqlite3.connect

    class Connection(sqlite3.Connection):
        def execute(self, statement: str, *args: Any) -> sqlite3.Cursor:
            if not statement.startswith(_STATEMENTS):
                return super().execute(statement, *args)
            kind = "checkpoint" if statement.startswith(_CHECKPOINT) else statement
            name = f"{kind} of {at.doing or 'open'}"
            at.come(f"before {name}")
            done = super().execute(statement, *args)
            at.come(f"after {name}")
            return done

    def connect(name: str, **options: Any) -> sqlite3.Connection:
        # What is in memory only is gone with the process anyway.
        return real_connect(name, **options, **({} if name == ":memory:" else {"factory": Connection}))

    sqlite3.connect = connect  # type: ignore[assignment]


def _written(operations: Any) -> str:
    if any(isinstance(one, SetOutcome) for one in operations):
        return "an outcome"
    return "an intent" if any(isinstance(one, Row | MarkSent) for one in operations) else "nothing"


def _patch_network(at: Boundaries) -> None:
    send = AiohttpEngine.send

    async def sending(engine: AiohttpEngine, request: Any, *, deadline: float) -> Any:
        if request.method != "POST" or not request.url.endswith("/claims"):
            return await send(engine, request, deadline=deadline)
        at.come("before sending")
        answer = await send(engine, request, deadline=deadline)
        at.come("after the answer")
        return answer

    AiohttpEngine.send = sending  # type: ignore[method-assign]


def _patch_outcomes(at: Boundaries) -> None:
    at.before(BatchRun, "_give", "an outcome is given out")
    give = Batch.__anext__

    async def giving(batch: Batch) -> Any:
        outcome = await give(batch)
        at.come("after an outcome is given out")
        return outcome

    Batch.__anext__ = giving  # type: ignore[method-assign]
    exported = commands.exported

    def exporting(store: JournalStore) -> Iterator[Any]:
        for row in exported(store):
            at.come("before a row of the export")
            yield row
        at.come("after the rows of the export")

    commands.exported = exporting
    at.before(Path, "replace", "a file replaces another")


def _requests(path: str) -> list[ClaimRequest]:
    return [claim_request_from_json(json.loads(line)) for line in Path(path).read_text().splitlines()]


async def _claim_many(requests: list[ClaimRequest], journal: str, concurrency: int) -> int:
    """Claim as a program would that uses the library, and print what it is given."""
    async with (
        Journal.open(journal) as opened,
        ClaimsClient.from_env() as client,
        client.claim_many(requests, journal=opened, concurrency=concurrency) as batch,
    ):
        bad = 0
        async for outcome in batch:
            bad += isinstance(outcome, Rejected)
            print(json.dumps({"number": outcome.row, **shown(outcome)}), flush=True)
    return 1 if bad else 0


def _run(job: dict[str, Any]) -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if job["file_size"] is not None:
        # The kernel kills in the middle of the write that would make a file larger.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_size"], job["file_size"]))
    os.environ.update(job["env"])
    batch_load._AT_ONCE = job["at_once"]
    if job["is_quick"]:
        # Nobody else looks for a claim in a batch of a few rows.
        _search.GATHERING_SECONDS = 0.001
        # Nor is it for how long a list may lag behind.
        ClaimsClient.__init__.__kwdefaults__["retry"] = RetryPolicy(base_delay=0.001, max_delay=0.02)
    if job["trace"] is not None:
        _patch(Boundaries(job["trace"], job["kill_at"]))
    if job["arguments"][0] == "claim_many":
        _, source, journal, concurrency = job["arguments"]
        return asyncio.run(_claim_many(_requests(source), journal, int(concurrency)))
    return main(job["arguments"])


def _serve() -> None:
    """Fork for each job: say its process, wait for a line before it goes, and say how it ended."""
    while line := sys.stdin.readline():
        job = json.loads(line)
        wait, go = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(go)
            os.read(wait, 1)
            for descriptor, name in ((0, job["stdin"]), (1, job["stdout"]), (2, job["stderr"])):
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC if descriptor else os.O_RDONLY
                os.dup2(os.open(name, flags, 0o600), descriptor)
            code = _run(job)
            # Without clearing up what was imported, which takes longer than most jobs.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        os.close(wait)
        print(pid, flush=True)
        sys.stdin.readline()
        os.close(go)
        _, status = os.waitpid(pid, 0)
        print(status, flush=True)


if __name__ == "__main__":
    gc.freeze()
    _serve()
