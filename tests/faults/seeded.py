"""A plan whose faults follow from a seed, so that a run can be repeated and clients can be compared."""

from __future__ import annotations

import hashlib
import random
from typing import Any

from faults.answers import FORMS, lies
from faults.script import ACTS, CUTS, EXECUTED, Act, Fault, Operation, Plan, Point, Queues, Request
from faults.wire import Form, Kind

_SLOW_ACTS = (Act.STALL, Act.TRICKLE)

POINTS = {
    Point.UPLOAD: 1,
    Point.RECEIVED: 2,
    Point.STATUS_LINE: 1,
    Point.HEADERS: 1,
    Point.BODY: 2,
    Point.ANSWERED: 7,
}
"""How often a request is struck at each point; most forms of answer show only when they are given whole."""

_EMPTY_LISTS = ("200-[]", "list-ends")

_ELSEWHERE = ("301", "307", "308")
"""They ask for the same request at another place, so they say that it was not executed here; a client can
look behind that only where the claim has a ref."""

# To a read or a request for a token these are final, and a client that gives up is right.
_FINAL = (Kind.REFUSED, Kind.UNAUTHORIZED, Kind.GATEWAY)


class Seeded:
    """Strikes a share of the exchanges with faults that follow from the seed.

    The fault of a claim's attempt depends on its `customer_id` and the number of the attempt, whenever and
    by whom it is sent. That of another request or of a connection depends on its number among its like.

    `rate` is the share of the claims' attempts, and of lists, reads and requests for tokens where `rates`
    does not say otherwise (its keys are operations, and "connection", which is 0 unless it is given).
    Attempts of a claim after `attempts` are left alone, so that a run has an end.

    `slow` and `heavy` are how often kinds that take time or memory are chosen, next to 1 for all others, and
    `refusals` the same for answers that end a claim: with 0 every claim comes to be taken, if its client goes
    on; `throttling` the same for 429, which slows a whole client down. `hiding` allows lists that leave out
    claims, which no look-up sees through; what a client can only look up is then not committed.
    """

    def __init__(
        self,
        seed: int,
        rate: float,
        *,
        rates: dict[str, float] | None = None,
        attempts: int | None = None,
        slow: float = 0.0,
        heavy: float = 0.02,
        refusals: float = 1.0,
        throttling: float = 1.0,
        hiding: bool = False,
        gap: float = 0.05,
    ) -> None:
        self.seed = seed
        self.rate = rate
        self.rates = dict(rates or {})
        self.attempts = attempts
        self.slow = slow
        self.heavy = heavy
        self.refusals = refusals
        self.throttling = throttling
        self.hiding = hiding
        self.gap = gap
        operations: tuple[Operation, ...] = ("claim", "token", "list", "get")
        self._names = {operation: self._forms(operation) for operation in operations}

    def for_connection(self, number: int) -> Fault | None:
        """See `Plan`."""
        rng = self._struck("connection", f"connection/{number}")
        if rng is None:
            return None
        return Fault(Point.ACCEPT, self._act(rng, Point.ACCEPT), after=rng.choice((0, 1, 5, 100, 600)))

    def for_head(self, operation: Operation) -> Fault | None:
        """See `Plan`; the fault depends on the claim, which is not known yet."""
        return None

    def for_request(self, request: Request) -> Fault | None:
        """See `Plan`."""
        if request.operation == "claim":
            if self.attempts is not None and request.attempt > self.attempts:
                return None
            key = f"claim/{request.customer_id}/{request.attempt}"
        else:
            key = f"{request.operation}/{request.attempt}"
        rng = self._struck(request.operation, key)
        return None if rng is None else self._fault(rng, request)

    def describe(self) -> dict[str, Any]:
        """See `Plan`."""
        names = (
            "seed",
            "rate",
            "rates",
            "attempts",
            "slow",
            "heavy",
            "refusals",
            "throttling",
            "hiding",
            "gap",
        )
        return {"plan": "seeded", **{name: getattr(self, name) for name in names}}

    @classmethod
    def rebuild(cls, value: dict[str, Any]) -> Seeded:
        """Return the plan that `describe` gave."""
        return cls(**{name: given for name, given in value.items() if name != "plan"})

    def _struck(self, name: str, key: str) -> random.Random | None:
        """Return the chance for a fault, or None where there is none."""
        rate = self.rates.get(name, 0.0 if name == "connection" else self.rate)
        # Cheaper than a generator, which only what is struck needs; and the same in every process.
        number = int.from_bytes(hashlib.blake2b(f"{self.seed}/{key}".encode(), digest_size=8).digest(), "big")
        return random.Random(number) if number < rate * 2**64 else None

    def _fault(self, rng: random.Random, request: Request) -> Fault:
        names, weights = self._names[request.operation]
        while True:
            (at,) = rng.choices(list(POINTS), list(POINTS.values()))
            act = self._act(rng, at)
            name = "honest"
            if at is Point.ANSWERED or (at in CUTS and rng.random() < 0.3):
                (name,) = rng.choices(names, weights)
            fault = Fault(
                at,
                act,
                commit=at in EXECUTED and rng.random() < 0.5,
                answer=name,
                after=rng.randrange(60) if at in CUTS or at is Point.UPLOAD else 0,
                gap=self.gap if act is Act.TRICKLE else 0.0,
                size=rng.choice((1, 5, 50)),
            )
            if not self._is_left_out(fault, request, rng):
                return fault

    def _is_left_out(self, fault: Fault, request: Request, rng: random.Random) -> bool:
        if fault.at is Point.ANSWERED and fault.act is Act.KEEP and fault.answer == "honest":
            return True
        if request.operation != "claim":
            return False
        if fault.commit and request.ref is None and fault.answer in _ELSEWHERE:
            return True
        kind = FORMS[fault.answer].kind
        if kind is Kind.GATEWAY and (self.hiding if fault.commit else rng.random() >= self.refusals):
            return True
        # A second 401 in a row is final.
        if kind is Kind.UNAUTHORIZED and not self.refusals and request.attempt > 1:
            return True
        return lies(fault)

    def _act(self, rng: random.Random, at: Point) -> Act:
        acts = ACTS[at]
        (act,) = rng.choices(acts, [self.slow if act in _SLOW_ACTS else 1.0 for act in acts])
        return act

    def _forms(self, operation: Operation) -> tuple[list[str], list[float]]:
        forms = [form for form in FORMS.values() if self._fits(form, operation)]
        return [form.name for form in forms], [self._weight(form) for form in forms]

    def _fits(self, form: Form, operation: Operation) -> bool:
        if operation == "claim":
            return form.kind is not Kind.PAGE
        if form.kind in _FINAL:
            return False
        if operation == "list":
            return self.hiding or not (form.hides or form.name in _EMPTY_LISTS)
        # A 2xx without a token is as final as a refusal, and so is a claim that is not the one asked for.
        return form.kind in (Kind.TAKEN, Kind.THROTTLED) or form.name.startswith("5")

    def _weight(self, form: Form) -> float:
        slow, heavy = self.slow if form.slow else 1.0, self.heavy if form.heavy else 1.0
        kinds = {Kind.REFUSED: self.refusals, Kind.THROTTLED: self.throttling}
        return slow * heavy * kinds.get(form.kind, 1.0)


def rebuild(value: dict[str, Any]) -> Plan:
    """Return the plan that a `describe` gave."""
    return Queues.rebuild(value) if value["plan"] == "queues" else Seeded.rebuild(value)
