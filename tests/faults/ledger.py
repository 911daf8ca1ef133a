"""What the API holds: the claims that were taken, by its own rules."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

Json = dict[str, Any]


def refusal(code: str, message: str) -> Json:
    """Return an error in the API's form."""
    return {"error": {"code": code, "message": message, "errors": []}}


class Ledger:
    """Takes claims, refuses what the API refuses, and shows the list as the API does.

    A discount whose id begins with "limited" can be claimed once by each customer, and that is looked at
    before the `ref`: a claim that is sent again after it was taken is then refused for its limit.
    """

    def __init__(self) -> None:
        self.claims: list[Json] = []
        self.by_ref: dict[str, Json] = {}
        self.by_customer: defaultdict[str, list[Json]] = defaultdict(list)
        self.oldest_first = False
        self._position: dict[str, int] = {}
        self._used: set[tuple[str, str]] = set()

    def commit(self, body: Any) -> tuple[int, Json]:
        """Take a claim, or refuse it; return the status and the body of the answer."""
        if not isinstance(body, dict) or not all(
            body.get(name) for name in ("purchase_at", "customer_id", "discounts")
        ):
            return 400, refusal("BAD REQUEST", "a required field is missing")
        customer, ref = str(body["customer_id"]), body.get("ref")
        limited = [
            (customer, str(discount.get("id")))
            for discount in body["discounts"]
            if str(discount.get("id")).startswith("limited")
        ]
        if any(one in self._used for one in limited):
            return 400, refusal("LIMIT", "the discount has been used")
        if ref is not None and ref in self.by_ref:
            return 409, refusal("CONFLICT", "the ref is in use")
        number = len(self.claims)
        claim: Json = {
            "ref": None,
            **body,
            "id": f"00000000-0000-4000-8000-{number:012x}",
            "created_at": "2026-11-23T12:00:00Z",
            "updated_at": None,
            "deleted_at": None,
        }
        self._used.update(limited)
        self._position[claim["id"]] = number
        self.claims.append(claim)
        self.by_customer[customer].append(claim)
        if ref is not None:
            self.by_ref[ref] = claim
        return 200, claim

    def delete(self, ref: str) -> None:
        """Mark a claim as deleted; its ref stays in use."""
        self.by_ref[ref]["deleted_at"] = "2026-11-23T13:00:00Z"

    def get(self, claim_id: str) -> Json | None:
        """Return the claim with this id."""
        position = self._position.get(claim_id)
        return None if position is None else self.claims[position]

    def page(self, limit: int, starting_after: str | None, *, lag: int = 0) -> list[Json]:
        """Return a page of the list, the newest first; it does not show the newest `lag` claims."""
        shown = len(self.claims) - lag
        after = self._position.get(starting_after or "")
        if self.oldest_first:
            start = 0 if after is None else after + 1
            return self.claims[start : max(start, min(start + limit, shown))]
        end = shown if after is None else min(after, shown)
        return self.claims[max(0, end - limit) : max(0, end)][::-1]
