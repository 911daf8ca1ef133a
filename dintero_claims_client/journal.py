"""The durable record of a batch, for asyncio: many writes at once, each on disk before its caller goes on."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from .errors import JournalError, JournalWriteError

if TYPE_CHECKING:
    from ._journal.records import Counts, Operation, Record
    from ._journal.store import JournalStore

__all__ = ["Journal"]

T = TypeVar("T")

WhenWritten = Callable[[JournalError | None], None]
"""Called with None when something is on disk, and with the error where it never will be; raises nothing."""

GATHERING_SECONDS = 0.01
_GATHERED_SHARE = 8
"""What waits is written together after this time, or once it is this part of what may be under way. Each
write costs the same however little it is, and meanwhile others may begin."""

_MOST, _MOST_SHARE = 125, 4
"""So much is written together at most, or this part of what may be under way where that is more. If all
waited for the same write, none would be claimed meanwhile, and then all would be at once."""

_PATIENCE = 100
"""Turns of the event loop for a batch that is ending."""


class UsesJournal(Protocol):
    """What a journal knows of the batch that has it."""

    @property
    def width(self) -> int:
        """How many rows may be under way at this moment."""
        ...


class _Group:
    """What is written together, and who is told of it."""

    __slots__ = ("operations", "written")

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.written: list[WhenWritten] = []


class Journal:
    """What was sent, and what became of it, in one SQLite file that survives a killed process.

    Open it with `async with Journal.open(path) as journal`, and give it to `ClaimsClient.claim_many` or
    `ClaimsClient.resume`. Each row is on disk before its claim is sent, and each outcome before it is given
    out. The file holds personal data and is readable by its owner only; `purge` erases what is settled.

    One process uses a journal at a time, and in it one batch at a time; it belongs to one event loop. All
    that can go wrong with it raises `JournalError`: it is in use, of another account or input, of a later
    version, or damaged; and `JournalWriteError` where the disk is full or fails.
    """

    def __init__(self, path: Path, store: JournalStore | None) -> None:
        self.path = path
        self._store = store
        self._thread: ThreadPoolExecutor | None = None
        self._owns_store = True
        self._waiting = deque([_Group()])
        """Of these the last is not full yet, and may be empty."""
        self._is_writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._enough = 0
        """How many are worth a write before the time is over."""
        self._batch: UsesJournal | None = None
        self._writes_wait = False
        self.next_number = 0
        """How many rows the journal had when the batch began."""

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Return the journal in a file, which is made if there is none; entering it opens it."""
        return cls(Path(path), None)

    @classmethod
    def of(cls, store: JournalStore, path: Path) -> Self:
        """Return the journal over a store that is open already, and stays open."""
        journal = cls(path, store)
        journal._owns_store = False
        return journal

    async def __aenter__(self) -> Self:
        # SQLite blocks, and one thread keeps what is written in order.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="dintero-journal")
        try:
            if self._store is None:
                # Only here, because who has no journal needs no SQLite.
                from ._journal.store import JournalStore

                self._store = await self._in_thread(lambda: JournalStore.open(self.path))
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Write what is still to be written, and close the file; again is no error."""
        if self._store is not None:
            await self._flush()
        store, self._store = self._store, None
        if store is not None and self._owns_store:
            await self._in_thread(store.close)
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    def __repr__(self) -> str:
        return f"<Journal {self.path}, {'closed' if self._store is None else 'open'}>"

    async def counts(self) -> Counts:
        """Return how many rows there are, and what became of them."""
        return await self.run(lambda store: store.counts())

    async def requeue_refused(self) -> int:
        """Let the rows that the server refused be claimed again, with their `ref`; return how many."""
        requeued, _ = await self.run(lambda store: store.requeue_refused())
        return requeued

    async def purge(self) -> int:
        """Erase the personal data of all rows that are settled, and return how many those are.

        What stays is how each ended, its `ref` and its claim's id. Rows that are not settled stay whole.
        """
        return await self.run(lambda store: store.purge())

    async def run(self, work: Callable[[JournalStore], T]) -> T:
        """Run something on the store, in the journal's thread."""
        store = self._open_store()
        return await self._in_thread(lambda: work(store))

    # What a batch uses.

    async def acquire(self, batch: UsesJournal, account_id: str, *, for_requests: bool = False) -> None:
        """Let one batch of this account have the journal; raises `JournalError` where it cannot.

        `for_requests` where the rows are those of a caller, and not those that the journal has.
        """
        for _ in range(_PATIENCE):
            if self._batch is None:
                break
            # A batch whose loop was left ends a moment later.
            await asyncio.sleep(0)
        if self._batch is not None:
            raise JournalError(f"{self.path}: the journal is in use by another batch")
        self._batch, self._writes_wait = batch, False
        try:
            # What the batch before has left belongs to the rows that are counted now.
            await self._flush()
            await self.run(lambda store: _check_input(store, self.path, for_requests=for_requests))
            await self.run(lambda store: store.bind_account(account_id))
            self.next_number = await self.run(lambda store: store.next_number())
            self._writes_wait = True
        except BaseException:
            self.release(batch)
            raise

    def release(self, batch: UsesJournal) -> None:
        """Let another batch have the journal."""
        if self._batch is batch:
            self._batch = None

    @property
    def was_used(self) -> bool:
        """Whether anything was sent before the journal was opened."""
        return self._open_store().was_used

    def digest(self, body: bytes) -> bytes:
        """Return what a claim is recognised by."""
        return self._open_store().digest(body)

    def ref_for(self, number: int, claim: bytes) -> str:
        """Return the `ref` of a row that has none of its own: always the same for the same claim."""
        return self._open_store().ref_for(number, claim)

    async def records(self, first: int, limit: int) -> list[Record]:
        """Return so many rows from this one on."""
        return await self.run(lambda store: store.records(first, limit))

    async def unsettled(self, first: int, limit: int) -> list[Record]:
        """Return so many rows from this one on that have no final outcome."""
        return await self.run(lambda store: store.unsettled(first, limit))

    def write(self, then: WhenWritten, *operations: Operation) -> None:
        """Write these together, after all before; call `then` when they are on disk, or never will be."""
        group = self._waiting[-1]
        count = len(group.written)
        if count >= _MOST and count >= self._width // _MOST_SHARE:
            group = _Group()
            self._waiting.append(group)
        group.operations.extend(operations)
        group.written.append(then)
        if not self._is_writing and len(self._waiting[0].written) >= self._enough:
            self._gather()

    async def _flush(self) -> None:
        """Wait until all is on disk that is to be written at this moment, or never will be."""
        flushed = asyncio.Event()
        self.write(lambda _: flushed.set())
        await flushed.wait()

    def _gather(self) -> None:
        """Write what waits, now or when more has come."""
        loop = asyncio.get_running_loop()
        self._enough = -(-self._width // _GATHERED_SHARE) if self._writes_wait else 0
        if len(self._waiting) > 1 or len(self._waiting[0].written) >= self._enough:
            self._is_writing = True
            # Not at once, so that all that is ready at this moment is one write.
            loop.call_soon(self._write_group)
        elif self._timer is None:
            self._timer = loop.call_later(GATHERING_SECONDS, self._write_what_waits)

    @property
    def _width(self) -> int:
        return 0 if self._batch is None else self._batch.width

    def _write_what_waits(self) -> None:
        self._timer = None
        if not self._is_writing and self._waiting[0].written:
            self._is_writing = True
            self._write_group()

    def _write_group(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._enough = 0
        group = self._waiting.popleft()
        if not self._waiting:
            self._waiting.append(_Group())
        store = self._store
        if store is None:
            self._end_group(group, JournalError(f"{self.path}: the journal is closed"))
            return
        work = asyncio.get_running_loop().run_in_executor(self._thread, store.write, group.operations)
        work.add_done_callback(lambda done: self._group_is_written(done, group))

    def _group_is_written(self, done: asyncio.Future[None], group: _Group) -> None:
        # Nobody cancels it; but what was not written must never count as written.
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is not None and not isinstance(error, JournalError):
            failure = JournalWriteError(f"{self.path}: not written: {type(error).__name__}")
            failure.__cause__ = error
            error = failure
        self._end_group(group, error)

    def _end_group(self, group: _Group, error: JournalError | None) -> None:
        self._is_writing = False
        if self._waiting[0].written:
            self._gather()
        for then in group.written:
            own: JournalError | None = None
            if error is not None:
                # Each caller may raise its own.
                own = copy.copy(error)
                own.__cause__ = error.__cause__
            then(own)

    def _open_store(self) -> JournalStore:
        if self._store is None:
            raise JournalError(f"{self.path}: the journal is not open")
        return self._store

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _check_input(store: JournalStore, path: Path, *, for_requests: bool) -> None:
    if for_requests and store.input is not None:
        raise JournalError(f"{path}: the journal has its rows from {store.input['name']}: resume it")
    if not store.is_input_complete:
        raise JournalError(f"{path}: the journal's input was not read to its end; nothing of it was claimed")
