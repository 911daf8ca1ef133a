"""The ledger's assertions: what passes, and what a test that fails shows."""

import asyncio

import pytest

from dintero_claims_client import ClaimsClient, OutcomeUnknownError, RetryPolicy
from dintero_claims_client.sandbox import Fault

CLAIM = (
    '    {"customer_id": "customer-1", "discounts": [{"id": "discount-1", '
    '"refs": [{"id": "item-1", "amount": 100, "usage": 1}]}]}'
)


def said(caught):
    """Return the lines of a failed assertion."""
    return str(caught.value).splitlines()


@pytest.fixture
def ledger(dintero_sandbox):
    """Return the ledger of the test's sandbox."""
    return dintero_sandbox.ledger


async def test_what_was_claimed(claims_client, ledger, make_request):
    """What is as expected passes, and the claims with the ref are returned."""
    await claims_client.claim(make_request("order-1"))
    await claims_client.claim(make_request("order-2", customer_id="customer-2"))
    (claim,) = ledger.assert_claimed(ref="order-2")
    assert (claim.ref, claim.data["customer_id"]) == ("order-2", "customer-2")
    assert ledger.assert_claimed(ref="order-3", times=0) == []


async def test_what_was_not_claimed(claims_client, ledger, make_request):
    """A claim that is missing: what was claimed instead, what looks like it first, and all requests."""
    for ref in ("basket-7", "order-1002", "order-l001"):
        await claims_client.claim(make_request(ref))
    with pytest.raises(AssertionError) as caught:
        ledger.assert_claimed(ref="order-1001", times=1)
    assert said(caught) == [
        "expected 1 claim with the ref 'order-1001', found 0",
        "  requests with it: none",
        "  claimed instead: 'order-l001', 'order-1002', 'basket-7'",
        "  all requests: claim_discounts 200 3 times; token 200 once",
    ]


async def test_what_did_not_get_through(claims_client, dintero_sandbox, make_request):
    """A claim that was sent and not taken: how often it arrived, and how each of those requests ended."""
    dintero_sandbox.fail_next(503, times=2)
    dintero_sandbox.faults.next(Fault.DROP_BEFORE_COMMIT)
    settings = dintero_sandbox.client_settings()
    async with ClaimsClient(**settings, retry=RetryPolicy(max_attempts=3, base_delay=0.001)) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.claim(make_request("order-1"))
    await claims_client.claim(make_request("order-2"))
    with pytest.raises(AssertionError) as caught:
        dintero_sandbox.ledger.assert_claimed(ref="order-1")
    assert said(caught)[:3] == [
        "expected 1 claim with the ref 'order-1', found 0",
        "  requests with it: 503 twice, dropped once",
        "  claimed instead: 'order-2'",
    ]


async def test_what_should_not_have_been_claimed(claims_client, ledger, make_request):
    """A claim that was not to be made is shown, with its customer and its discounts."""
    await claims_client.claim(make_request("order-1"))
    with pytest.raises(AssertionError) as caught:
        ledger.assert_claimed(ref="order-1", times=0)
    assert said(caught) == [
        "expected no claims with the ref 'order-1', found 1",
        CLAIM,
        "  requests with it: 200 once",
        "  all requests: claim_discounts 200 once; token 200 once",
    ]


async def test_an_application_that_talks_to_something_else(ledger):
    """Where no request came at all, the message asks whether the application knows of the sandbox."""
    with pytest.raises(AssertionError) as caught:
        ledger.assert_claimed(ref="order-1", times=2)
    assert said(caught) == [
        "expected 2 claims with the ref 'order-1', found 0",
        "  requests with it: none",
        "  claimed instead: nothing",
        "  all requests: none; does the application talk to this sandbox?",
    ]


async def test_nothing_was_claimed(claims_client, ledger, make_request):
    """Nothing is nothing, whatever was asked for; one claim, with or without a ref, is something."""
    ledger.assert_nothing_claimed()
    assert await claims_client.find_claim(ref="order-1") is None
    ledger.assert_nothing_claimed()
    await claims_client.claim(make_request("order-1"))
    with pytest.raises(AssertionError) as caught:
        ledger.assert_nothing_claimed()
    assert said(caught) == [
        "expected no claim, found 1: 'order-1'",
        CLAIM,
        "  all requests: claim_discounts 200 once; list_claims 200 once; token 200 once",
    ]


async def test_claims_without_a_ref(dintero_sandbox, make_request):
    """They are counted where refs are listed."""
    async with ClaimsClient(**dintero_sandbox.client_settings(), generate_refs=False) as client:
        await client.claim(make_request(None))
        await client.claim(make_request(None))
    with pytest.raises(AssertionError, match="claimed instead: without a ref twice"):
        dintero_sandbox.ledger.assert_claimed(ref="order-1")


async def test_a_message_has_an_end(claims_client, ledger, make_request):
    """Of many claims, long refs and large claims only so much is shown."""
    await asyncio.gather(*(claims_client.claim(make_request(f"order-{n:03}")) for n in range(100)))
    await claims_client.claim(make_request("long-" * 1000, customer_id="c" * 255))
    with pytest.raises(AssertionError) as caught:
        ledger.assert_claimed(ref="order-1", times=1)
    assert said(caught)[2].endswith(", 91 more")
    assert said(caught)[2].count("'order-") == 10
    for times in (0, 2):
        with pytest.raises(AssertionError) as caught:
            ledger.assert_claimed(ref="long-" * 1000, times=times)
        assert max(map(len, said(caught))) < 320
    with pytest.raises(AssertionError) as caught:
        ledger.assert_nothing_claimed()
    assert len(said(caught)) == 12


def test_a_request_that_is_under_way(ledger):
    """A request that has arrived and is not over yet is told from one that never came."""
    ledger.count_arrival("order-1")
    with pytest.raises(AssertionError, match="requests with it: under way once"):
        ledger.assert_claimed(ref="order-1")


async def test_requests_at_once_are_told_apart(claims_client, dintero_sandbox, make_request):
    """Of claims that are under way together, each request's end is counted for its own ref."""
    dintero_sandbox.fail_next(503, times=20)
    await asyncio.gather(*(claims_client.claim(make_request(f"order-{n}")) for n in range(50)))
    ledger = dintero_sandbox.ledger
    for n in range(50):
        ledger.assert_claimed(ref=f"order-{n}", times=1)
        ends = {end: count for (ref, end), count in ledger.outcomes.items() if ref == f"order-{n}"}
        assert sum(ends.values()) == ledger.arrivals[f"order-{n}"]
        assert ends["200"] == 1
    assert sum(count for (_, end), count in ledger.outcomes.items() if end == "503") == 20


@pytest.mark.parametrize("wrong", [{"ref": ""}, {"ref": None}, {"ref": 1}])
def test_a_ref_is_a_text(ledger, wrong):
    """What can be no ref is refused, instead of not being found."""
    with pytest.raises(ValueError, match=r"^ref must be a text that is not empty$"):
        ledger.assert_claimed(**wrong, times=0)


@pytest.mark.parametrize("times", [-1, 1.0, True, None, "1"])
def test_times_is_a_count(ledger, times):
    """What is no number of claims is refused."""
    with pytest.raises(ValueError, match=r"^times must be a whole number, 0 or more$"):
        ledger.assert_claimed(ref="order-1", times=times)
