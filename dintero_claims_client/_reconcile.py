"""From how a claim's attempts ended to what became of the claim.

What is ambiguous is looked up before it is reported. The API has no filter by `ref`, so looking up is a
walk through the list, with bounds.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Literal

import attrs

from ._generated.models.claim import Claim
from ._operations import ClaimToSend, FoundClaim
from ._pages import PAGE_SIZE, ListPage, walk
from ._protocol import same_claim, usable_id
from ._retry import Ambiguous, Failure, NotSent, Refused
from .errors import (
    APIStatusError,
    ClaimsError,
    NotSentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RefConflictError,
)

MAX_PAGES = 20


class Absence(Enum):
    """How a claim was not found."""

    WHOLE_LIST = "the list has no claim with this ref"
    BOUND_REACHED = "the pages that were read have none"


Found = FoundClaim | ClaimsError | Absence
Find = Callable[[], Awaitable[Found]]
"""Looks for a claim once."""


async def find_by_ref(
    list_page: ListPage, ref: str, *, is_ours: Callable[[FoundClaim], bool] = lambda _: True
) -> Found:
    """Look for the claim with this ref: ours before another's, and one that lives before one that is deleted.

    Reads at most `MAX_PAGES` pages.
    """
    best: FoundClaim | None = None
    pages = 0
    async for page in walk(list_page, page_size=PAGE_SIZE):
        if isinstance(page, ClaimsError):
            return best or page
        for found in page:
            if found.raw.get("ref") == ref and usable_id(found.raw) is not None and found.model is not None:
                ours = is_ours(found)
                if ours and lives(found):
                    return found
                if best is None or (ours and not is_ours(best)):
                    best = found
        pages += 1
        if pages == MAX_PAGES:
            return best or Absence.BOUND_REACHED
    return best or Absence.WHOLE_LIST


class Earlier(Enum):
    """What is known of calls that may have claimed the same before this one."""

    NONE = "none did"
    POSSIBLE = "one may have, long ago"
    IN_DOUBT = "one may have, just before"


@attrs.frozen
class Recovered:
    """The claim was taken, and its answer was lost: here it is, read back."""

    claim: Claim


async def settle(
    claim: ClaimToSend,
    last: Failure,
    before: Ambiguous | None,
    *,
    refused_before: bool,
    if_exists: Literal["raise", "return"],
    earlier: Earlier,
    find: Find,
    pause: Callable[[int], Awaitable[bool]],
) -> Recovered | ClaimsError:
    """Say what became of a claim whose last attempt did not bring its answer.

    `before` is the last attempt before that may have been taken: a refusal is believed only when there is
    none. `refused_before` where an attempt before was refused: a conflict may be with that one. `find` looks
    for the claim once; `pause` waits before another look, given the number of the one before, and says
    whether there is to be one.
    """
    ref = claim.ref
    conflict = isinstance(last, Refused) and isinstance(last.error, RefConflictError)
    # Nobody else can have used a ref that was made here, so its conflict is with an own request that the
    # network repeated.
    in_doubt_now = before is not None or (
        conflict and ref is not None and (claim.minted or refused_before or if_exists == "return")
    )
    if not in_doubt_now and not isinstance(last, Ambiguous):
        if isinstance(last, NotSent):
            return _plain_error(last, ref)
        # That it was claimed before may be why it is refused now.
        again = earlier is not Earlier.NONE and last.error.status not in _ABOUT_THE_CALLER
        if not again and not _is_of_a_gateway(last.error.status):
            return last.error
        if ref is None:
            if last.error.status in _NOT_EXECUTED_HERE or not _is_of_a_gateway(last.error.status):
                return last.error
            return _unknown(last, before, ref, "the claim may have been taken", taken=None)
        return await _look_behind(claim, last, find, pause, in_doubt=earlier is Earlier.IN_DOUBT)
    found = await _look(find, pause) if ref is not None else None
    if isinstance(found, FoundClaim):
        if not is_ours(claim, found):
            return _conflict(last, ref)
        if lives(found):
            return Recovered(found.claim)
        return _unknown(last, before, ref, "the claim was taken, and has been deleted since", taken=False)
    if conflict:
        where = ": it is further down the list than a call looks" if found is Absence.BOUND_REACHED else ""
        return _unknown(
            last,
            before,
            ref,
            f"the ref is taken, and its claim could not be read to compare it{where}",
            taken=True,
        )
    return _unknown(last, before, ref, "the claim may have been taken", taken=None)


async def _look_behind(
    claim: ClaimToSend,
    last: Refused,
    find: Find,
    pause: Callable[[int], Awaitable[bool]],
    *,
    in_doubt: bool,
) -> Recovered | ClaimsError:
    """Look whether a claim that is refused has been taken all the same."""
    # A gateway may have asked just now, and a list may lag behind that; what was claimed long ago is in it.
    most = math.inf if in_doubt else _LOOKS_BEHIND_A_GATEWAY if _is_of_a_gateway(last.error.status) else 1
    found = await _look(find, pause, most=most)
    if isinstance(found, FoundClaim):
        if is_ours(claim, found) and lives(found):
            return Recovered(found.claim)
        if not is_ours(claim, found) or not in_doubt:
            return last.error
        return _unknown(last, None, claim.ref, "the claim was taken, and has been deleted since", taken=False)
    if found is Absence.WHOLE_LIST:
        return last.error
    if (
        isinstance(found, PermissionDeniedError)
        and isinstance(last.error, PermissionDeniedError)
        and not in_doubt
    ):
        # These credentials may do nothing at all, so they have not claimed before either.
        return last.error
    return _unknown(last, None, claim.ref, "the claim may have been taken", taken=None)


async def _look(find: Find, pause: Callable[[int], Awaitable[bool]], *, most: float = math.inf) -> Found:
    """Look for a claim; again while the whole list does not show it, which may lag behind.

    Also again where the list is refused for no reason that a list has, because such an answer may be one to
    another request.
    """
    looks = 1
    while True:
        found = await find()
        if found is not Absence.WHOLE_LIST and type(found) is not APIStatusError:
            return found
        if (looks >= most and found is Absence.WHOLE_LIST) or not await pause(looks):
            return found
        looks += 1


_LOOKS_BEHIND_A_GATEWAY = 4
"""Three waits between them, by default up to 0.7 seconds together; most such refusals are what they say."""


def _is_of_a_gateway(status: int) -> bool:
    """Say whether a refusal comes from something in front of the API, which may have asked the API before.

    A 303 even means that the request was executed; 499 and 460 are gateways whose client went away.
    """
    return 300 <= status <= 399 or status in (460, 499)


_ABOUT_THE_CALLER = (401, 429)
"""Refusals that have nothing to do with the claim."""

_NOT_EXECUTED_HERE = (301, 307, 308)
"""The redirects that ask for the same request elsewhere. After a POST 302 is used as 303 is."""


def is_ours(claim: ClaimToSend, found: FoundClaim) -> bool:
    """Say whether a claim with our claim's ref is our claim."""
    # Nobody else can have used a ref that was made here, however the server writes the claim down.
    return claim.minted or same_claim(claim.body, found.raw)


def lives(found: FoundClaim) -> bool:
    """Say whether a claim has not been deleted."""
    return found.raw.get("deleted_at") is None


def _plain_error(last: NotSent, ref: str | None) -> ClaimsError:
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
