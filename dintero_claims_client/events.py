"""What a client tells those who watch it: small frozen events, given to a function of theirs.

    client = ClaimsClient.from_env(on_event=print)

They hold neither secrets nor customers, and nothing of what the server says in words, which may name one. The
function is called on the client's event loop and is to return at once; what it raises is logged, and has no
effect on the call. Calls that are refused before they begin (`InvalidClaimError`, `ClientStateError`) have no
events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

__all__ = [
    "AttemptEnded",
    "AttemptSent",
    "CallEnded",
    "Ending",
    "Event",
    "EventHook",
    "Operation",
    "Paused",
    "Refreshed",
    "Retried",
]

Operation: TypeAlias = Literal["claim_discounts", "get_claim", "list_claims", "token"]
"""What a request asks for, by the contract's operation ids."""

Ending: TypeAlias = Literal["taken", "read", "refused", "not_sent", "unknown", "no_answer", "cancelled"]
"""How a call ended.

A claim is `taken`, `refused`, `not_sent` or `unknown`; what only reads has been `read`, `refused`,
`not_sent` or left with `no_answer`. `cancelled` where the caller went away: a claim may have been taken then.
"""


@attrs.frozen(kw_only=True)
class AttemptSent:
    """A request is handed to the network.

    `call` is the same for all events of a call, and None for a token request, which is for all calls.
    `operation` is what the request asks for: a claim whose outcome is open reads lists too. `attempt` counts
    the call's requests for that, from 1. `ref` is that of the claim, or of the one that is looked for.
    """

    operation: Operation
    call: int | None
    attempt: int
    ref: str | None = None


@attrs.frozen(kw_only=True)
class AttemptEnded:
    """A request has its answer, or will get none; fields as of `AttemptSent`.

    `status` is that of the answer, None where there was none; then `reason` says why. `seconds` is how long
    the request took.
    """

    operation: Operation
    call: int | None
    attempt: int
    seconds: float
    status: int | None = None
    reason: str | None = None
    ref: str | None = None


@attrs.frozen(kw_only=True)
class Retried:
    """A request is sent again now, after a wait of `delay` seconds, because the last one ended so (`reason`).

    Other fields are as of `AttemptSent`; `attempt` is the one that is repeated. Another look for a claim
    whose outcome is open is not told as one.
    """

    operation: Operation
    call: int
    attempt: int
    reason: str
    delay: float
    ref: str | None = None


@attrs.frozen(kw_only=True)
class Refreshed:
    """An access token was asked for, which took `seconds`; `reason` is why there is none, else None."""

    seconds: float
    reason: str | None = None


@attrs.frozen(kw_only=True)
class Paused:
    """The server asked to slow down, and all calls of the client pause for so many seconds.

    Or a batch, of which nothing gets through, pauses as a whole.
    """

    seconds: float


@attrs.frozen(kw_only=True)
class CallEnded:
    """A call has ended: `list_claims` is one for each page, `find_claim` one `list_claims` with a `ref`.

    `attempts` counts its requests, those for looking its claim up among them; `waited` is how many of its
    `seconds` it waited for a connection, None where nobody counted. `status` and `error` (the name of its
    class) are of the error that it ended with; `recovered` where the claim was taken, its answer lost, and
    the claim read back.
    """

    operation: Operation
    call: int
    ending: Ending
    attempts: int
    seconds: float
    waited: float | None
    ref: str | None = None
    claim_id: str | None = None
    status: int | None = None
    error: str | None = None
    recovered: bool = False


Event: TypeAlias = AttemptSent | AttemptEnded | Retried | Refreshed | Paused | CallEnded
"""What is told."""

EventHook: TypeAlias = Callable[[Event], None]
"""Is called with each event; an `async def` is refused, because nobody would await it."""
