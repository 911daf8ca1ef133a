"""Whether the API's answers are those of the contract that this library was made from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from dintero_claims_client import SPEC_VERSION
from dintero_claims_client._generated.contract import SPEC_SHA256
from dintero_claims_client.cli.doctor_report import Check
from dintero_claims_client.errors import ClaimsError, NoAnswerError
from dintero_claims_client.models import Claim, ClaimDiscount, ClaimDiscountRef, Unset

_NEEDED = ("id", "purchase_at", "customer_id", "discounts")
"""What every claim has, by what the provider states; the contract reads claims without them too."""

_MODELS = {"ClaimDiscount": ClaimDiscount, "ClaimDiscountRef": ClaimDiscountRef}

_LATER = (
    f"this version knows the contract {SPEC_VERSION}; look for one whose changelog names a later contract: "
    "pip install --upgrade dintero-claims-client"
)


def check_contract(
    claims: Sequence[Claim] | None, error: ClaimsError | None, sandbox: tuple[str, str] | None
) -> Check:
    """Compare the claims that were read, or the answer that was not understood, and a sandbox's contract."""
    if sandbox is not None and sandbox != (SPEC_VERSION, SPEC_SHA256):
        version, digest = sandbox
        return Check(
            "contract",
            f"the sandbox has the contract {version} (sha256 {digest[:8]}), and this client {SPEC_VERSION} "
            f"(sha256 {SPEC_SHA256[:8]})",
            "warning",
            f"run both from one version: one whose changelog names the contract {max(version, SPEC_VERSION)}",
        )
    if claims is None:
        form = _strange_form(error.body) if isinstance(error, NoAnswerError) else None
        if form is None:
            return Check("contract", "no claim was read", "skipped")
        return Check("contract", form, "failed", _LATER)
    if not claims:
        if sandbox is not None:
            return Check("contract", f"the sandbox has the same, {SPEC_VERSION}")
        return Check("contract", "the account has no claim to compare with", "skipped")
    claim = claims[0]
    unknown, strange = (sorted(set(names)) for names in _differences(claim))
    lacking = [name for name in _NEEDED if isinstance(getattr(claim, name), Unset) and name not in strange]
    if not unknown and not strange and not lacking:
        return Check("contract", f"a claim has the fields of the contract {SPEC_VERSION}, and no others")
    said = [
        f"{words} {', '.join(names)}"
        for words, names in (
            ("fields that the contract does not know:", unknown),
            ("fields of another form than the contract's:", strange),
            ("no", lacking),
        )
        if names
    ]
    # Without an id no answer to a claim is believed; the rest can be done without.
    status: Literal["failed", "warning"] = "failed" if "id" in (*lacking, *strange) else "warning"
    return Check("contract", f"a claim has {'; and '.join(said)}", status, _LATER)


def _differences(claim: Claim) -> tuple[list[str], list[str]]:
    """Return the names of what the models have no place for, and of what has another type than theirs."""
    unknown, strange = [*claim.additional_properties], _strange(claim)
    if "discounts" in unknown:
        # The library keeps there what it cannot make discounts of.
        unknown.remove("discounts")
        strange.append("discounts")
    for discount in claim.discounts or ():
        unknown += (f"discounts[].{name}" for name in discount.additional_properties)
        strange += (f"discounts[].{name}" for name in _strange(discount))
        for ref in discount.refs or ():
            unknown += (f"discounts[].refs[].{name}" for name in ref.additional_properties)
            strange += (f"discounts[].refs[].{name}" for name in _strange(ref))
    return unknown, strange


def _strange(model: Claim | ClaimDiscount | ClaimDiscountRef) -> list[str]:
    """Return the fields whose value is not of their type: the models keep what they cannot read."""
    strange: list[str] = []
    for name, hint in get_type_hints(type(model), localns=_MODELS).items():
        # Of a list of models it is enough that it is a list: those are looked at by themselves.
        types = tuple(get_origin(one) or one for one in get_args(hint))
        if name != "additional_properties" and not isinstance(getattr(model, name), types):
            # A name that is a word of Python has an underscore at its end there.
            strange.append(name.rstrip("_"))
    return strange


def _strange_form(body: bytes) -> str | None:
    """Say of what form an answer is that is no list of claims; None where it is no JSON."""
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(answer, dict):
        names = ", ".join(sorted(cast("dict[str, Any]", answer)))
        return f"the list is an object and no array; its fields: {names}"
    return "the list is no array of objects"
