"""How a batch runs: rows are claimed, so many at once, each exactly once, none stopping another."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import cast

import attrs

from ._adaptive import AdaptiveWindow
from ._batch_rows import BatchRow, BatchRows
from ._calls import Calls, IfExists, Taken
from ._generated.models.claim import Claim
from ._operations import ClaimToSend, FoundClaim
from ._rate import RateLimit
from ._reconcile import Earlier, Found, is_ours, lives
from ._search import ListSearch, is_readable
from ._slots import Place, Slots
from .errors import (
    AuthenticationError,
    ClaimsError,
    ClientStateError,
    ConfigurationError,
    JournalError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    RefConflictError,
)
from .outcomes import Claimed, Outcome, Rejected, Unknown

LONGEST_WISH = 60.0
"""Seconds that the batch pauses because the server asked for it, at most, before it looks again."""

TRIES = 3
"""Calls for one row that leave it unknown while others get answers, before it is given up."""

TRIES_UNSENT = 20
"""The same for calls that are known not to have claimed; it is others that are in the way then."""

SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds between two looks whether the server is there again."""

ORDERED_AHEAD = 4
"""How many times its concurrency an ordered batch runs ahead of a row that takes long."""


@attrs.frozen(kw_only=True)
class BatchSettings:
    """How a batch goes about it; see `ClaimsClient.claim_many`."""

    concurrency: int
    rate: float | None
    ordered: bool
    timeout: float
    patience: float
    if_exists: IfExists
    may_exist: bool
    """Rows of which nothing is known may have been claimed all the same, and refused now for that reason."""


@attrs.frozen(eq=False)
class _Ended:
    """How a row ended; one that is not final stays open in the journal, to be claimed when it is resumed.

    `answer` is what the server said, where that is the claim.
    """

    outcome: Outcome
    is_final: bool = True
    answer: bytes | None = None


class BatchRun:
    """A batch that runs: one task takes rows, and each row under way has one of its own."""

    def __init__(
        self,
        make_rows: Callable[[BatchRun], Awaitable[BatchRows]],
        release_rows: Callable[[BatchRun], None],
        settings: BatchSettings,
        calls: Calls,
        *,
        is_closed: Callable[[], bool],
    ) -> None:
        self._make_rows = make_rows
        self._release_rows = release_rows
        self._settings = settings
        self._calls = calls
        self._is_closed = is_closed
        self.window = AdaptiveWindow(settings.concurrency)
        self._most = settings.concurrency * (ORDERED_AHEAD if settings.ordered else 1)
        self.slots = Slots(window=lambda: self.window.window, most=self._most)
        self.trouble: ClaimsError | None = None
        self._rate = (
            None if settings.rate is None else RateLimit(settings.rate, clock=calls.clock, sleep=calls.sleep)
        )
        self._search = ListSearch(
            calls.pages(lambda: calls.clock() + settings.timeout, settling=True), sleep=calls.sleep
        )
        self._feeder: asyncio.Task[None] | None = None
        self._source_is_awaited = False
        self._source_is_over = False
        self._stopping = asyncio.Event()
        self._error: BaseException | None = None
        self._answered_at = float("-inf")
        self._silent_since: float | None = None
        self._pauses_in_a_row = 0
        self._refusals_in_a_row = 0
        self._ready: deque[Outcome] = deque()
        self._early: dict[int, Outcome] = {}
        self._given = 0
        self._changed = asyncio.Event()
        self._claiming: dict[int, asyncio.Task[None]] = {}
        """By the order in which they were taken."""
        self._open = 0
        """Rows that were taken and have no outcome yet."""
        self._is_fed = False
        self._is_aborted = False
        self._over = asyncio.Event()

    @property
    def width(self) -> int:
        """How many rows may be under way at this moment."""
        return self.window.window

    def stop(self) -> None:
        """Take no more rows, and give up those that wait for the server to come back."""
        if self._stopping.is_set():
            # What a source does when it is cancelled is not to be cancelled too.
            return
        self._source_is_over = True
        self._stopping.set()
        self.slots.stop()
        self._search.stop()
        if (
            self._feeder is not None
            and self._source_is_awaited
            and self._feeder is not asyncio.current_task()
        ):
            # It may wait for a row for ever.
            self._feeder.cancel()

    async def abort(self) -> None:
        """Stop at once, while somebody goes through the outcomes; return when that is over."""
        self.stop()
        self._is_aborted = True
        self._changed.set()
        for task in self._tasks():
            task.cancel()
        await self._over.wait()

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [task for task in (self._feeder, *self._claiming.values()) if task is not None]

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Give the outcomes; raises what ended the batch before its time, after all that was under way."""
        try:
            rows = await self._make_rows(self)
            self._feeder = asyncio.create_task(self._feed(rows))
            while True:
                while self._ready and not self._is_aborted:
                    outcome = self._ready.popleft()
                    self.slots.let_go()
                    yield outcome
                if self._is_aborted or (self._is_fed and not self._open):
                    break
                self._changed.clear()
                await self._changed.wait()
            if self._error is not None:
                raise self._error
        finally:
            # Rows whose intent is being written are not begun any more.
            self._is_aborted = True
            tasks = self._tasks()
            for task in tasks:
                task.cancel()
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._search.aclose()
            finally:
                self._release_rows(self)
                self._over.set()

    async def _feed(self, rows: BatchRows) -> None:
        """Take one row after the other, when there is room for it, and begin it when it has its place.

        Nothing is read ahead but the row that waits for its place.
        """
        taken = 0
        in_hand: tuple[int, BatchRow] | None = None
        try:
            while not self._source_is_over and await self.slots.hold():
                row = await self._next(rows)
                if row is None:
                    self.slots.let_go()
                    break
                in_hand = taken, row
                self._open += 1
                await self._admit(rows, taken, row)
                in_hand, taken = None, taken + 1
        except BaseException as error:
            if self._is_aborted:
                raise
            self._fail(_told(error))
            if in_hand is not None:
                # Nothing was begun of it, and it is told all the same.
                order, row = in_hand
                self._give(order, self._stopped(row, error).outcome)
        finally:
            self._is_fed = True
            self._changed.set()

    async def _admit(self, rows: BatchRows, order: int, row: BatchRow) -> None:
        """Begin a row when it has its place."""
        if row.settled is not None:
            self._end(rows, order, row, _Ended(row.settled))
            return
        if self._rate is not None:
            await self._rate.admit()
        watch, place, begun = _RowWatch(self.window, self._rate), None, False
        try:
            place = await self.slots.enter()
            if place is None:
                self._end(rows, order, row, self._stopped(row))
                return
            # Here, because rows are to be written down in their order.
            rows.begin(row, partial(self._begin, rows, order, row, place, watch))
            begun = True
        finally:
            if not begun:
                watch.end()
                if place is not None:
                    place.leave()

    async def _next(self, rows: BatchRows) -> BatchRow | None:
        """Return the next row of the source; None at its end, and when the batch is stopped."""
        self._source_is_awaited = True
        try:
            row = await rows.next()
        except asyncio.CancelledError:
            if self._feeder is None or not self._stopping.is_set():
                raise
            # By `stop`, and not from outside.
            self._feeder.uncancel()
            return None
        except Exception as error:  # noqa: BLE001 - whatever the source raises is for the consumer
            self._source_is_awaited = False
            self._fail(error)
            return None
        finally:
            self._source_is_awaited = False
        if row is None:
            self._source_is_over = True
            self.slots.end()
        return row

    def _begin(
        self,
        rows: BatchRows,
        order: int,
        row: BatchRow,
        place: Place,
        watch: _RowWatch,
        error: JournalError | None,
    ) -> None:
        """Claim a row, now that it is written down that it is to be sent."""
        if self._is_aborted:
            return
        if error is None:
            task = asyncio.create_task(self._work(rows, order, row, place, watch))
            # With eager tasks it may have ended already.
            if not task.done():
                self._claiming[order] = task
            return
        watch.end()
        place.leave()
        self._fail(error)
        self._end(rows, order, row, self._given_up(row, error, _doubt(row)))

    async def _work(self, rows: BatchRows, order: int, row: BatchRow, place: Place, watch: _RowWatch) -> None:
        try:
            ended = await self._claim(row, place, watch)
        except BaseException as error:
            if self._is_aborted:
                raise
            self._fail(_told(error))
            # No row goes without a word. The journal has it as sent.
            doubt = OutcomeUnknownError("the claim was broken off, and may have been taken", ref=row.ref)
            self._give(order, self._unknown(row, doubt))
            return
        finally:
            watch.end()
            place.leave()
            self._claiming.pop(order, None)
        self._end(rows, order, row, ended)

    def _end(self, rows: BatchRows, order: int, row: BatchRow, ended: _Ended) -> None:
        """Write down how a row ended, and then give it out."""
        outcome = ended.outcome
        if _is_replayed(outcome):
            self._give(order, outcome)
            return
        written = partial(self._written, order, outcome)
        try:
            if ended.is_final:
                rows.end(row, outcome, ended.answer, written)
            else:
                rows.leave_open(row, written)
        except Exception as error:  # noqa: BLE001 - however writing fails, what is known is told
            written(error)

    def _written(self, order: int, outcome: Outcome, error: Exception | None) -> None:
        if error is not None:
            # What is known is told all the same; the journal has the row as sent.
            self._fail(error)
        self._give(order, outcome)

    def _give(self, order: int, outcome: Outcome) -> None:
        if self._settings.ordered:
            self._early[order] = outcome
            while self._given in self._early:
                self._ready.append(self._early.pop(self._given))
                self._given += 1
        else:
            self._ready.append(outcome)
        self._open -= 1
        self._changed.set()

    def _fail(self, error: BaseException) -> None:
        """Stop, and raise this when everything that was under way has been given out."""
        if self._error is None:
            self._error = error
        self.stop()

    async def _claim(self, row: BatchRow, place: Place, watch: _RowWatch) -> _Ended:
        """Return how a row ends."""
        # Rows without one are settled.
        claim = cast("ClaimToSend", row.claim)
        # Calls that failed with the outcome unknown, and those that are known not to have claimed.
        unknown = unsent = 0
        # A ref that was made here exists only if it was sent before; then it is ours, whatever the answer is.
        if_exists: IfExists = "raise" if claim.minted else self._settings.if_exists
        if row.sent_before:
            if_exists = "return"
        # What an earlier call leaves open is open until one finds out, however the next ones end.
        doubt = _doubt(row)
        while True:
            began = self._calls.clock()
            deadline = began + self._settings.timeout
            earlier, find_by = self._earlier(row, claim, doubt), deadline
            if earlier is not Earlier.NONE:
                # A long list takes longer than a call.
                find_by += self._settings.patience
            ended = await self._calls.claim(
                claim,
                deadline=deadline,
                if_exists=if_exists,
                watch=watch,
                find=partial(self._find, claim, find_by, place),
                earlier=earlier,
                find_by=find_by,
            )
            if isinstance(ended, Taken):
                self._answered()
                claimed = self._claimed(row, ended.claim, recovered=ended.recovered)
                return _Ended(claimed, answer=ended.answer)
            error = ended.error
            is_unknown = isinstance(error, OutcomeUnknownError)
            if isinstance(error, OutcomeUnknownError):
                known = await self._find_out(row, claim, error)
                if known is not None:
                    return known
                # It may have been taken by us.
                if_exists, doubt = "return", error
            elif not ended.unsent and not isinstance(error, RateLimitedError | AuthenticationError):
                # Only what the server says to the claim itself is about the claim.
                self._answered()
                return _Ended(self._rejected(row, error))
            if self._is_closed():
                self._fail(ClientStateError("the client was closed during the batch"))
            # At the end nobody else is left who could get an answer.
            is_alone = (
                self._answered_at > began
                or (unknown + unsent > 0 and self._source_is_over)
                or (isinstance(error, OutcomeUnknownError) and 400 <= (error.status or 0) <= 499)
            )
            unknown += is_alone and is_unknown
            unsent += is_alone and not is_unknown
            if unknown >= TRIES or unsent >= TRIES_UNSENT:
                return self._given_up(row, error, doubt)
            place.leave()
            if not await (self._wait_alone(error) if is_alone else self._wait_with_all(error, began)):
                return self._given_up(row, error, doubt)
            if not await place.enter_again():
                return self._given_up(row, error, doubt)

    def _earlier(self, row: BatchRow, claim: ClaimToSend, doubt: OutcomeUnknownError | None) -> Earlier:
        if doubt is not None:
            return Earlier.IN_DOUBT
        if row.sent_before or (self._settings.may_exist and not claim.minted):
            return Earlier.POSSIBLE
        return Earlier.NONE

    async def _find(self, claim: ClaimToSend, find_by: float, place: Place) -> Found:
        # Others may claim meanwhile.
        place.leave()
        return await self._search.find_readable(claim, find_by)

    async def _find_out(self, row: BatchRow, claim: ClaimToSend, error: OutcomeUnknownError) -> _Ended | None:
        """Say what became of a row whose call could not; None where it is to be claimed again."""
        if claim.ref is None or error.taken is False:
            return _Ended(self._unknown(row, error))
        if error.taken is None:
            return None
        found = await self._search.find_until(claim, self._calls.clock() + self._settings.patience)
        if isinstance(found, FoundClaim):
            self._answered()
            if not is_ours(claim, found):
                conflict = RefConflictError("another claim has this ref", status=409, ref=claim.ref)
                return _Ended(self._rejected(row, conflict))
            if not lives(found):
                return _Ended(self._unknown(row, error))
            return _Ended(self._claimed(row, found.model if is_readable(found) else None, recovered=True))
        # A server that says so and does not show it may have been wrong, or have said it to somebody else.
        return None

    async def _wait_alone(self, error: ClaimsError) -> bool:
        """Wait with a row that fails while others do not; False when the batch is stopped meanwhile."""
        seconds = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, _wish(error)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return not self._stopping.is_set()

    async def _wait_with_all(self, error: ClaimsError, began: float) -> bool:
        """Let the whole batch pause, because nothing gets through; False when it is not to go on."""
        # Counted from the first that failed: before that perhaps nobody asked for anything.
        self._silent_since = began if self._silent_since is None else min(began, self._silent_since)
        silent = self._calls.clock() - self._silent_since
        # What the caller has to mend, and no time does.
        is_refused = isinstance(error, AuthenticationError | ConfigurationError)
        self._refusals_in_a_row += is_refused and not self.slots.seconds_paused
        if self._refusals_in_a_row >= TRIES:
            self._fail(error)
        if silent > self._settings.patience:
            self._fail(
                NotSentError(f"the batch was stopped: nothing got through for {silent:.0f} s ({error})")
            )
        if self._stopping.is_set():
            return False
        self.trouble = error
        if not self.slots.seconds_paused:
            # Once for all that failed at the same time.
            self.window.narrow()
            own = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2.0 ** min(self._pauses_in_a_row, 32))
            self.slots.pause(max(_wish(error), own))
            self._pauses_in_a_row += 1
        return True

    def _answered(self) -> None:
        self._answered_at = self._calls.clock()
        self._silent_since = None
        self._pauses_in_a_row = 0
        self._refusals_in_a_row = 0

    def _given_up(self, row: BatchRow, error: ClaimsError, doubt: OutcomeUnknownError | None) -> _Ended:
        return self._not_sent(row, error) if doubt is None else _Ended(self._unknown(row, doubt))

    def _stopped(self, row: BatchRow, error: BaseException | None = None) -> _Ended:
        """Return how a row ends that is not begun any more."""
        if row.settled is not None:
            return _Ended(row.settled)
        if not isinstance(error, ClaimsError):
            error = NotSentError("the batch was stopped before this was sent", ref=row.ref)
        return self._given_up(row, error, _doubt(row))

    def _not_sent(self, row: BatchRow, error: ClaimsError) -> _Ended:
        return _Ended(self._rejected(row, error), is_final=False)

    @staticmethod
    def _claimed(row: BatchRow, claim: Claim | None, *, recovered: bool) -> Claimed:
        return Claimed(request=row.request, claim=claim, ref=row.ref, row=row.number, recovered=recovered)

    @staticmethod
    def _rejected(row: BatchRow, error: ClaimsError) -> Rejected:
        return Rejected(request=row.request, error=error, ref=row.ref, row=row.number)

    @staticmethod
    def _unknown(row: BatchRow, error: OutcomeUnknownError) -> Unknown:
        return Unknown(request=row.request, error=error, ref=row.ref, row=row.number)


class _RowWatch:
    """Lets the requests for a row keep the rate, and tells the window how they end."""

    __slots__ = ("_epoch", "_is_awaited", "_rate", "_window")

    def __init__(self, window: AdaptiveWindow, rate: RateLimit | None) -> None:
        self._window = window
        self._rate = rate
        self._is_awaited = rate is not None
        self._epoch = window.epoch

    async def before_request(self) -> None:
        if self._rate is not None:
            await self._rate.wait()
            self.end()
        self._epoch = self._window.epoch

    def after_request(self, status: int | None, seconds: float) -> None:
        self._window.ended(self._epoch, status=status, seconds=seconds)

    def end(self) -> None:
        """Expect no first turn any longer."""
        if self._is_awaited and self._rate is not None:
            self._is_awaited = False
            self._rate.dismiss()


def _is_replayed(outcome: Outcome | None) -> bool:
    return isinstance(outcome, Claimed | Rejected) and outcome.replayed


def _doubt(row: BatchRow) -> OutcomeUnknownError | None:
    """Return what a row ends with that an earlier run sent, if nothing is found out."""
    if not row.marked:
        return None
    return OutcomeUnknownError(
        "the claim was sent by an earlier run, and what became of it could not be found out", ref=row.ref
    )


def _told(error: BaseException) -> BaseException:
    """Return what the consumer is told where a task of the batch ends and nobody has stopped the batch."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        # Raised as it is, it would look as if the consumer had been cancelled.
        return ClientStateError("the batch was cancelled from inside: is there a timeout around a `yield`?")
    return error


def _wish(error: ClaimsError) -> float:
    """Return for how many seconds the server asked to be left alone."""
    seconds: object = getattr(error, "retry_after", None)
    return min(seconds, LONGEST_WISH) if isinstance(seconds, float) else 0.0
