"""What the sandbox saw and did, for comparison with what a client believes."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from difflib import get_close_matches
from reprlib import Repr
from typing import TYPE_CHECKING, Any

from dintero_claims_client.sandbox.faults import Fault, Operation, check_times

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dintero_claims_client.sandbox.rules import Claim, Rules

_MOST = 10
"""Refs that a failed assertion shows."""
_LONGEST = 300
"""Characters of a claim that it shows."""
_SHORT = Repr()
_SHORT.maxstring = 80


class Ledger:
    """Counts the requests, and answers what they led to from the claims themselves."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.arrivals: Counter[str] = Counter()
        """Claim requests by `ref`, counted when the body was read and parsed, whatever came of them."""
        self.arrivals_without_ref = 0
        """Claim requests whose body was read and parsed and had no `ref`."""
        self.requests: Counter[tuple[Operation, str]] = Counter()
        """Requests by operation and outcome: a status, `dropped`, or `incomplete` if one broke off."""
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """Claim requests by `ref` and outcome."""
        self.faults: Counter[Fault] = Counter()
        """Faults that were injected, by kind."""

    def count_arrival(self, ref: str | None) -> None:
        """Count a claim request whose body was read and parsed."""
        if ref is None:
            self.arrivals_without_ref += 1
        else:
            self.arrivals[ref] += 1

    def count_request(self, operation: Operation, outcome: str, *, ref: str | None = None) -> None:
        """Count a request when it is over; `ref` is that of a claim that has one."""
        self.requests[operation, outcome] += 1
        if ref is not None:
            self.outcomes[ref, outcome] += 1

    def count_fault(self, fault: Fault) -> None:
        """Count a fault that was injected."""
        self.faults[fault] += 1

    @property
    def claims(self) -> list[Claim]:
        """Every claim that was taken, in the order of taking; a copy."""
        return list(self._rules.claims)

    def claims_by_ref(self) -> dict[str, list[Claim]]:
        """Return the claims that have a `ref`, by it: built anew for each call, so ask once for many."""
        by_ref: defaultdict[str, list[Claim]] = defaultdict(list)
        for claim in self._rules.claims:
            if claim.ref is not None:
                by_ref[claim.ref].append(claim)
        return dict(by_ref)

    def claims_by_id(self) -> dict[str, Claim]:
        """Return the claims by id: built anew for each call, so ask once for many."""
        return {claim.id: claim for claim in self._rules.claims}

    @property
    def doubled(self) -> int:
        """How many refs have more than one claim in their account, counted in the claims; 0 or a bug."""
        refs = Counter((claim.account_id, claim.ref) for claim in self._rules.claims if claim.ref is not None)
        return sum(count > 1 for count in refs.values())

    @property
    def tokens_issued(self) -> int:
        """How many access tokens were issued, those whose answer was lost among them."""
        return self._rules.tokens_issued

    @property
    def token_requests(self) -> int:
        """How many token requests are over, the refused ones among them."""
        # A copy, for a server may count in a thread of its own.
        requests = self.requests.copy()
        return sum(count for (operation, _), count in requests.items() if operation is Operation.TOKEN)

    def summary(self) -> dict[str, Any]:
        """Return all counts as an object for JSON."""
        requests: dict[str, dict[str, int]] = {operation.value: {} for operation in Operation}
        for (operation, outcome), count in sorted(self.requests.items()):
            requests[operation.value][outcome] = count
        return {
            "claims": len(self._rules.claims),
            "doubled": self.doubled,
            "arrivals": self.arrivals.total() + self.arrivals_without_ref,
            "arrivals_without_ref": self.arrivals_without_ref,
            "refs": len(self.arrivals),
            "tokens_issued": self.tokens_issued,
            "token_requests": self.token_requests,
            "requests": requests,
            "faults": {fault.value: self.faults[fault] for fault in Fault},
        }

    def assert_claimed(self, *, ref: str, times: int = 1) -> list[Claim]:
        """Fail unless as many claims with this `ref` were taken, and return them.

        More than one can only be claims of several accounts; 0 is for a claim that must not be taken.
        """
        __tracebackhide__ = True
        _check_ref(ref)
        check_times(times, least=0)
        claims = self.claims
        found = [claim for claim in claims if claim.ref == ref]
        if len(found) != times:
            lines = [
                f"expected {_claims(times)} with the ref {_SHORT.repr(ref)}, found {len(found)}",
                *_shown(found),
                f"  requests with it: {self._requests_with(ref)}",
            ]
            if len(found) < times:
                others = [claim for claim in claims if claim.ref != ref]
                lines.append(f"  claimed instead: {_refs(others, close_to=ref)}")
            raise AssertionError("\n".join([*lines, f"  all requests: {self.requests_in_words()}"]))
        return found

    def assert_nothing_claimed(self) -> None:
        """Fail if any claim was taken."""
        __tracebackhide__ = True
        if claims := self.claims:
            lines = [
                f"expected no claim, found {len(claims):,}: {_refs(claims)}",
                *_shown(claims),
                f"  all requests: {self.requests_in_words()}",
            ]
            raise AssertionError("\n".join(lines))

    def requests_in_words(self) -> str:
        """Return which requests there were, and how they ended, in one line."""
        by_operation: defaultdict[Operation, list[str]] = defaultdict(list)
        for (operation, outcome), count in sorted(self.requests.copy().items()):
            by_operation[operation].append(f"{outcome} {_times(count)}")
        if not by_operation:
            return "none; does the application talk to this sandbox?"
        return "; ".join(f"{operation} {', '.join(ends)}" for operation, ends in by_operation.items())

    def _requests_with(self, ref: str) -> str:
        ends = {outcome: count for (of, outcome), count in sorted(self.outcomes.copy().items()) if of == ref}
        open_yet = self.arrivals[ref] - sum(ends.values())
        if open_yet > 0:
            ends["under way"] = open_yet
        if not ends:
            return "none"
        return ", ".join(f"{outcome} {_times(count)}" for outcome, count in ends.items())


def _check_ref(ref: object) -> None:
    # None, or a client's placeholder for no ref, would be a claim that is never found.
    if not isinstance(ref, str) or not ref:
        raise ValueError("ref must be a text that is not empty")


def _claims(count: int) -> str:
    return "1 claim" if count == 1 else f"{count or 'no'} claims"


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")


def _refs(claims: Iterable[Claim], *, close_to: str | None = None) -> str:
    """Name the refs of claims, those first that look like another one."""
    refs = Counter(claim.ref for claim in claims)
    without = refs.pop(None, 0)
    names = [ref for ref in refs if ref is not None]
    if close_to is not None:
        close = get_close_matches(close_to, names, n=_MOST)
        names = close + [name for name in names if name not in close]
    parts = [_SHORT.repr(name) for name in names[:_MOST]]
    if len(names) > _MOST:
        parts.append(f"{len(names) - _MOST:,} more")
    if without:
        parts.append(f"without a ref {_times(without)}")
    return ", ".join(parts) or "nothing"


def _shown(claims: list[Claim]) -> list[str]:
    """Show a few claims with what tells them apart."""
    fields = ("customer_id", "discounts")
    lines: list[str] = []
    for claim in claims[:_MOST]:
        content = json.dumps({name: claim.data[name] for name in fields}, ensure_ascii=False)
        lines.append(f"    {content if len(content) <= _LONGEST else content[:_LONGEST] + '…'}")
    return lines
