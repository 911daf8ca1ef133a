"""From how a claim's attempts ended to what became of the claim.

What is ambiguous is looked up before it is reported. The API has no filter by `ref`, so looking up is a
walk through the list, with bounds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

import attrs

from ._generated.models.claim import Claim
from ._operations import ClaimToSend, FoundClaim
from ._protocol import same_claim, usable_id
from ._retry import Ambiguous, Failure, NotSent, Refused
from .errors import ClaimsError, NotSentError, OutcomeUnknownError, RefConflictError

MAX_PAGES = 20
PAGE_SIZE = 100

Page = list[FoundClaim]
ListPage = Callable[[int, str | None], Awaitable[Page | ClaimsError]]
"""Reads a page: its size, and the id after which it starts; an error where that cannot be done."""


async def walk(list_page: ListPage, *, page_size: int) -> AsyncIterator[Page | ClaimsError]:
    """Give the account's pages, each with only the claims that no page before had.

    Ends at a page that brings nothing new, because a server may repeat itself for ever, and after an error.
    A page that is not full is not the end: how many a server gives is its own choice.
    """
    seen: set[str] = set()
    cursor: str | None = None
    while True:
        page = await list_page(page_size, cursor)
        if isinstance(page, ClaimsError):
            yield page
            return
        new: Page = []
        for found in page:
            claim_id = usable_id(found.raw)
            if claim_id not in seen:
                new.append(found)
            if claim_id is not None and claim_id not in seen:
                seen.add(claim_id)
                cursor = claim_id
        yield new
        # Without an id that is new there is nothing to go on from.
        if not any(usable_id(found.raw) for found in new):
            return


async def find_by_ref(list_page: ListPage, ref: str) -> FoundClaim | ClaimsError | None:
    """Return the claim with this ref, one that is not deleted before one that is; None when none is found.

    Reads at most `MAX_PAGES` pages, so None does not prove that there is none.
    """
    deleted: FoundClaim | None = None
    pages = 0
    async for page in walk(list_page, page_size=PAGE_SIZE):
        if isinstance(page, ClaimsError):
            return deleted or page
        for found in page:
            if found.raw.get("ref") == ref and usable_id(found.raw) is not None:
                if found.raw.get("deleted_at") is None:
                    return found
                deleted = found
        pages += 1
        if pages == MAX_PAGES:
            break
    return deleted


@attrs.frozen
class Recovered:
    """The claim was taken, and its answer was lost: here it is, read back."""

    claim: Claim


async def settle(
    claim: ClaimToSend,
    last: Failure,
    before: Ambiguous | None,
    *,
    if_exists: Literal["raise", "return"],
    find: Callable[[str], Awaitable[FoundClaim | ClaimsError | None]],
) -> Recovered | ClaimsError:
    """Say what became of a claim whose last attempt did not bring its answer.

    `before` is the last attempt before that may have been taken: a refusal is believed only when there is
    none.
    """
    ref = claim.ref
    conflict = isinstance(last, Refused) and isinstance(last.error, RefConflictError)
    # Nobody else can have used a ref that was made here, so its conflict is with an own request that the
    # network repeated.
    in_doubt = before is not None or (conflict and (claim.minted or if_exists == "return"))
    if not in_doubt and not isinstance(last, Ambiguous):
        return _plain_error(last, ref)
    found = await find(ref) if ref is not None else None
    if isinstance(found, FoundClaim):
        if not same_claim(claim.body, found.raw):
            return _conflict(last, ref)
        if found.raw.get("deleted_at") is None:
            return Recovered(found.claim)
        return _unknown(last, before, ref, "the claim was taken, and has been deleted since", taken=False)
    if conflict:
        return _unknown(
            last, before, ref, "the ref is taken, and its claim could not be read to compare it", taken=True
        )
    return _unknown(last, before, ref, "the claim may have been taken", taken=None)


def _plain_error(last: NotSent | Refused, ref: str | None) -> ClaimsError:
    if isinstance(last, Refused):
        return last.error
    return last.error or NotSentError(f"not sent: {last.reason}", ref=ref, retry_after=last.retry_after)


def _conflict(last: Failure, ref: str | None) -> RefConflictError:
    if isinstance(last, Refused) and isinstance(last.error, RefConflictError):
        return last.error
    # The server did not say so this time, but the claim that it showed does.
    return RefConflictError("another claim has this ref", status=409, ref=ref)


def _unknown(
    last: Failure,
    before: Ambiguous | None,
    ref: str | None,
    what: str,
    *,
    taken: bool | None,
) -> OutcomeUnknownError:
    status: int | None = None
    body = b""
    if isinstance(last, Refused):
        why, status, body = str(last.error), last.error.status, last.error.body
    elif isinstance(last, Ambiguous):
        why, status, body = last.reason, last.status, last.body
    else:
        why = last.reason
    if before is not None and status is None:
        why, status, body = f"{before.reason}, then {why}", before.status, before.body
    return OutcomeUnknownError(
        f"{what} ({why})", ref=ref, status=status, taken=taken, retry_after=last.retry_after, body=body
    )
