"""What a client says of itself, without asking anybody: what it has done, and how it is."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

__all__ = ["ClientHealth", "ClientStats", "State"]

State: TypeAlias = Literal["new", "open", "draining", "closed"]
"""`new` until the first call, or until it is entered."""


@attrs.frozen(kw_only=True)
class ClientStats:
    """What a client has done since it was made.

    `taken`, `refused`, `not_sent` and `unknown` count the claims that ended so, rows of batches once for each
    call that they took; `cancelled` those whose caller went away. `claim_requests` counts claims as they were
    sent, repetitions among them; `recovered` the claims whose answer was lost and that were read back;
    `token_requests` the requests to the token endpoint. `in_flight` are the calls under way at this moment,
    `waiting` those of them that wait for a connection; `retries_left` is how many repetitions all calls
    together could make now: it is 500 in good times, and 0 in an outage.
    """

    claim_requests: int = 0
    taken: int = 0
    refused: int = 0
    not_sent: int = 0
    unknown: int = 0
    cancelled: int = 0
    recovered: int = 0
    token_requests: int = 0
    in_flight: int = 0
    waiting: int = 0
    retries_left: int = 0


@attrs.frozen(kw_only=True)
class ClientHealth:
    """How a client is, as far as it knows from its calls; for the health check of an application.

    `ok` is False while it is `draining` or `closed`, and where there are `problems`: sentences that say what
    is wrong. A client that has made no call yet is ok. All times are in seconds: `token_expires_in` is None
    without a token; `answered_ago` is when the server last answered with anything but 429 or a server error,
    None where it never has; `paused_for` is how long all calls wait because the server asked for that.
    """

    ok: bool
    state: State
    problems: tuple[str, ...] = ()
    token_expires_in: float | None = None
    answered_ago: float | None = None
    paused_for: float = 0.0
    in_flight: int = 0
    waiting: int = 0
    retries_left: int = 0
