"""What the sandbox saw and did, for comparison with what a client believes."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from dintero_claims_client.sandbox.faults import Fault, Operation

if TYPE_CHECKING:
    from dintero_claims_client.sandbox.rules import Claim, Rules


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
        self.faults: Counter[Fault] = Counter()
        """Faults that were injected, by kind."""

    def count_arrival(self, ref: str | None) -> None:
        """Count a claim request whose body was read and parsed."""
        if ref is None:
            self.arrivals_without_ref += 1
        else:
            self.arrivals[ref] += 1

    def count_request(self, operation: Operation, outcome: str) -> None:
        """Count a request when it is over."""
        self.requests[operation, outcome] += 1

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
        return sum(count for (operation, _), count in self.requests.items() if operation is Operation.TOKEN)

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
