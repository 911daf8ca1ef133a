"""Stable names for the generated models, and the way from JSON to a claim request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, cast

import attrs

from ._generated.models.claim import Claim
from ._generated.models.claim_discount import ClaimDiscount
from ._generated.models.claim_discount_ref import ClaimDiscountRef
from ._generated.models.claim_request import ClaimRequest
from ._generated.types import UNSET, Unset
from ._validation import shape
from .errors import InvalidClaimError

__all__ = [
    "UNSET",
    "Claim",
    "ClaimDiscount",
    "ClaimDiscountRef",
    "ClaimRequest",
    "Unset",
    "claim_request_from_json",
]


def claim_request_from_json(value: object) -> ClaimRequest:
    """Make a claim request from a JSON value, in the form that the API takes.

    Raises `InvalidClaimError` for what is not such an object: an unknown or a missing field, and a
    `purchase_at` that is not a date and time. The other rules are checked when the claim is made.
    """
    fields = _object("claim", value, (field.name.rstrip("_") for field in attrs.fields(ClaimRequest)))
    for name in ("purchase_at", "customer_id", "discounts"):
        if name not in fields:
            raise InvalidClaimError(name, "must be given", "nothing")
    at = fields["purchase_at"]
    if not isinstance(at, str):
        raise InvalidClaimError("purchase_at", "must be a date and time as text", shape(at))
    try:
        # Upper case, because RFC 3339 allows `t` and `z`.
        purchase_at = datetime.fromisoformat(at.upper())
    except ValueError:
        raise InvalidClaimError(
            "purchase_at", "must be a date and time such as 2026-11-23T12:00:00Z", shape(at)
        ) from None
    discounts = [
        ClaimDiscount.from_dict(_discount(f"discounts[{index}]", item))
        for index, item in enumerate(_array("discounts", fields["discounts"]))
    ]
    return ClaimRequest(
        purchase_at=purchase_at,
        customer_id=fields["customer_id"],
        discounts=discounts,
        ref=UNSET if fields.get("ref") is None else fields["ref"],
        type_=UNSET if fields.get("type") is None else fields["type"],
    )


def _discount(field: str, value: object) -> Mapping[str, Any]:
    discount = _object(field, value, ("id", "refs"))
    for index, item in enumerate(_array(f"{field}.refs", discount.get("refs") or [])):
        _object(f"{field}.refs[{index}]", item, ("id", "amount", "usage"))
    return discount


def _array(field: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise InvalidClaimError(field, "must be an array", shape(value))
    return cast("list[object]", value)


def _object(field: str, value: object, known: Iterable[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidClaimError(field, "must be an object", shape(value))
    fields = cast("dict[str, Any]", value)
    unknown = sorted(set(fields).difference(known))
    if unknown:
        # The names are quoted, for they may hold anything.
        raise InvalidClaimError(
            field, "must have no field that a claim does not have", ", ".join(map(repr, unknown))
        )
    return fields
