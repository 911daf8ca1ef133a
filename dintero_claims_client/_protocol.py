"""The pure rules of the protocol: what an answer means, and what may be believed.

Nothing here does I/O, reads a clock or knows an HTTP library.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from hashlib import sha256
from typing import Any, cast

from .errors import (
    APIStatusError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    RefConflictError,
    ServerError,
)

UNREADABLE = object()
"""What `read_json` gives for a body that is not JSON; None is what it gives for `null`."""

_ERROR_BODY_CAP = 16 * 1024
"""How much of an answer an error carries."""

_MESSAGE_CAP = 1024
"""How many characters of it are its message."""


class Verdict(Enum):
    """What a status says about the request that it answers."""

    SUCCESS = "executed"
    UNAUTHORIZED = "refused: the token is not good"
    CONFLICT = "refused: the ref is in use"
    THROTTLED = "refused before it was executed; again later"
    REFUSED = "refused"
    AMBIGUOUS = "may have been executed or not"


def verdict(status: int) -> Verdict:
    """Say what a status means for a request that is not safe to repeat.

    A 5xx and a 408 come also from gateways after the server has executed the request; a status outside
    100 to 599, or a final 1xx, comes from something that does not speak HTTP and proves nothing.
    """
    if 200 <= status <= 299:
        return Verdict.SUCCESS
    if status == 401:
        return Verdict.UNAUTHORIZED
    if status == 409:
        return Verdict.CONFLICT
    if status == 429:
        return Verdict.THROTTLED
    if 300 <= status <= 499 and status != 408:
        return Verdict.REFUSED
    return Verdict.AMBIGUOUS


_DECODER = json.JSONDecoder()


def read_json(body: bytes) -> object:
    """Return the body's JSON value, or `UNREADABLE`; never raises."""
    try:
        try:
            return _DECODER.decode(body.decode())
        except ValueError:
            # It may be UTF-16, or begin with a byte order mark; finding out takes a while.
            return json.loads(body)
    # RecursionError: nested too deep. ValueError: not JSON, not UTF-8, or an integer of too many digits.
    except (ValueError, RecursionError):
        return UNREADABLE


def read_object(body: bytes) -> dict[str, Any] | None:
    """Return the body's JSON object, or None when it is anything else."""
    value = read_json(body)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def read_objects(body: bytes) -> list[dict[str, Any]] | None:
    """Return the body's JSON array of objects, or None when it is anything else."""
    value = read_json(body)
    if not isinstance(value, list):
        return None
    items = cast("list[object]", value)
    return (
        [cast("dict[str, Any]", item) for item in items] if all(isinstance(i, dict) for i in items) else None
    )


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Read a Retry-After header: seconds, or an HTTP date, which is compared with `now` (aware).

    A date in the past is 0. Anything malformed is None, so that the caller falls back to its own delay.
    """
    if value is None:
        return None
    value = value.strip()
    # `str.isdigit` is also true for digits of other scripts.
    if re.fullmatch(r"[0-9]{1,15}", value):
        return float(value)
    if not re.match(r"[A-Za-z]{3,9}, ?[0-9]|[A-Za-z]{3} [A-Za-z]{3} ", value):
        return None
    try:
        date = parsedate_to_datetime(value)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return max(0.0, (date - now).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


_CLASS_BY_STATUS: Mapping[int, type[APIStatusError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: RefConflictError,
    429: RateLimitedError,
}


def status_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    ref: str | None = None,
    cls: type[APIStatusError] | None = None,
    fallback: str = "the server gave no reason",
) -> APIStatusError:
    """Make the error for an answer that refuses, from whatever form its body has.

    `cls` is for where the status alone does not say which class; `fallback` is the message where the
    server gives none.
    """
    code: str | None = None
    message = ""
    errors: Sequence[Mapping[str, Any]] = ()
    form = read_object(body)
    detail: object = form.get("error") if form is not None else None
    if isinstance(detail, str):
        message = detail
    elif isinstance(detail, dict):
        fields = cast("dict[str, object]", detail)
        if isinstance(given := fields.get("code"), str):
            code = given
        if isinstance(given := fields.get("message"), str):
            message = given
        if isinstance(given := fields.get("errors"), list):
            items = cast("list[object]", given)
            errors = tuple(cast("dict[str, Any]", item) for item in items if isinstance(item, dict))
    if cls is None:
        cls = ServerError if status >= 500 else _CLASS_BY_STATUS.get(status, APIStatusError)
    return cls(
        message[:_MESSAGE_CAP] or fallback,
        status=status,
        code=code,
        errors=errors,
        request_id=headers.get("x-request-id") or headers.get("request-id"),
        retry_after=parse_retry_after(headers.get("retry-after"), now),
        body=cap_body(body),
        ref=ref,
    )


def cap_body(body: bytes) -> bytes:
    """Return as much of an answer as an error carries."""
    return body[:_ERROR_BODY_CAP]


def token_lifetime(expires_in: object) -> float:
    """Return how many seconds a token lives, from the `expires_in` of its answer.

    A positive number, or its text, counts as it is. The provider's pages disagree on the value, and
    anything else than such a number counts as 60 seconds.
    """
    if isinstance(expires_in, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", expires_in):
        expires_in = float(expires_in)
    if isinstance(expires_in, bool) or not isinstance(expires_in, (int, float)):
        return 60.0
    try:
        seconds = float(expires_in)
    except OverflowError:
        return 60.0
    return seconds if math.isfinite(seconds) and seconds > 0 else 60.0


def usable_token(answer: Mapping[str, Any]) -> str | None:
    """Return the bearer token in a token endpoint's answer, or None when it holds none that can be sent."""
    token = answer.get("access_token")
    kind = answer.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer" or "error" in answer:
        return None
    # Anything else cannot go into a header, or would end it.
    return token if isinstance(token, str) and re.fullmatch(r"[\x21-\x7e]+", token) else None


def usable_id(claim: Mapping[str, Any]) -> str | None:
    """Return a claim's id, or None when it has none that it could be read back by."""
    value = claim.get("id")
    return value if isinstance(value, str) and value.strip() and value.isprintable() else None


def answers(claim: Mapping[str, Any], *, ref: str | None, customer_id: str) -> bool:
    """Say whether an answer is for the claim that was sent: it must not name another.

    A connection can carry an answer that belongs to an earlier request. Fields that the server leaves
    out prove nothing either way.
    """
    said_ref, said_customer = claim.get("ref"), claim.get("customer_id")
    return (said_ref is None or said_ref == ref) and (said_customer is None or said_customer == customer_id)


def names_nobody(claim: Mapping[str, Any]) -> bool:
    """Say whether an answer names neither a ref nor a customer."""
    return claim.get("ref") is None and claim.get("customer_id") is None


def shows_another(claim: Mapping[str, Any], sent: Mapping[str, Any]) -> bool:
    """Say whether an answer shows discounts that are not those that were claimed."""
    shown = claim.get("discounts")
    if not isinstance(shown, list):
        return False
    items = cast("list[object]", shown)
    readable = all(isinstance(item, dict) and isinstance(item.get("id"), str) for item in items)  # pyright: ignore[reportUnknownMemberType]
    return bool(items) and readable and not same_claim(sent, claim)


def same_claim(sent: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Say whether a claim read back is the one that was sent, by all that the server shows of it.

    What the server leaves out, answers as null or adds is not compared. Times are the same within a
    second, because servers store them with less precision; lists are compared in any order.
    """
    at = found.get("purchase_at")
    if at is not None and not _same_time(sent.get("purchase_at"), at):
        return False
    try:
        return _covers(sent, {name: value for name, value in found.items() if name != "purchase_at"})
    except RecursionError:
        # No claim that was sent is nested so deep.
        return False


def _same_time(one: object, other: object) -> bool:
    try:
        difference = datetime.fromisoformat(str(one).upper()) - datetime.fromisoformat(str(other).upper())
    except (ValueError, TypeError):
        return False
    return abs(difference) < timedelta(seconds=1)


def _covers(sent: object, found: object) -> bool:
    if found is None:
        return True
    if isinstance(sent, Mapping) and isinstance(found, Mapping):
        ours, theirs = cast("Mapping[str, object]", sent), cast("Mapping[str, object]", found)
        return all(_covers(ours[name], value) for name, value in theirs.items() if name in ours)
    if isinstance(sent, list) and isinstance(found, list):
        return _covers_all(cast("list[object]", sent), cast("list[object]", found))
    return sent == found and isinstance(sent, bool) == isinstance(found, bool)


def _covers_all(sent: list[object], found: list[object]) -> bool:
    """Match two lists in any order: what is shown in full by its contents, then what is shown in part."""
    if len(sent) != len(found):
        return False
    left: dict[str, list[object]] = {}
    for item in sent:
        left.setdefault(_contents(item), []).append(item)
    partial: list[object] = []
    for item in found:
        same = left.get(_contents(item))
        if same:
            same.pop()
        else:
            partial.append(item)
    rest = [item for items in left.values() for item in items]
    for item in partial:
        match = next((index for index, candidate in enumerate(rest) if _covers(candidate, item)), None)
        if match is None:
            return False
        del rest[match]
    return True


def _contents(value: object) -> str:
    """Return what a discount, or a part of one, says by the contract's fields, in a form to compare.

    A digest, because texts within texts double in length with each level.
    """
    return sha256(json.dumps(_plain(value), sort_keys=True, default=repr).encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, object]", value)
        return {name: _plain(fields[name]) for name in _DISCOUNT_FIELDS if fields.get(name) is not None}
    if isinstance(value, list):
        return sorted(_contents(item) for item in cast("list[object]", value))
    return int(value) if isinstance(value, float) and value.is_integer() else value


_DISCOUNT_FIELDS = ("id", "refs", "amount", "usage")
"""What the contract knows of a discount and of its refs; the rest may be the server's additions."""
