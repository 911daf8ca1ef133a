"""Faults: deterministic by seed, and one by one on request."""

from collections import Counter

import pytest

from dintero_claims_client.sandbox import Fault, FaultInjector, FaultPlan, Operation
from dintero_claims_client.sandbox.faults import Injection


def kinds(plan: FaultPlan, operation: Operation, count: int) -> list[Fault | None]:
    """Return the kinds of the first decisions of a plan."""
    injector = FaultInjector(plan)
    decisions = [injector.decide(operation) for _ in range(count)]
    return [decision and decision.fault for decision in decisions]


@pytest.mark.parametrize("operation", Operation)
def test_nothing_goes_wrong_by_default(operation):
    """A plan without arguments has no faults."""
    assert {None} == set(kinds(FaultPlan(), operation, 1000))


def test_a_seed_gives_the_same_faults():
    """The same seed gives the same decisions, delays included; another seed gives others."""
    plan = FaultPlan(rate=0.5, seed=7)
    first, second = FaultInjector(plan), FaultInjector(plan)
    decisions = [first.decide(Operation.CLAIM) for _ in range(200)]
    assert decisions == [second.decide(Operation.CLAIM) for _ in range(200)]
    assert kinds(plan, Operation.CLAIM, 200) != kinds(FaultPlan(rate=0.5, seed=8), Operation.CLAIM, 200)


def test_other_operations_do_not_shift_the_faults():
    """The n-th claim meets the same fault, whatever is asked in between."""
    plan = FaultPlan(rate=0.5, token_rate=0.5, seed=7)
    injector = FaultInjector(plan)
    mixed = []
    for _ in range(200):
        mixed.append(injector.decide(Operation.CLAIM))
        injector.decide(Operation.LIST)
        injector.decide(Operation.TOKEN)
    assert kinds(plan, Operation.CLAIM, 200) == [decision and decision.fault for decision in mixed]


def test_operations_go_wrong_independently():
    """A seed does not give the reads the same faults at the same turns."""
    plan = FaultPlan(rate=0.5, seed=7)
    assert kinds(plan, Operation.LIST, 200) != kinds(plan, Operation.GET, 200)


def test_a_fault_on_request_does_not_shift_the_others():
    """A queued fault replaces one decision and leaves those after it."""
    plan = FaultPlan(rate=0.5, seed=7)
    injector = FaultInjector(plan)
    injector.next(Fault.DROP_AFTER_COMMIT)
    decisions = [injector.decide(Operation.CLAIM) for _ in range(200)]
    assert Injection(Fault.DROP_AFTER_COMMIT) == decisions[0]
    assert kinds(plan, Operation.CLAIM, 200)[1:] == [
        decision and decision.fault for decision in decisions[1:]
    ]


@pytest.mark.parametrize("rate", [0.1, 0.3, 1.0])
def test_the_rate_is_kept(rate):
    """About as many requests go wrong as the rate says, and all of them at 1."""
    faulted = sum(kind is not None for kind in kinds(FaultPlan(rate=rate), Operation.CLAIM, 10_000))
    assert pytest.approx(rate * 10_000, rel=0.1) == faulted


def test_weights_are_kept():
    """Kinds happen as often as their weights say, and not at all without one."""
    plan = FaultPlan(rate=1, kinds={Fault.LATENCY: 3, Fault.UNAVAILABLE: 1, Fault.EXPIRE_TOKEN: 0})
    counts = Counter(kinds(plan, Operation.CLAIM, 10_000))
    assert {Fault.LATENCY, Fault.UNAVAILABLE} == set(counts)
    assert pytest.approx(7500, rel=0.1) == counts[Fault.LATENCY]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (Operation.CLAIM, set(Fault)),
        (Operation.LIST, set(Fault) - {Fault.EXPIRE_TOKEN}),
        (Operation.GET, set(Fault) - {Fault.EXPIRE_TOKEN}),
        (Operation.TOKEN, {Fault.LATENCY, Fault.UNAVAILABLE}),
    ],
)
def test_each_operation_has_its_kinds(operation, expected):
    """By rate, an operation meets the kinds that make sense for it, and all of those."""
    assert expected == set(kinds(FaultPlan(rate=1, token_rate=1), operation, 1000))


def test_token_requests_have_a_rate_of_their_own():
    """The rate of claims and reads leaves token requests alone."""
    assert {None} == set(kinds(FaultPlan(rate=1), Operation.TOKEN, 100))
    assert {None} == set(kinds(FaultPlan(token_rate=1), Operation.CLAIM, 100))


def test_an_operation_without_a_kind_goes_well():
    """A plan whose kinds do not fit an operation does nothing to it."""
    plan = FaultPlan(rate=1, token_rate=1, kinds={Fault.DROP_BEFORE_COMMIT: 1, Fault.LATENCY: 0})
    assert {None} == set(kinds(plan, Operation.TOKEN, 100))


def test_delays_stay_in_their_range():
    """Latency is drawn from the plan's range."""
    injector = FaultInjector(FaultPlan(rate=1, kinds={Fault.LATENCY: 1}, latency=(0.2, 0.4)))
    delays = [injector.decide(Operation.CLAIM).delay for _ in range(1000)]
    assert 0.2 <= min(delays) < 0.25
    assert 0.35 < max(delays) <= 0.4


def test_faults_on_request_are_used_once_each_and_in_order():
    """The queue is emptied in its order, by requests of its own operation only."""
    injector = FaultInjector(FaultPlan(latency=(1, 2)))
    injector.next(Fault.DROP_BEFORE_COMMIT, times=2)
    injector.next(Fault.LATENCY)
    injector.next(Fault.TOO_MANY_REQUESTS, operation=Operation.LIST)
    injector.next(Fault.UNAVAILABLE, operation=Operation.TOKEN)
    assert [
        Injection(Fault.DROP_BEFORE_COMMIT),
        Injection(Fault.DROP_BEFORE_COMMIT),
        Injection(Fault.LATENCY, delay=2),
        None,
    ] == [injector.decide(Operation.CLAIM) for _ in range(4)]
    assert [Injection(Fault.TOO_MANY_REQUESTS, status=429, retry_after=1), None] == [
        injector.decide(Operation.LIST) for _ in range(2)
    ]
    assert Injection(Fault.UNAVAILABLE, status=503) == injector.decide(Operation.TOKEN)
    assert injector.decide(Operation.GET) is None


def test_statuses_on_request():
    """A status on request is 429 or any server error, and no other."""
    injector = FaultInjector(FaultPlan())
    for status in (429, 500, 599):
        injector.fail_next(status)
    assert [
        Injection(Fault.TOO_MANY_REQUESTS, status=429, retry_after=1),
        Injection(Fault.UNAVAILABLE, status=500),
        Injection(Fault.UNAVAILABLE, status=599),
    ] == [injector.decide(Operation.CLAIM) for _ in range(3)]
    for status in (200, 404, 499, 600):
        with pytest.raises(ValueError, match="status"):
            injector.fail_next(status)


def test_a_token_request_has_no_token_that_expires():
    """Asking for the impossible is refused at once, and not ignored later."""
    with pytest.raises(ValueError, match="token"):
        FaultInjector(FaultPlan()).next(Fault.EXPIRE_TOKEN, operation=Operation.TOKEN)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": -0.1},
        {"rate": 1.1},
        {"rate": float("nan")},
        {"token_rate": 2},
        {"kinds": {Fault.LATENCY: -1}},
        {"kinds": {Fault.LATENCY: float("inf")}},
        {"latency": (2, 1)},
        {"latency": (-1, 1)},
        {"latency": (0, float("inf"))},
        {"retry_after": -1},
    ],
    ids=str,
)
def test_refuses_wrong_plans(wrong):
    """A plan that could not be followed is refused where it is written."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FaultPlan(**wrong)


def test_a_plan_is_a_value():
    """Equal plans are equal, and can be keys."""
    assert {FaultPlan(rate=0.5): 1} == {FaultPlan(rate=0.5): 1}
