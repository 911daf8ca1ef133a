"""The commands of `dintero-claims batch`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from dintero_claims_client import Batch, ClaimsClient, Journal, Outcome
from dintero_claims_client._journal.store import JournalStore
from dintero_claims_client.cli import exit_codes, output
from dintero_claims_client.cli.batch_export import exported
from dintero_claims_client.cli.batch_export import shown as outcome_shown
from dintero_claims_client.cli.batch_input import InputFormat
from dintero_claims_client.cli.batch_load import (
    REJECTS,
    STDIN,
    check_replaceable,
    default_journal,
    load,
    load_again,
    replacing,
    write_rejects,
)
from dintero_claims_client.cli.batch_options import Claiming
from dintero_claims_client.cli.batch_progress import Progress, Summary, counted, resume_command, shown
from dintero_claims_client.cli.connection import Connection
from dintero_claims_client.errors import ClaimsError

_STOPPING = [
    found
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    # Windows has no hang-up.
    if (found := getattr(signal, name, None)) is not None
]


def run(
    name: str,
    journal: str | None,
    input_format: InputFormat,
    claiming: Claiming,
    connection: Connection,
    *,
    as_json: bool,
) -> int:
    """Read an input into a journal, and claim its rows."""
    client = _client(claiming, connection)
    path = default_journal(name) if journal is None else Path(journal)
    if journal is None and name == STDIN:
        output.write_note(f"the journal is {path}")
    with _opened(path, create=True) as store:
        with _interruptible(path):
            load(store, name, input_format)
        return _claim(client, store, path, claiming, as_json=as_json)


def dry_run(name: str, input_format: InputFormat, *, as_json: bool) -> int:
    """Check an input as a run would, and claim nothing."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "journal")
        with _opened(path, create=True) as store, _interruptible():
            load(store, name, input_format)
            counts = store.counts()
            place = Path(f"{'stdin' if name == STDIN else name}.rejects.jsonl")
            rejected = write_rejects(store, place)
    valid = counts.rows - counts.duplicates - counts.rejected
    if as_json:
        output.write_json(
            {
                "valid": valid,
                "rejected": rejected,
                "repeated": counts.duplicates,
                "rejects_file": str(place) if rejected else None,
            }
        )
    else:
        if rejected:
            output.write_note(f"the rejected rows are in {place}")
        output.write_line(
            f"{valid:,} claims are valid, {rejected:,} rows are rejected, "
            f"{counts.duplicates:,} repeat another; nothing was sent"
        )
    return exit_codes.FAILED if rejected else exit_codes.DONE


def resume(journal: str, claiming: Claiming, connection: Connection, *, partial: bool, as_json: bool) -> int:
    """Claim, or settle, what a journal has without an outcome."""
    client = _client(claiming, connection)
    path = Path(journal)
    with _opened(path) as store:
        with _interruptible(path):
            load_again(store, partial=partial)
        return _claim(client, store, path, claiming, as_json=as_json)


def retry_refused(journal: str, claiming: Claiming, connection: Connection, *, as_json: bool) -> int:
    """Claim again what the server refused."""
    client = _client(claiming, connection)
    path = Path(journal)
    with _opened(path) as store:
        requeued, purged = store.requeue_refused()
        output.write_note(f"{requeued:,} refused rows are claimed again")
        if purged:
            output.write_note(f"{purged:,} others cannot be, because they were purged")
        return _claim(client, store, path, claiming, as_json=as_json)


def status(journal: str, *, as_json: bool) -> int:
    """Show how far a batch is, also while it runs."""
    path = Path(journal)
    store = JournalStore.open_for_reading(path)
    try:
        counts, known, whole = store.counts(), store.input, store.is_input_complete
        account = store.account_id
    finally:
        store.close()
    left = counts.pending + counts.in_flight + counts.unknown
    facts = {
        "journal": str(path),
        "account": account,
        "input": None if known is None else known["name"],
        "input_complete": whole,
        **counted(counts),
        "resume": resume_command(path) if left or not whole else None,
    }
    if as_json:
        output.write_json(facts)
    else:
        output.write_rows([(name.replace("_", " "), _cell(value)) for name, value in facts.items()])
    return exit_codes.DONE


def export(journal: str, out: str) -> int:
    """Write what became of each row."""
    path = Path(journal)
    store = JournalStore.open_for_reading(path)
    try:
        if out != STDIN:
            check_replaceable(Path(out), path, *_input_of(store))
        count = _export(store, out)
    finally:
        store.close()
    if out != STDIN:
        output.write_line(f"{count:,} rows are in {out}")
    return exit_codes.DONE


def purge(journal: str) -> int:
    """Erase the personal data of what is settled."""
    path = Path(journal)
    with _opened(path) as store:
        count = store.purge()
        counts = store.counts()
    output.write_line(f"{count:,} rows were purged; their refs and outcomes stay")
    if left := counts.pending + counts.in_flight + counts.unknown:
        output.write_note(f"{left:,} rows have no final outcome, and stay whole")
    return exit_codes.DONE


def _input_of(store: JournalStore) -> list[str]:
    """Return the file that the rows come from, if there is one."""
    known = store.input
    return [] if known is None or known["name"] == STDIN else [known["name"]]


def _export(store: JournalStore, out: str) -> int:
    count = 0
    if out == STDIN:
        for row in exported(store):
            output.write_json(row)
            count += 1
        return count
    with replacing(Path(out)) as file:
        for row in exported(store):
            file.write(f"{json.dumps(row)}\n")
            count += 1
    return count


_SAME_SIGNAL = 1.0
"""Seconds in which a second signal counts as the first."""


@contextmanager
def _opened(path: Path, *, create: bool = False) -> Generator[JournalStore, None, None]:
    store = JournalStore.open(path, create=create)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _interruptible(journal: Path | None = None) -> Generator[None, None, None]:
    """Let SIGTERM end what Ctrl-C ends: reading, which is begun anew on resuming."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in _STOPPING if one is not signal.SIGINT}
    try:
        yield
    except KeyboardInterrupt:
        if journal is None:
            raise
        raise exit_codes.Interrupted(
            "interrupted; the input was not read to its end, and nothing of it was claimed; "
            f"to go on: {resume_command(journal)}"
        ) from None
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _client(claiming: Claiming, connection: Connection) -> ClaimsClient:
    """Return a client that may claim; raises before anything is read or sent where it may not."""
    client = connection.client(max_connections=claiming.concurrency)
    connection.check_may_claim(live=claiming.live)
    return client


def _claim(client: ClaimsClient, store: JournalStore, path: Path, options: Claiming, *, as_json: bool) -> int:
    place = Path(f"{path}{REJECTS}")
    rejects = place if write_rejects(store, place) else None
    out = None if options.out in (None, STDIN) else Path(options.out)
    if out is not None:
        # Said now, and not when everything is claimed.
        check_replaceable(out, path, *_input_of(store))
    began = time.monotonic()
    claiming = _Claiming(client, store, path, options)
    failure: exit_codes.CommandError | BrokenPipeError | None = None
    try:
        asyncio.run(claiming.run())
    except ClaimsError as error:
        failure = exit_codes.BatchStopped(error)
    except (exit_codes.CommandError, BrokenPipeError) as error:
        failure = error
    if out is not None:
        try:
            _export(store, str(out))
        except exit_codes.CommandError as error:
            failure, out = failure or error, None
    summary = Summary(
        journal=path,
        counts=store.counts(),
        seconds=time.monotonic() - began,
        done=claiming.done,
        interrupted=claiming.interrupted,
        rejects=rejects,
        out=None if out is None else str(out),
        failure=failure.exit_code if isinstance(failure, exit_codes.CommandError) else None,
    )
    _write_summary(summary, as_json=as_json, is_stdout_taken=options.out == STDIN)
    if failure is not None:
        raise failure
    return summary.exit_code


def _write_summary(summary: Summary, *, as_json: bool, is_stdout_taken: bool) -> None:
    if is_stdout_taken:
        output.write_note(json.dumps(summary.to_dict()) if as_json else summary.conclusion())
    elif as_json:
        output.write_json(summary.to_dict())
    else:
        output.write_rows(summary.rows())
        output.write_line(summary.conclusion())
    if summary.resume is not None:
        output.write_note(f"to go on: {summary.resume}")


class _Claiming:
    """One run over a journal: with signals, progress, and outcomes on stdout if that is asked for."""

    def __init__(self, client: ClaimsClient, store: JournalStore, path: Path, options: Claiming) -> None:
        self._client = client
        self._store = store
        self._path = path
        self._options = options
        self._deadline: asyncio.TimerHandle | None = None
        self.interrupted = False
        self.done = 0

    async def run(self) -> None:
        options = self._options
        async with Journal.of(self._store, self._path) as journal, self._client:
            batch = self._client.resume(
                journal,
                concurrency=options.concurrency,
                rate=options.rate,
                if_exists=options.if_exists,
                patience=options.patience,
            )
            progress = Progress(batch, await journal.counts())
            try:
                with suppress(_DrainedError), self._signals(batch):
                    async with batch, shown(progress):
                        if options.out == STDIN:
                            await self._write_outcomes(batch, progress)
                        else:
                            async for outcome in batch:
                                progress.add(outcome)
            finally:
                self.done = progress.ended.total()

    async def _write_outcomes(self, batch: Batch, progress: Progress) -> None:
        """Write each outcome as it comes, without holding up what is under way."""
        lines: asyncio.Queue[str | None] = asyncio.Queue(1000)
        writer = asyncio.create_task(_write_lines(lines, batch))
        failure: ClaimsError | None = None
        try:
            try:
                async for outcome in batch:
                    progress.add(outcome)
                    await lines.put(_line(outcome))
            except ClaimsError as error:
                failure = error
            await lines.put(None)
            await writer
        finally:
            # Whoever stops the command at once does not wait for who reads.
            writer.cancel()
        if failure is not None:
            raise failure

    @contextmanager
    def _signals(self, batch: Batch) -> Generator[None, None, None]:
        """Stop in order at the first signal, and at once at the second or when the time to drain is over."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()

        began = 0.0

        def cancel() -> None:
            if task is not None:
                task.cancel()

        def stop() -> None:
            nonlocal began
            if self.interrupted:
                # A terminal and whoever started the command may both pass the same one on.
                if loop.time() - began > _SAME_SIGNAL:
                    cancel()
                return
            self.interrupted, began = True, loop.time()
            output.write_note(
                f"stopping: {batch.under_way:,} claims are under way, "
                f"and have {self._options.drain:g} s to end; again to stop at once"
            )
            batch.stop()
            self._deadline = loop.call_later(self._options.drain, cancel)

        for one in _STOPPING:
            with suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(one, stop)
        try:
            yield
        except asyncio.CancelledError:
            if not self.interrupted or task is None:
                raise
            # What was under way is in the journal, and is settled on resuming.
            task.uncancel()
            raise _DrainedError from None
        finally:
            if self._deadline is not None:
                self._deadline.cancel()
            for one in _STOPPING:
                with suppress(NotImplementedError):
                    loop.remove_signal_handler(one)


class _DrainedError(Exception):
    """The time for what was under way is over."""


def _line(outcome: Outcome) -> str:
    return f"{json.dumps(outcome_shown(outcome))}\n"


async def _write_lines(lines: asyncio.Queue[str | None], batch: Batch) -> None:
    """Write lines until there is None; when they cannot be written any more the batch is stopped."""
    gone: OSError | None = None
    last = False
    while not last:
        some = [await lines.get()]
        while not lines.empty():
            some.append(lines.get_nowait())
        last = some[-1] is None
        text = "".join(line for line in some if line is not None)
        if gone is None and text:
            try:
                await _in_daemon(partial(_write, text))
            except OSError as error:
                gone = error
                batch.stop()
    if isinstance(gone, BrokenPipeError):
        raise gone
    if gone is not None:
        raise exit_codes.CommandError(f"the outcomes cannot be written: {gone.strerror}")


async def _in_daemon(work: Callable[[], None]) -> None:
    """Do what may take for ever, because who reads is slow, in a thread that nobody waits for at the end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def finish(error: Exception | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        failure: Exception | None = None
        try:
            work()
        except Exception as error:  # noqa: BLE001 - for whoever waits
            failure = error
        # The loop is gone where nobody waits any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(finish, failure)

    threading.Thread(target=run, daemon=True).start()
    await done


def _write(text: str) -> None:
    try:
        descriptor = sys.stdout.fileno()
    except OSError:
        sys.stdout.write(text)
        return
    # Past Python's buffer, whose lock would keep the process from ending.
    data = text.encode()
    while data:
        data = data[os.write(descriptor, data) :]


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case _:
            return str(value)
