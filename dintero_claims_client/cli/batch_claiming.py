"""One run over the rows of a journal: its signals, its progress, and its outcomes on stdout."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from dintero_claims_client import Batch, ClaimsClient, Journal, Outcome
from dintero_claims_client._journal.store import JournalStore
from dintero_claims_client.cli import exit_codes, output
from dintero_claims_client.cli.batch_export import shown as outcome_shown
from dintero_claims_client.cli.batch_options import Claiming
from dintero_claims_client.cli.batch_progress import Progress, shown
from dintero_claims_client.errors import ClaimsError

STOPPING = [
    found
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    # Windows has no hang-up.
    if (found := getattr(signal, name, None)) is not None
]
"""The signals that stop a batch."""

_SAME_SIGNAL = 1.0
"""Seconds in which a second signal counts as the first."""


class BatchClaiming:
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
        """Claim what has no outcome; raises what ends the batch before its time, but for signals."""
        with _rare_collections():
            await self._run()

    async def _run(self) -> None:
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
                        if options.is_out_stdout:
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

        for one in STOPPING:
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
            for one in STOPPING:
                with suppress(NotImplementedError):  # Windows
                    loop.remove_signal_handler(one)


@contextmanager
def _rare_collections() -> Generator[None, None, None]:
    """Let Python look for cyclic garbage less often: with hundreds in flight it takes a tenth of the CPU."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(20_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


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
