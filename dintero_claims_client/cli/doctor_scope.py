"""What an access token allows, where it says so itself."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from typing import Any, cast

from dintero_claims_client.cli.doctor_report import Check

CLAIMING = ("admin:discounts", "write:discounts", "write:discounts:/available_for_receipt")
"""Each is enough for claiming (openapi: x-scopes)."""

_MOST = 20


def scopes_in(token: str) -> tuple[str, ...] | None:
    """Return the scopes that a token lists; None where it is no JWT, or lists none.

    Only what looks like a scope is returned, because nothing else of a token may be shown.
    """
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        told: Any = json.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    fields = cast("dict[str, Any]", told)
    told_scopes = [fields[name] for name in ("scope", "scopes", "permissions") if name in fields]
    if not told_scopes:
        return None
    words: list[str] = []
    for one in told_scopes:
        # Providers write them as one text with spaces between, or as a list.
        if isinstance(one, str):
            words += one.split()
        elif isinstance(one, list):
            words += map(str, cast("list[object]", one))
    return tuple(dict.fromkeys(word for word in words if re.fullmatch(r"[a-z]+:[\w:/*.-]{1,60}", word)))


def check_scope(scopes: Sequence[str] | None, *, is_refused: bool) -> Check:
    """Say whether a token may claim; `is_refused` where the API has refused to list claims."""
    if scopes is None:
        return Check("scope", "the token does not say what it allows", "skipped")
    if allowing := [scope for scope in scopes if scope in CLAIMING]:
        return Check("scope", f"the token may claim: it has {', '.join(allowing)}")
    shown = ", ".join(scopes[:_MOST]) or "no scope"
    return Check(
        "scope",
        f"the token has {shown}; claiming needs one of {', '.join(CLAIMING)}",
        "failed" if is_refused else "warning",
        "ask whoever manages the API client to give it write:discounts",
    )
