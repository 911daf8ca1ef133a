"""Finding claims in the whole list: one walk for all that are looked for.

A call looks through 2,000 claims at most. In a batch, claims are found that are further down, because what a
walk costs is shared.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial

from ._operations import ClaimToSend, FoundClaim
from ._pages import PAGE_SIZE, ListPage, walk
from ._protocol import usable_id
from ._reconcile import Absence, Found, is_ours, lives
from .errors import ClaimsError, NotSentError

GATHERING_SECONDS = 0.1
"""How long a walk waits for others that look for a claim; it takes longer than that itself where it is
needed."""


_Wanted = list[tuple[ClaimToSend, asyncio.Future[Found]]]


class ListSearch:
    """Looks claims up by their `ref`, for any number of callers on one event loop."""

    def __init__(self, list_page: ListPage, *, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._list_page = list_page
        self._sleep = sleep
        self._wanted: _Wanted = []
        self._task: asyncio.Task[None] | None = None
        self._stopped = False
        self._until: asyncio.TimerHandle | None = None

    async def find_readable(self, claim: ClaimToSend, deadline: float) -> Found:
        """Look for a claim that can be read; else as `find_until`."""
        found = await self.find_until(claim, deadline)
        return Absence.BOUND_REACHED if isinstance(found, FoundClaim) and not is_readable(found) else found

    async def find_until(self, claim: ClaimToSend, deadline: float) -> Found:
        """Return the claim with the same `ref`: ours before another's, living before deleted.

        It may be one that cannot be read, where there is no other. The deadline is a reading of the loop's
        clock.
        """
        if self._stopped:
            return _not_looked(claim)
        found: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._wanted.append((claim, found))
        if self._task is None:
            self._task = asyncio.create_task(self._search())
        try:
            async with asyncio.timeout_at(deadline):
                return await found
        except TimeoutError:
            return NotSentError("the claim could not be looked up in time")

    def stop(self, at: float) -> None:
        """Look until then, and no longer: a list may be without end. A reading of the loop's clock."""
        if self._until is None:
            self._until = asyncio.get_running_loop().call_at(at, self._stop)

    def _stop(self) -> None:
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
        # Here, because a task that is cancelled before it begins does not come to its `finally`.
        _answer(self._wanted, _not_looked)

    async def aclose(self) -> None:
        """Stop looking; whoever waits must have been cancelled."""
        if self._until is not None:
            self._until.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _search(self) -> None:
        wanted: _Wanted = []
        found: Callable[[ClaimToSend], Found] = _not_looked
        try:
            while self._wanted:
                await self._sleep(GATHERING_SECONDS)
                wanted, self._wanted = self._wanted, []
                found = await self._walk(wanted)
                _answer(wanted, found)
        finally:
            # Whatever went wrong, nobody waits for ever.
            _answer(wanted + self._wanted, _not_looked)
            self._wanted = []
            self._task = None

    async def _walk(self, wanted: _Wanted) -> Callable[[ClaimToSend], Found]:
        """Go through the list, until all is found or nobody waits any more.

        What is found is told at once, because a long list takes longer than most can wait.
        """
        claims = {str(claim.ref): claim for claim, _ in wanted}
        waiting: defaultdict[str, _Wanted] = defaultdict(list)
        for claim, answer in wanted:
            waiting[str(claim.ref)].append((claim, answer))
        best: dict[str, FoundClaim] = {}
        end: ClaimsError | Absence = Absence.WHOLE_LIST
        async for page in walk(self._list_page, page_size=PAGE_SIZE):
            if isinstance(page, ClaimsError):
                end = page
                break
            for one in page:
                ref = one.raw.get("ref")
                if not isinstance(ref, str) or ref not in waiting:
                    continue
                rank = _rank(claims[ref], one)
                if ref not in best or rank > _rank(claims[ref], best[ref]):
                    best[ref] = one
                if rank == _BEST:
                    _answer(waiting.pop(ref), partial(_same, one))
            if all(answer.done() for _, answer in wanted):
                break
        return lambda claim: best.get(str(claim.ref), end)


def is_readable(found: FoundClaim) -> bool:
    """Say whether a claim in the list can be given to anybody."""
    return usable_id(found.raw) is not None and found.model is not None


def _rank(claim: ClaimToSend, found: FoundClaim) -> tuple[bool, bool, bool]:
    return is_ours(claim, found), lives(found), is_readable(found)


_BEST = (True, True, True)


def _answer(wanted: _Wanted, found: Callable[[ClaimToSend], Found]) -> None:
    for claim, answer in wanted:
        if not answer.done():
            answer.set_result(found(claim))


def _same(found: Found, _claim: ClaimToSend) -> Found:
    return found


def _not_looked(_claim: ClaimToSend) -> Found:
    return NotSentError("the claim was not looked up")
