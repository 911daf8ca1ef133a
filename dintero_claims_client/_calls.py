"""One call: its attempts within a deadline, paid for from the quota, and what became of its claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal, TypeVar

import attrs

from ._generated.models.claim import Claim
from ._observing import Observer, Trace
from ._operations import ClaimToSend, Operations
from ._pages import ListPage, Page
from ._protocol import usable_id
from ._quota import RetryQuota
from ._reconcile import Earlier, Found, Recovered, find_by_ref, is_ours, settle
from ._retry import Ambiguous, Done, Ended, Failure, NotSent, RetryPolicy, run_attempts
from ._waiting import Gathering
from ._watch import Watch
from .errors import ClaimsError, ConfigurationError, NoAnswerError, NotSentError, OutcomeUnknownError
from .events import Ending, Operation

T = TypeVar("T")

IfExists = Literal["raise", "return"]


def check_if_exists(if_exists: object) -> None:
    """Raise `ConfigurationError` if this is none of the two."""
    if if_exists not in ("raise", "return"):
        raise ConfigurationError('if_exists: must be "raise" or "return"')


_LOOK_SHARE, _LOOK_SECONDS = 0.2, 1.0
"""What a call in doubt keeps of its time for looking its claim up: this share, at most so many seconds."""


# Not frozen, because one is made for each claim, and that would take three times as long.
@attrs.define
class Taken:
    """The server has the claim; `recovered` where its answer was lost, and the claim was read back.

    `answer` is the answer as it came, where it was not.
    """

    claim: Claim
    recovered: bool
    answer: bytes | None = None


@attrs.frozen
class NotTaken:
    """The call did not bring the claim; `unsent` where that is because no request of it was executed.

    Otherwise the server refused it, or, with an `OutcomeUnknownError`, it may be taken.
    """

    error: ClaimsError
    unsent: bool


@attrs.define(eq=False, kw_only=True)
class Calls:
    """Runs the calls of a client, safely under any number of them at once.

    How they end is a value; none of this raises. Deadlines are readings of `clock`.
    """

    operations: Operations
    policy: RetryPolicy
    quota: RetryQuota
    read_quota: RetryQuota
    """Reads that fail must not take the claims' repetitions."""
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    random: Callable[[], float]
    observer: Observer
    recovered: int = attrs.field(default=0, init=False)
    """Claims whose answer was lost and that were read back."""
    under_way: Gathering = attrs.field(factory=Gathering, init=False)
    """The calls that have not ended yet."""
    endings: Counter[Ending] = attrs.field(factory=Counter[Ending], init=False)
    """How the claims ended."""

    async def claim(
        self,
        claim: ClaimToSend,
        *,
        deadline: float,
        if_exists: IfExists,
        watch: Watch | None = None,
        earlier: Earlier | None = None,
        find_by: float | None = None,
    ) -> Taken | NotTaken:
        """Claim, and find out what became of it where the answer does not say.

        `watch` looks it up, where that is not to be done by this call alone, again and again until `find_by`,
        by default the deadline. `earlier` where the caller knows it; who asks for what exists may have
        claimed before.
        """
        began = self.clock()
        trace = self.observer.begin(
            "claim_discounts", ref=claim.ref, customer_id=claim.customer_id, of_batch=watch is not None
        )
        ended: Taken | NotTaken | None = None
        self.under_way.enter()
        try:
            first = await self.operations.claim(claim, deadline, watch, trace)
            if isinstance(first, Done):
                # Nothing of what follows is made for a claim that needs none of it.
                self.quota.succeed(repeated=False)
                ended = Taken(first.value, recovered=False, answer=first.answer)
                return ended
            if trace is None:
                trace = self.observer.begin_late(
                    began,
                    # One that was replayed with another token is not known to be.
                    0 if isinstance(first, NotSent) else 1,
                    ref=claim.ref,
                    customer_id=claim.customer_id,
                    of_batch=watch is not None,
                )
            if earlier is None:
                earlier = Earlier.POSSIBLE if if_exists == "return" else Earlier.NONE
            ended = await self._find_out(
                claim,
                first,
                deadline,
                deadline if find_by is None else find_by,
                reserve=min(_LOOK_SECONDS, _LOOK_SHARE * (deadline - began)),
                if_exists=if_exists,
                earlier=earlier,
                watch=watch,
                trace=trace,
            )
            return ended
        finally:
            self.under_way.leave()
            self._count(ended, trace)

    async def _find_out(
        self,
        claim: ClaimToSend,
        first: Failure,
        deadline: float,
        find_by: float,
        *,
        reserve: float,
        if_exists: IfExists,
        earlier: Earlier,
        watch: Watch | None,
        trace: Trace | None,
    ) -> Taken | NotTaken:
        """Go on after a first attempt that did not bring the claim."""
        ended = await self._run(
            partial(self.operations.claim, claim, deadline, watch, trace),
            deadline,
            repeatable=claim.ref is not None,
            for_claim=True,
            reserve=reserve,
            first=first,
            on_retry=None if trace is None else partial(trace.again, "claim_discounts"),
        )
        if isinstance(ended.last, Done):
            return Taken(ended.last.value, recovered=False, answer=ended.last.answer)
        outcome = await settle(
            claim,
            ended.last,
            ended.before,
            refused_before=ended.refused_before,
            if_exists=if_exists,
            earlier=earlier,
            find=partial(self._find, claim, find_by, trace)
            if watch is None
            else partial(watch.find, claim, find_by),
            pause=partial(self._pause, find_by),
        )
        if not isinstance(outcome, Recovered):
            unsent = isinstance(ended.last, NotSent) and not isinstance(outcome, OutcomeUnknownError)
            return NotTaken(outcome, unsent)
        return Taken(outcome.claim, recovered=True)

    def _count(self, ended: Taken | NotTaken | None, trace: Trace | None) -> None:
        """Count how a claim ended; None where its caller went away."""
        ending = _ending(ended)
        self.endings[ending] += 1
        if isinstance(ended, Taken):
            self.recovered += ended.recovered
            if trace is not None:
                claim_id = usable_id({"id": ended.claim.id})
                trace.ended(ending, claim_id=claim_id, recovered=ended.recovered)
        elif trace is not None:
            trace.ended(ending, error=None if ended is None else ended.error)

    async def _find(self, claim: ClaimToSend, deadline: float, trace: Trace | None) -> Found:
        pages = self.pages(lambda: deadline, settling=True, is_part=True, within=trace)
        return await find_by_ref(pages, str(claim.ref), is_ours=lambda found: is_ours(claim, found))

    async def get(self, claim_id: str, *, deadline: float) -> Claim | ClaimsError:
        """Read a claim by its id."""
        trace = self.observer.begin("get_claim")
        return await self._read(
            "get_claim",
            lambda: self.operations.get(claim_id, deadline=deadline, trace=trace),
            deadline,
            trace,
        )

    async def find(self, ref: str, *, deadline: float) -> Found:
        """Look for a claim by its ref: one call, however many pages it reads."""
        trace = self.observer.begin("list_claims", ref=ref)
        found: Found | None = None
        self.under_way.enter()
        try:
            pages = self.pages(lambda: deadline, is_part=True, within=trace)
            found = await find_by_ref(pages, ref)
            return found
        finally:
            self.under_way.leave()
            if trace is not None:
                _tell_read(trace, found)

    def pages(
        self,
        deadline_of: Callable[[], float],
        *,
        settling: bool = False,
        is_part: bool = False,
        within: Trace | None = None,
    ) -> ListPage:
        """Return what reads a page of the list, each by the deadline that holds when it is asked for.

        `settling` where it is to find out what became of a claim; `is_part` of another call, which is watched
        by `within`, if by anybody. Else each page is a call.
        """

        async def read_page(limit: int, starting_after: str | None) -> Page | ClaimsError:
            deadline = deadline_of()
            if settling and self.clock() >= deadline:
                return NotSentError("no time was left to look the claim up")
            # A look for a claim is one more request that a failure has caused, as a repetition is.
            paid = settling and starting_after is None
            if paid and not await self.quota.take(deadline=deadline):
                return NotSentError("the claim was not looked up, because too many calls fail")
            trace = within if is_part else self.observer.begin("list_claims", of_batch=settling)
            return await self._read(
                "list_claims",
                lambda: self.operations.list_page(
                    limit=limit,
                    starting_after=starting_after,
                    deadline=deadline,
                    settling=settling,
                    trace=trace,
                ),
                deadline,
                trace,
                is_part=is_part,
                for_claim=settling,
                paid=paid,
            )

        return read_page

    async def _read(
        self,
        operation: Operation,
        attempt: Callable[[], Awaitable[Done[T] | Failure]],
        deadline: float,
        trace: Trace | None,
        *,
        is_part: bool = False,
        for_claim: bool = False,
        paid: bool = False,
    ) -> T | ClaimsError:
        """Read something; `is_part` of another call, that is counted and watched as a whole."""
        on_retry = None if trace is None else partial(trace.again, operation)
        outcome: T | ClaimsError | None = None
        if not is_part:
            self.under_way.enter()
        try:
            outcome = _read_outcome(
                await self._run(attempt, deadline, for_claim=for_claim, paid=paid, on_retry=on_retry)
            )
            return outcome
        finally:
            if not is_part:
                self.under_way.leave()
                if trace is not None:
                    _tell_read(trace, outcome)

    def _run(
        self,
        attempt: Callable[[], Awaitable[Done[T] | Failure]],
        deadline: float,
        *,
        repeatable: bool = True,
        for_claim: bool = False,
        paid: bool = False,
        reserve: float = 0.0,
        first: Failure | None = None,
        on_retry: Callable[[str, float], None] | None = None,
    ) -> Awaitable[Ended[T]]:
        return run_attempts(
            attempt,
            policy=self.policy,
            repeatable=repeatable,
            deadline=deadline,
            quota=self.quota if for_claim else self.read_quota,
            clock=self.clock,
            sleep=self.sleep,
            random=self.random,
            paid=paid,
            reserve=reserve,
            first=first,
            on_retry=on_retry,
        )

    async def _pause(self, deadline: float, looks: int) -> bool:
        """Wait before another look for a claim, by the retry policy; False when there is to be none."""
        delay = self.policy.backoff(looks, self.random())
        if looks >= self.policy.max_attempts or self.clock() + delay >= deadline:
            return False
        await self.sleep(delay)
        return True


def _read_outcome(ended: Ended[T]) -> T | ClaimsError:
    """Return what a read brought, or the error that it ends with."""
    last = ended.last
    if isinstance(last, Done):
        return last.value
    if isinstance(last, NotSent) and ended.before is not None:
        # Something was sent, and its answer is missing; that says more than the last failure to connect.
        last = ended.before
    match last:
        case NotSent():
            return last.error or NotSentError(f"not sent: {last.reason}", retry_after=last.retry_after)
        case Ambiguous():
            return last.error or NoAnswerError(last.reason, status=last.status, body=last.body)
        case _:
            return last.error


def _tell_read(trace: Trace, outcome: object) -> None:
    """Tell how a read ended; None where its caller went away."""
    if outcome is None:
        trace.ended("cancelled")
    elif not isinstance(outcome, ClaimsError):
        trace.ended("read")
    elif isinstance(outcome, NotSentError):
        trace.ended("not_sent", error=outcome)
    else:
        trace.ended("no_answer" if isinstance(outcome, NoAnswerError) else "refused", error=outcome)


def _ending(ended: Taken | NotTaken | None) -> Ending:
    match ended:
        case None:
            return "cancelled"
        case Taken():
            return "taken"
        case NotTaken(error=OutcomeUnknownError()):
            return "unknown"
        case NotTaken(unsent=True):
            return "not_sent"
        case NotTaken():
            return "refused"
