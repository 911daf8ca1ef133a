"""Faults on request: what can be asked for, and what is left of it."""

import httpx
import pytest

from dintero_claims_client.sandbox import Fault, Operation


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda sandbox: sandbox.fail_next(200), "status must be 429, or between 500 and 599"),
        (lambda sandbox: sandbox.fail_next("503"), "status must be 429, or between 500 and 599"),
        (lambda sandbox: sandbox.fail_next(None), "status must be 429, or between 500 and 599"),
        (lambda sandbox: sandbox.fail_next(times=0), "times must be a whole number, 1 or more"),
        (lambda sandbox: sandbox.fail_next(times=-1), "times must be a whole number, 1 or more"),
        (lambda sandbox: sandbox.fail_next(429, times=True), "times must be a whole number, 1 or more"),
        (lambda sandbox: sandbox.drop_after_commit(times=1.5), "times must be a whole number, 1 or more"),
        (lambda sandbox: sandbox.expire_tokens(times="2"), "times must be a whole number, 1 or more"),
        (
            lambda sandbox: sandbox.fail_next(operation="claim"),
            "operation must be one of claim_discounts, list_claims, get_claim, token",
        ),
        (
            lambda sandbox: sandbox.expire_tokens(operation=None),
            "operation must be one of claim_discounts, list_claims, get_claim, token",
        ),
        (
            lambda sandbox: sandbox.expire_tokens(operation="token"),
            "a token request presents no token that could expire",
        ),
        (
            lambda sandbox: sandbox.faults.next("drop"),
            "fault must be one of latency, too_many_requests, unavailable, drop_before_commit, "
            "drop_after_commit, expire_token",
        ),
    ],
)
def test_what_cannot_happen_is_refused(dintero_sandbox, ask, said):
    """A fault that could never happen is refused where it is asked for, and the field is named."""
    with pytest.raises(ValueError, match=f"^{said}$"):
        ask(dintero_sandbox)
    assert dintero_sandbox.faults.scripted == []


async def test_names_may_be_text(dintero_sandbox):
    """Operations and faults can be given by their names."""
    dintero_sandbox.fail_next(500, operation="token")
    dintero_sandbox.faults.next("drop_before_commit", operation="token")
    async with dintero_sandbox.http_client() as http:
        path = f"accounts/{dintero_sandbox.account_id}/auth/token"
        assert (await http.post(path)).status_code == 500
        with pytest.raises(httpx.ReadError):
            await http.post(path)
        assert (await http.post(path)).status_code == 401


async def test_what_is_left(claims_client, dintero_sandbox, make_request):
    """Each fault that was asked for says how often it is still to happen, in the order of asking."""
    dintero_sandbox.fail_next(503, times=2)
    dintero_sandbox.drop_after_commit()
    dintero_sandbox.fail_next(429, operation=Operation.GET)
    await claims_client.claim(make_request("order-1"))
    assert [str(fault) for fault in dintero_sandbox.faults.scripted] == [
        "too_many_requests 429 to get_claim, 1 of 1 left"
    ]
    dintero_sandbox.fail_next(500, times=3)
    claim = await claims_client.claim(make_request("order-1"), if_exists="return")
    dintero_sandbox.drop_after_commit()
    dintero_sandbox.faults.next(Fault.LATENCY)
    assert [str(fault) for fault in dintero_sandbox.faults.scripted] == [
        "drop_after_commit to claim_discounts, 1 of 1 left",
        "latency to claim_discounts, 1 of 1 left",
        "too_many_requests 429 to get_claim, 1 of 1 left",
    ]
    with pytest.raises(AssertionError) as caught:
        dintero_sandbox.assert_no_faults_left()
    first, *faults, requests = str(caught.value).splitlines()
    assert first == "faults that were asked for did not happen"
    assert faults == [f"  {fault}" for fault in dintero_sandbox.faults.scripted]
    assert requests.startswith("  all requests: claim_discounts 409 ")
    # So that the test's own end has nothing to warn of.
    await claims_client.get_claim(claim.id)
    await claims_client.claim(make_request("order-2"))
    await claims_client.claim(make_request("order-3"))


async def test_half_of_a_script(claims_client, dintero_sandbox, make_request):
    """Of a fault that was asked for more often than it happened, the rest is left."""
    dintero_sandbox.fail_next(503, times=100)
    from dintero_claims_client import ClaimsClient, ClaimsError, RetryPolicy

    settings = dintero_sandbox.client_settings()
    async with ClaimsClient(**settings, retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(ClaimsError):
            await client.claim(make_request("order-1"))
    (fault,) = dintero_sandbox.faults.scripted
    assert 0 < fault.left < fault.times == 100
    assert fault.operation is Operation.CLAIM
