"""How a batch runs: rows are claimed, so many at once, each exactly once, none stopping another."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
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
        self.rate = (
            None if settings.rate is None else RateLimit(settings.rate, clock=calls.clock, sleep=calls.sleep)
        )
        self.search = ListSearch(
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
        self._is_begun = False
        self._is_fed = False
        self._is_aborted = False
        self._over = asyncio.Event()

    async def until_over(self) -> None:
        """Wait until it is over; at once where nobody has begun to go through the outcomes."""
        if self._is_begun:
            await self._over.wait()

    @property
    def width(self) -> int:
        """How many rows may be under way at this moment."""
        return self.window.window

    def stop(self) -> None:
        """Take no more rows, and give up those that wait for the server to come back.

        What became of the others is found out, for as long as one call may take.
        """
        if self._stopping.is_set():
            # What a source does when it is cancelled is not to be cancelled too.
            return
        self._source_is_over = True
        self._stopping.set()
        self.slots.stop()
        self.search.stop(self._calls.clock() + self._settings.timeout)
        if (
            self._feeder is not None
            and self._source_is_awaited
            and self._feeder is not asyncio.current_task()
        ):
            # It may wait for a row for ever.
            self._feeder.cancel()

    def drain(self) -> None:
        """Stop, because the client takes no more; who goes through it is told if there were more."""
        if self._source_is_over:
            self.stop()
        else:
            self._fail(ClientStateError("the client was drained during the batch, which may have more rows"))

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
        self._is_begun = True
        try:
            self._rows = await self._make_rows(self)
            self._feeder = asyncio.create_task(self._feed())
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
                await self.search.aclose()
            finally:
                self._release_rows(self)
                self._over.set()

    async def _feed(self) -> None:
        """Take one row after the other, when there is room for it, and begin it when it has its place.

        Nothing is read ahead but the row that waits for its place.
        """
        taken = 0
        in_hand: _Turn | None = None
        try:
            while not self._source_is_over and await self.slots.hold():
                row = await self._next()
                if row is None:
                    self.slots.let_go()
                    break
                in_hand = _Turn(self, row, taken)
                taken += 1
                self._open += 1
                await self._admit(in_hand)
                in_hand = None
        except BaseException as error:
            if self._is_aborted:
                raise
            self._fail(_told(error))
            if in_hand is not None:
                # Nothing was begun of it, and it is told all the same.
                self._give(in_hand, self._stopped(in_hand.row, error).outcome)
        finally:
            self._is_fed = True
            self._changed.set()

    async def _admit(self, turn: _Turn) -> None:
        """Begin a row when it has its place."""
        row, begun = turn.row, False
        if row.settled is not None:
            self._end(turn, _Ended(row.settled))
            return
        if self.rate is not None:
            await self.rate.admit()
            turn.is_awaited = True
        try:
            turn.place = await self.slots.enter()
            if turn.place is None:
                self._end(turn, self._stopped(row))
                return
            # Here, because rows are to be written down in their order.
            self._rows.begin(row, turn.begin)
            begun = True
        finally:
            if not begun:
                turn.end()

    async def _next(self) -> BatchRow | None:
        """Return the next row of the source; None at its end, and when the batch is stopped."""
        self._source_is_awaited = True
        try:
            row = await self._rows.next()
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

    def begin(self, turn: _Turn, error: JournalError | None) -> None:
        """Claim a row, now that it is written down that it is to be sent."""
        if self._is_aborted:
            return
        row = turn.row
        if error is None:
            task = asyncio.create_task(self._work(turn))
            # With eager tasks it may have ended already.
            if not task.done():
                self._claiming[turn.order] = task
            return
        turn.end()
        self._fail(error)
        self._end(turn, self._given_up(row, error, _doubt(row)))

    async def _work(self, turn: _Turn) -> None:
        row = turn.row
        try:
            ended = await self._claim(turn)
        except BaseException as error:
            if self._is_aborted:
                raise
            self._fail(_told(error))
            # No row goes without a word. The journal has it as sent.
            doubt = OutcomeUnknownError("the claim was broken off, and may have been taken", ref=row.ref)
            self._give(turn, self._unknown(row, doubt))
            return
        finally:
            turn.end()
            self._claiming.pop(turn.order, None)
        self._end(turn, ended)

    def _end(self, turn: _Turn, ended: _Ended) -> None:
        """Write down how a row ended, and then give it out."""
        outcome = turn.outcome = ended.outcome
        if _is_replayed(outcome):
            self._give(turn, outcome)
            return
        try:
            if ended.is_final:
                self._rows.end(turn.row, outcome, ended.answer, turn.written)
            else:
                self._rows.leave_open(turn.row, turn.written)
        except Exception as error:  # noqa: BLE001 - however writing fails, what is known is told
            self.written(turn, error)

    def written(self, turn: _Turn, error: Exception | None) -> None:
        """Give out how a row ended, now that it is written down, or that it is known that it is not."""
        if error is not None:
            # What is known is told all the same; the journal has the row as sent, or does not know it.
            self._fail(error)
        self._give(turn, cast("Outcome", turn.outcome))

    def _give(self, turn: _Turn, outcome: Outcome) -> None:
        if self._settings.ordered:
            self._early[turn.order] = outcome
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

    async def _claim(self, turn: _Turn) -> _Ended:
        """Return how a row ends."""
        row, place = turn.row, cast("Place", turn.place)
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
                watch=turn,
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

    async def _find_out(self, row: BatchRow, claim: ClaimToSend, error: OutcomeUnknownError) -> _Ended | None:
        """Say what became of a row whose call could not; None where it is to be claimed again."""
        if claim.ref is None or error.taken is False:
            return _Ended(self._unknown(row, error))
        if error.taken is None:
            return None
        found = await self.search.find_until(claim, self._calls.clock() + self._settings.patience)
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
            seconds = max(_wish(error), own)
            self.slots.pause(seconds)
            self._calls.observer.paused(seconds)
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


class _Turn:
    """A row's turn, from when it is taken until it is given out.

    `order` counts them; `place` is its place among those under way; `is_awaited` while the rate keeps a
    moment for its first request.
    """

    __slots__ = ("_epoch", "_run", "is_awaited", "order", "outcome", "place", "row")

    def __init__(self, run: BatchRun, row: BatchRow, order: int) -> None:
        self._run = run
        self._epoch = run.window.epoch
        self.row = row
        self.order = order
        self.place: Place | None = None
        self.is_awaited = False
        self.outcome: Outcome | None = None

    def begin(self, error: JournalError | None) -> None:
        """Begin, now that the row is written down; see `WhenWritten`."""
        self._run.begin(self, error)

    def written(self, error: JournalError | None) -> None:
        """Be given out, now that the outcome is written down; see `WhenWritten`."""
        self._run.written(self, error)

    async def before_request(self) -> None:
        """Keep the rate; see `Watch`."""
        if self._run.rate is not None:
            await self._run.rate.wait()
            self._dismiss()
        self._epoch = self._run.window.epoch

    def after_request(self, status: int | None, seconds: float) -> None:
        """Tell the window how a request ended; see `Watch`."""
        self._run.window.ended(self._epoch, status=status, seconds=seconds)

    async def find(self, claim: ClaimToSend, deadline: float) -> Found:
        """Look for the claim together with those of other rows; see `Watch`."""
        self._leave()
        return await self._run.search.find_readable(claim, deadline)

    def end(self) -> None:
        """Let others have the place, and the moment that the rate kept for it."""
        self._dismiss()
        self._leave()

    def _leave(self) -> None:
        if self.place is not None:
            self.place.leave()

    def _dismiss(self) -> None:
        if self.is_awaited and self._run.rate is not None:
            self.is_awaited = False
            self._run.rate.dismiss()


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
