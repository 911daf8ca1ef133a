"""Going through the list of an account's claims, page by page."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from ._operations import FoundClaim
from ._protocol import usable_id
from .errors import ClaimsError

PAGE_SIZE = 100

Page = list[FoundClaim]
ListPage = Callable[[int, str | None], Awaitable[Page | ClaimsError]]
"""Reads a page: its size, and the id after which it starts; an error where that cannot be done."""

_REMEMBERED = 10_000


async def walk(list_page: ListPage, *, page_size: int) -> AsyncIterator[Page | ClaimsError]:
    """Give the account's pages, each with only the claims that no page before had.

    Ends at a page that brings nothing new, where the list begins again, because a server may repeat itself
    for ever, and after an error. A page that is not full is not the end: how many a server gives is its own
    choice. Of a list of any length only some ids are remembered, so that one which comes again after 10,000
    others may be given twice.
    """
    seen = _Seen(_REMEMBERED)
    cursor: str | None = None
    while True:
        page = await list_page(page_size, cursor)
        if isinstance(page, ClaimsError):
            yield page
            return
        new: Page = []
        goes_on = False
        for found in page:
            claim_id = usable_id(found.raw)
            if claim_id is None:
                new.append(found)
            elif seen.add(claim_id):
                new.append(found)
                # Without an id that is new there is nothing to go on from.
                cursor, goes_on = claim_id, True
        yield new
        if not goes_on or seen.began_again:
            return


class _Seen:
    """The ids that were seen last, and one from further back, by which it shows that a list begins again."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._last: set[str] = set()
        self._order: deque[str] = deque()
        self._count = 0
        self._mark: str | None = None
        self._marked_at = 1
        self.began_again = False

    def add(self, claim_id: str) -> bool:
        """Remember an id; False for one that is known."""
        if claim_id in self._last:
            return False
        if claim_id == self._mark:
            self.began_again = True
            return False
        self._last.add(claim_id)
        self._order.append(claim_id)
        if len(self._order) > self._most:
            self._last.remove(self._order.popleft())
        self._count += 1
        if self._count == 2 * self._marked_at:
            # Each time twice as far on, so that a circle of any length comes by (Brent's algorithm).
            self._mark, self._marked_at = claim_id, self._count
        return True
