"""The rules of the fault server, without a socket: its ledger, its faults, and what a seed makes of them."""

import collections
import dataclasses
import json

import pytest

from faults.answers import FORMS, lies, of_kind
from faults.ledger import Ledger
from faults.script import ACTS, CUTS, EXECUTED, Act, Fault, Point, Queues, Request
from faults.seeded import Seeded, rebuild
from faults.server import STRANGER
from faults.wire import Facts, Kind

BODY = {"purchase_at": "2026-11-23T12:00:00Z", "customer_id": "customer-1", "discounts": [{"id": "d"}]}
LIMITED = BODY | {"discounts": [{"id": "limited-1"}]}


@pytest.mark.parametrize("name", ["purchase_at", "customer_id", "discounts"])
def test_a_claim_lacks_what_is_required(name):
    """A claim without a required field is refused in the API's form, and not taken."""
    ledger = Ledger()
    status, answer = ledger.commit({key: value for key, value in BODY.items() if key != name})
    assert (status, set(answer["error"]), len(ledger.claims)) == (400, {"code", "message", "errors"}, 0)


def test_a_ref_is_used_once():
    """A ref that is in use is a conflict, also when its claim is deleted; without a ref there is none."""
    ledger = Ledger()
    status, claim = ledger.commit(BODY | {"ref": "order-1"})
    assert (status, claim["ref"], claim["deleted_at"]) == (200, "order-1", None)
    ledger.delete("order-1")
    assert ledger.get(claim["id"])["deleted_at"] is not None
    assert ledger.commit(BODY | {"ref": "order-1"})[0] == 409
    assert [ledger.commit(BODY)[1]["ref"] for _ in range(2)] == [None, None]
    assert [len(claims) for claims in ledger.by_customer.values()] == [3]
    assert len({claim["id"] for claim in ledger.claims}) == 3


def test_a_limit_is_looked_at_before_the_ref():
    """A limited claim that comes again is refused for its limit, and not as a conflict."""
    ledger = Ledger()
    assert ledger.commit(LIMITED | {"ref": "order-1"})[0] == 200
    status, answer = ledger.commit(LIMITED | {"ref": "order-1"})
    assert (status, answer["error"]["code"]) == (400, "LIMIT")
    assert ledger.commit(LIMITED | {"customer_id": "customer-2"})[0] == 200


@pytest.mark.parametrize("oldest_first", [False, True])
def test_pages_are_the_list_in_pieces(oldest_first):
    """All pages together are all claims, in their order, whatever the size of a page."""
    ledger = Ledger()
    ledger.oldest_first = oldest_first
    claims = [ledger.commit(BODY)[1] for _ in range(7)]
    for limit in (1, 3, 7, 100):
        shown: list = []
        while page := ledger.page(limit, shown[-1]["id"] if shown else None):
            shown += page
        assert shown == (claims if oldest_first else claims[::-1])
    assert ledger.page(1, None, lag=7) == []


def some_faults():
    for at, acts in ACTS.items():
        for act in acts:
            for commit in (False, True) if at in EXECUTED else (False,):
                yield Fault(at, act, commit=commit, answer="502-html", after=3, gap=0.5, size=2)


@pytest.mark.parametrize("fault", list(some_faults()), ids=str)
def test_faults_go_through_json(fault):
    """A fault is the same after a trip through JSON, which leaves out what is as usual."""
    assert Fault.from_json(json.loads(json.dumps(fault.to_json()))) == fault
    plain = Fault(fault.at, fault.act)
    assert plain.to_json() == {"at": fault.at, "act": fault.act}


def test_faults_that_cannot_be():
    """An act that is not done at a point, and an execution before the request is whole, are refused."""
    with pytest.raises(ValueError, match="garbage is not done at body"):
        Fault(Point.BODY, Act.GARBAGE)
    with pytest.raises(ValueError, match="nothing can be executed at upload"):
        Fault(Point.UPLOAD, Act.RESET, commit=True)


def test_queues_go_through_json():
    """A plan of queues can be made again from its description."""
    fault = Fault(Point.BODY, Act.RESET, commit=True, after=5)
    description = Queues(claim=[None, fault], token=[fault]).describe()
    again = rebuild(json.loads(json.dumps(description)))
    assert isinstance(again, Queues)
    assert (list(again.claim), list(again.token), list(again.list)) == ([None, fault], [fault], [])


def test_every_form_has_three_parts_and_a_name_of_its_own():
    """Every form gives a head and a body that can be cut off, for an honest success and a refusal."""
    ledger = Ledger()
    _, claim = ledger.commit(BODY | {"ref": "order-1"})
    refused = ledger.commit(BODY | {"ref": "order-1"})
    for name, form in FORMS.items():
        assert form.name == name
        for status, value in ((200, claim), refused):
            wire = form(Facts(status, value, STRANGER, "http://localhost/trap", ledger))
            assert bytes(wire) == wire.status_line + wire.headers + wire.body
            assert wire.body or wire.status_line


def test_valid_forms_hold_the_honest_claim():
    """Forms that must be believed hold the claim's id, and those that prove nothing do not pass for it."""
    ledger = Ledger()
    _, claim = ledger.commit(BODY | {"ref": "order-1"})
    facts = Facts(200, claim, STRANGER, "http://localhost/trap", ledger)
    packed = ("gzip", "deflate", "chunked")
    for name in of_kind(Kind.TAKEN):
        if name not in packed:
            assert claim["id"].encode() in bytes(FORMS[name](facts)), name
    for name in of_kind(Kind.REFUSED, Kind.THROTTLED, Kind.UNAUTHORIZED, Kind.GATEWAY):
        assert claim["id"].encode() not in bytes(FORMS[name](facts)), name


LIES = [
    # Taken, and refused by the same answer.
    (Fault(Point.ANSWERED, Act.KEEP, commit=True, answer="400"), True),
    (Fault(Point.ANSWERED, Act.KEEP, commit=True, answer="429"), True),
    (Fault(Point.ANSWERED, Act.KEEP, commit=True, answer="401"), True),
    (Fault(Point.BODY, Act.CLOSE, commit=True, answer="409"), True),
    (Fault(Point.STATUS_LINE, Act.TRICKLE, commit=True, answer="409"), True),
    (Fault(Point.STATUS_LINE, Act.CLOSE, commit=True, answer="409"), False),
    (Fault(Point.ANSWERED, Act.KEEP, answer="400"), False),
    # A gateway's refusal is looked up, and what is ambiguous says nothing.
    (Fault(Point.ANSWERED, Act.KEEP, commit=True, answer="307"), False),
    (Fault(Point.ANSWERED, Act.KEEP, commit=True, answer="499"), False),
    (Fault(Point.ANSWERED, Act.KEEP, commit=True, answer="500"), False),
    (Fault(Point.ANSWERED, Act.KEEP, answer="200-stranger"), False),
    # Not taken, and answered as taken.
    (Fault(Point.ANSWERED, Act.CLOSE), True),
    (Fault(Point.ANSWERED, Act.KEEP, answer="201"), True),
    (Fault(Point.ANSWERED, Act.KEEP, answer="200-bom"), True),
    (Fault(Point.HEADERS, Act.TRICKLE), True),
    (Fault(Point.BODY, Act.CLOSE, after=1000), True),
    (Fault(Point.BODY, Act.CLOSE, after=5), False),
    (Fault(Point.HEADERS, Act.RESET, after=5), False),
    (Fault(Point.RECEIVED, Act.RESET), False),
]


@pytest.mark.parametrize(("fault", "lie"), LIES, ids=str)
def test_which_faults_are_lies(fault, lie):
    """A server lies where one answer refuses what it executed, or confirms what it did not."""
    assert lies(fault) == lie


def claim_request(number, attempt=1):
    return Request("claim", attempt, number, used=False, ref=f"r{number}", customer_id=f"c{number}")


def drawn(plan, count, operation="claim"):
    """Return what strikes so many requests."""
    if operation == "claim":
        return [plan.for_request(claim_request(number)) for number in range(count)]
    return [plan.for_request(Request(operation, number, 1, used=True)) for number in range(count)]


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.3, 0.9, 1.0])
def test_a_seed_strikes_as_often_as_it_is_told(rate):
    """The share of struck requests is the rate, for each operation."""
    plan = Seeded(7, rate, rates={"connection": rate})
    for operation in ("claim", "list", "token", "get"):
        struck = sum(fault is not None for fault in drawn(plan, 20_000, operation))
        assert struck / 20_000 == pytest.approx(rate, abs=0.015)
    struck = sum(plan.for_connection(number) is not None for number in range(20_000))
    assert struck / 20_000 == pytest.approx(rate, abs=0.015)


def test_a_seed_can_be_replayed():
    """The fault of an attempt depends on the seed, the customer and the attempt, and on nothing else."""
    plan = Seeded(
        7, 0.5, rates={"list": 0.2}, attempts=3, slow=0.1, heavy=0.5, refusals=0.5, hiding=True, gap=0.25
    )
    again = rebuild(json.loads(json.dumps(plan.describe())))
    requests = [claim_request(number, attempt) for number in range(1000) for attempt in (1, 2)]
    faults = [plan.for_request(request) for request in requests]
    elsewhere = [
        dataclasses.replace(request, connection=9, used=True, ref=None) for request in reversed(requests)
    ]
    assert [again.for_request(request) for request in elsewhere] == faults[::-1]
    assert drawn(again, 500, "list") == drawn(plan, 500, "list")
    assert drawn(Seeded(8, 0.5), 1000) != drawn(Seeded(7, 0.5), 1000)
    assert drawn(Seeded(7, 0.5), 1000) == drawn(Seeded(7, 0.5), 1000)


def test_a_seed_leaves_later_attempts_alone():
    """After so many attempts a claim is struck no more."""
    plan = Seeded(7, 1.0, attempts=2)
    assert [plan.for_request(claim_request(1, attempt)) is None for attempt in (1, 2, 3, 9)] == [
        False,
        False,
        True,
        True,
    ]


def test_a_seed_brings_every_kind_of_fault():
    """Every point, act and form occurs, with the claim taken and not taken, and none of them is a lie."""
    plan = Seeded(7, 1.0, slow=1.0, heavy=1.0)
    faults = [fault for fault in drawn(plan, 30_000) if fault is not None]
    assert not any(lies(fault) for fault in faults)
    seen = collections.Counter((fault.at, fault.act, fault.commit) for fault in faults)
    wanted = {
        (at, act, commit)
        for at, acts in ACTS.items()
        if at is not Point.ACCEPT
        for act in acts
        for commit in ((False, True) if at in EXECUTED else (False,))
    }
    assert set(seen) == wanted
    forms = {fault.answer for fault in faults if fault.at is Point.ANSWERED}
    assert forms == {name for name, form in FORMS.items() if form.kind is not Kind.PAGE}


def test_a_seed_leaves_out_what_takes_time():
    """Unless it is asked to, a seed brings nothing that a client has to wait for."""
    faults = [fault for fault in drawn(Seeded(7, 1.0), 20_000) if fault is not None]
    assert not {fault.act for fault in faults} & {Act.STALL, Act.TRICKLE}
    answered = [fault for fault in faults if fault.at in (*CUTS, Point.ANSWERED)]
    assert not any(FORMS[fault.answer].slow for fault in answered)
    heavy = sum(FORMS[fault.answer].heavy for fault in answered)
    assert 0 < heavy < 100


def test_a_seed_without_refusals_ends_no_claim():
    """Without refusals what is not taken can be sent again: no refusal, and a 401 only to a first attempt."""
    plan = Seeded(7, 1.0, refusals=0.0)
    for attempt in (1, 2):
        faults = [plan.for_request(claim_request(number, attempt)) for number in range(20_000)]
        kinds = {(FORMS[fault.answer].kind, fault.commit) for fault in faults if fault is not None}
        assert not kinds & {(Kind.REFUSED, False), (Kind.REFUSED, True), (Kind.GATEWAY, False)}
        assert {(Kind.GATEWAY, True), (Kind.THROTTLED, False)} < kinds
        assert ((Kind.UNAUTHORIZED, False) in kinds) == (attempt == 1)


def test_lists_of_a_seed_hide_nothing_unless_asked():
    """Lists that leave out claims come only when asked for; what needs them is then not committed."""
    usual, hiding = (Seeded(7, 1.0, hiding=allowed, slow=1.0, heavy=1.0) for allowed in (False, True))
    names = {fault.answer for fault in drawn(usual, 20_000, "list") if fault is not None}
    assert names
    assert not any(FORMS[name].hides for name in names)
    assert "200-[]" not in names
    assert "list-ends" in {fault.answer for fault in drawn(hiding, 20_000, "list") if fault is not None}
    refused = [f for f in drawn(hiding, 20_000) if f is not None and FORMS[f.answer].kind is Kind.GATEWAY]
    assert refused
    assert not any(fault.commit for fault in refused)
