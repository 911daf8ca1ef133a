"""The rules that a claim must meet before it is sent, and the body that it is sent as."""

from __future__ import annotations

import json
from collections.abc import Sized
from datetime import datetime
from typing import Any, cast

from ._generated.models.claim_discount import ClaimDiscount
from ._generated.models.claim_discount_ref import ClaimDiscountRef
from ._generated.models.claim_request import ClaimRequest
from ._generated.types import UNSET, Unset
from .errors import InvalidClaimError

CUSTOMER_ID_MAX = 255
"""openapi: ClaimRequest.customer_id.maxLength."""

EXACT_INTEGER_MAX = 2**53 - 1
"""JSON readers may hold numbers as floats, which are exact only up to here; an amount is money."""


BODY_MAX = 512 * 1024
"""Bytes of a claim. Its answer repeats it and must be readable, of which 1 MiB is."""


def shape(value: object) -> str:
    """Describe a value without showing it, for it may be personal data."""
    match value:
        case None | Unset():
            return "nothing"
        case str():
            return f"text of {len(value)} characters"
        case Sized():
            return f"{type(value).__name__} of {len(value)}"
        case _:
            return type(value).__name__


def check_claim(request: object) -> bool:
    """Check that a claim may be sent; raises `InvalidClaimError`. A field that is None counts as absent.

    Returns whether it has fields that the models do not know, which are objects of the caller.
    The annotations of the generated classes are not enforced, so nothing is taken on their word.
    """
    if not isinstance(request, ClaimRequest):
        raise InvalidClaimError("request", "must be a ClaimRequest", shape(request))
    _check_purchase_at(request.purchase_at)
    customer_id = _check_text("customer_id", request.customer_id)
    if len(customer_id) > CUSTOMER_ID_MAX:
        raise InvalidClaimError(
            "customer_id", f"must have at most {CUSTOMER_ID_MAX} characters", shape(customer_id)
        )
    # The byte order mark is a space to the contract's pattern, and none to Python.
    if customer_id != customer_id.strip().strip("\ufeff"):
        raise InvalidClaimError("customer_id", "must have no space at either end", "text with one")
    for name, value in (("ref", request.ref), ("type", request.type_)):
        if not _absent(value):
            _check_text(name, value, empty=name == "type")
    return _check_discounts(request.discounts)


def without_null(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a JSON value without the fields that are null: None counts as absent, and is not sent."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {name: without_null(item) for name, item in fields.items() if item is not None}
    if isinstance(value, list):
        return [without_null(item) for item in cast("list[object]", value)]
    return value


# Made once: `json.dumps` makes one for every call that wants anything but its defaults.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode_body(body: dict[str, Any]) -> bytes:
    """Return the bytes to send; raises `InvalidClaimError` for more than the API could answer with."""
    return _limited(_ENCODER.encode(body).encode())


def encode_without_null(body: dict[str, Any], *, has_extras: bool) -> tuple[dict[str, Any], bytes]:
    """Return a body without null, and its bytes; raises as `encode_body` does.

    `has_extras` where it holds objects of the caller, who may change them later.
    """
    encoded = _ENCODER.encode(body)
    # Most bodies have none, and looking through the text is the fastest way to know.
    if has_extras or "null" in encoded:
        body = without_null(body)
        encoded = _ENCODER.encode(body)
    return body, _limited(encoded.encode())


def _limited(encoded: bytes) -> bytes:
    if len(encoded) > BODY_MAX:
        raise InvalidClaimError(
            "claim", f"must have at most {BODY_MAX} bytes as JSON", f"{len(encoded)} bytes"
        )
    return encoded


def invalid_extras() -> InvalidClaimError:
    """Return the error for a checked claim that still cannot be written as JSON.

    All named fields are checked before, so it is one that the models do not know.
    """
    return InvalidClaimError("discounts", "must hold only what JSON can express", "additional fields")


def check_text_argument(name: str, value: object) -> str:
    """Return an id or a ref that a call was given; raises `InvalidClaimError` when it cannot be one."""
    text = _check_text(name, value)
    if text in (".", ".."):
        raise InvalidClaimError(name, "must not be a step in a path", shape(text))
    return text


def _absent(value: object) -> bool:
    return value is None or value is UNSET


def _check_text(field: str, value: object, *, empty: bool = False) -> str:
    if not isinstance(value, str):
        raise InvalidClaimError(field, "must be text", shape(value))
    if not value and not empty:
        raise InvalidClaimError(field, "must not be empty", shape(value))
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidClaimError(
            field, "must be text that UTF-8 can express", "text with a lone surrogate"
        ) from None
    return value


def _check_purchase_at(value: object) -> None:
    if not isinstance(value, datetime):
        raise InvalidClaimError("purchase_at", "must be a datetime", shape(value))
    offset = value.utcoffset()
    if offset is None:
        # Which zone was meant is not guessed.
        raise InvalidClaimError("purchase_at", "must have a time zone", "a datetime without one")
    if offset.seconds % 60 or offset.microseconds:
        raise InvalidClaimError(
            "purchase_at", "must have an offset of whole minutes (RFC 3339)", "an offset with seconds"
        )


def _check_discounts(value: object) -> bool:
    if not isinstance(value, list):
        raise InvalidClaimError("discounts", "must be a list of ClaimDiscount", shape(value))
    discounts = cast("list[object]", value)
    if not discounts:
        raise InvalidClaimError("discounts", "must hold at least one discount", shape(discounts))
    has_extras = False
    for index, discount in enumerate(discounts):
        try:
            has_extras |= _check_discount(discount)
        except InvalidClaimError as error:
            raise _within(f"discounts[{index}]", error) from None
    return has_extras


def _check_discount(discount: object) -> bool:
    if not isinstance(discount, ClaimDiscount):
        raise InvalidClaimError("", "must be a ClaimDiscount", shape(discount))
    has_extras = bool(discount.additional_properties)
    if has_extras:
        _check_extras(discount.additional_properties, ("id", "refs"))
    if not _absent(discount.id):
        _check_text("id", discount.id)
    value: object = discount.refs
    if _absent(value):
        return has_extras
    if not isinstance(value, list):
        raise InvalidClaimError("refs", "must be a list of ClaimDiscountRef", shape(value))
    for index, ref in enumerate(cast("list[object]", value)):
        try:
            has_extras |= _check_ref(ref)
        except InvalidClaimError as error:
            raise _within(f"refs[{index}]", error) from None
    return has_extras


def _check_ref(ref: object) -> bool:
    if not isinstance(ref, ClaimDiscountRef):
        raise InvalidClaimError("", "must be a ClaimDiscountRef", shape(ref))
    has_extras = bool(ref.additional_properties)
    if has_extras:
        _check_extras(ref.additional_properties, ("id", "amount", "usage"))
    if not _absent(ref.id):
        _check_text("id", ref.id)
    if not _absent(ref.amount):
        _check_integer("amount", ref.amount)
    if not _absent(ref.usage):
        _check_integer("usage", ref.usage)
    return has_extras


def _within(place: str, error: InvalidClaimError) -> InvalidClaimError:
    """Return an error that names its field from further out; names are made only where there is one."""
    return InvalidClaimError(f"{place}.{error.field}" if error.field else place, error.rule, error.shape)


def _check_extras(extras: object, known: tuple[str, ...]) -> None:
    """Check the names of additional fields: as one of those a known field would get past its rules."""
    names = cast("dict[object, object]", extras) if isinstance(extras, dict) else {}
    for name in names:
        if not isinstance(name, str):
            raise InvalidClaimError("", "must have additional fields whose names are text", shape(name))
        if name in known:
            raise InvalidClaimError(name, "must be set as an attribute", "an additional field of this name")


def _check_integer(field: str, value: object) -> None:
    # Exactly int: a bool is one too, and would be sent as `true`.
    if type(value) is not int:
        raise InvalidClaimError(field, "must be an integer", shape(value))
    if abs(value) > EXACT_INTEGER_MAX:
        raise InvalidClaimError(
            field, "must be within plus or minus 2^53 - 1", f"integer of {value.bit_length()} bits"
        )
