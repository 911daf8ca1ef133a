"""One call: its attempts within a deadline, paid for from the quota, and what became of its claim."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal, TypeVar

import attrs

from ._generated.models.claim import Claim
from ._operations import ClaimToSend, Operations
from ._pages import ListPage, Page
from ._quota import RetryQuota
from ._reconcile import Earlier, Found, Recovered, find_by_ref, is_ours, settle
from ._retry import Ambiguous, Done, Ended, Failure, NotSent, RetryPolicy, run_attempts
from ._watch import Watch
from .errors import ClaimsError, NoAnswerError, NotSentError, OutcomeUnknownError

T = TypeVar("T")

IfExists = Literal["raise", "return"]

_LOOK_SHARE, _LOOK_SECONDS = 0.2, 1.0
"""What a call in doubt keeps of its time for looking its claim up: this share, at most so many seconds."""


@attrs.frozen
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
    recovered: int = attrs.field(default=0, init=False)
    """Claims whose answer was lost and that were read back."""

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
        first = await self.operations.claim(claim, deadline, watch)
        if isinstance(first, Done):
            # Nothing of what follows is made for a claim that needs none of it.
            self.quota.succeed(repeated=False)
            return Taken(first.value, recovered=False, answer=first.answer)
        ended = await self._run(
            partial(self.operations.claim, claim, deadline, watch),
            deadline,
            repeatable=claim.ref is not None,
            for_claim=True,
            reserve=min(_LOOK_SECONDS, _LOOK_SHARE * (deadline - began)),
            first=first,
        )
        if isinstance(ended.last, Done):
            return Taken(ended.last.value, recovered=False, answer=ended.last.answer)
        if earlier is None:
            earlier = Earlier.POSSIBLE if if_exists == "return" else Earlier.NONE
        if find_by is None:
            find_by = deadline
        outcome = await settle(
            claim,
            ended.last,
            ended.before,
            refused_before=ended.refused_before,
            if_exists=if_exists,
            earlier=earlier,
            find=partial(self._find if watch is None else watch.find, claim, find_by),
            pause=partial(self._pause, find_by),
        )
        if not isinstance(outcome, Recovered):
            unsent = isinstance(ended.last, NotSent) and not isinstance(outcome, OutcomeUnknownError)
            return NotTaken(outcome, unsent)
        self.recovered += 1
        return Taken(outcome.claim, recovered=True)

    async def _find(self, claim: ClaimToSend, deadline: float) -> Found:
        pages = self.pages(lambda: deadline, settling=True)
        return await find_by_ref(pages, str(claim.ref), is_ours=lambda found: is_ours(claim, found))

    async def get(self, claim_id: str, *, deadline: float) -> Claim | ClaimsError:
        """Read a claim by its id."""
        return _read_outcome(
            await self._run(lambda: self.operations.get(claim_id, deadline=deadline), deadline)
        )

    def pages(self, deadline_of: Callable[[], float], *, settling: bool = False) -> ListPage:
        """Return what reads a page of the list, each by the deadline that holds when it is asked for.

        `settling` where it is to find out what became of a claim.
        """

        async def read_page(limit: int, starting_after: str | None) -> Page | ClaimsError:
            deadline = deadline_of()
            if settling and self.clock() >= deadline:
                return NotSentError("no time was left to look the claim up")
            # A look for a claim is one more request that a failure has caused, as a repetition is.
            paid = settling and starting_after is None
            if paid and not await self.quota.take(deadline=deadline):
                return NotSentError("the claim was not looked up, because too many calls fail")
            return _read_outcome(
                await self._run(
                    lambda: self.operations.list_page(
                        limit=limit, starting_after=starting_after, deadline=deadline, settling=settling
                    ),
                    deadline,
                    for_claim=settling,
                    paid=paid,
                )
            )

        return read_page

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
