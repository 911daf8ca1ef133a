"""The ledger: what arrived, what was done, and what went wrong."""

import json

import httpx
import pytest

from dintero_claims_client.sandbox import Fault, Operation


async def test_counts_what_happened(api):
    """Every request is counted by operation and outcome, every fault by kind, every ref by arrival."""
    sandbox = api.sandbox
    await api.claim(ref="a")
    await api.claim(ref="a")
    await api.claim()
    sandbox.drop_after_commit()
    with pytest.raises(httpx.ReadError):
        await api.claim(ref="b")
    sandbox.fail_next(503)
    await api.claim(ref="b")
    await api.page()
    await api.get("unknown")
    await api.ask_token(grant_type="password")
    assert sandbox.ledger.summary() == {
        "claims": 3,
        "doubled": 0,
        "arrivals": 5,
        "arrivals_without_ref": 1,
        "refs": 2,
        "tokens_issued": 1,
        "token_requests": 2,
        "requests": {
            "claim_discounts": {"200": 2, "409": 1, "503": 1, "dropped": 1},
            "list_claims": {"200": 1},
            "get_claim": {"404": 1},
            "token": {"200": 1, "400": 1},
        },
        "faults": {
            "latency": 0,
            "too_many_requests": 0,
            "unavailable": 1,
            "drop_before_commit": 0,
            "drop_after_commit": 1,
            "expire_token": 0,
        },
    }
    assert sandbox.ledger.arrivals == {"a": 2, "b": 2}
    assert json.loads(json.dumps(sandbox.ledger.summary())) == sandbox.ledger.summary()


async def test_an_arrival_counts_whatever_comes_of_it(api):
    """A claim request arrived when its body was read and parsed: refused, dropped or taken."""
    ledger = api.sandbox.ledger
    api.sandbox.faults.next(Fault.DROP_BEFORE_COMMIT)
    with pytest.raises(httpx.ReadError):
        await api.claim(ref="r")
    api.sandbox.fail_next(429)
    await api.claim(ref="r")
    await api.claim(ref="r", customer_id="")
    await api.claim("T00000002", ref="r")
    api.authorization = {}
    await api.claim(ref="r")
    assert ledger.arrivals == {"r": 5}
    assert ledger.claims == []


async def test_what_could_not_be_parsed_did_not_arrive(api):
    """A body that is not JSON is a request, and no arrival; JSON without a ref is one without ref."""
    await api.send(b"{")
    assert api.sandbox.ledger.summary()["arrivals"] == 0
    await api.send(b"[]")
    await api.send(b'{"ref": 1}')
    assert api.sandbox.ledger.arrivals_without_ref == 2
    assert api.sandbox.ledger.requests == {(Operation.CLAIM, "400"): 3, (Operation.TOKEN, "200"): 1}


async def test_finds_claims(api):
    """Claims are found by ref and by id, those without ref by id alone."""
    ledger = api.sandbox.ledger
    with_ref = (await api.claim(ref="r")).json()["id"]
    without = (await api.claim()).json()["id"]
    assert [claim.id for claim in ledger.claims] == [with_ref, without]
    assert {ref: [claim.id for claim in claims] for ref, claims in ledger.claims_by_ref().items()} == {
        "r": [with_ref]
    }
    assert list(ledger.claims_by_id()) == [with_ref, without]


async def test_doubled_is_counted_in_the_claims(api):
    """A ref with two claims shows as doubled, were the rules to let it pass; other accounts do not."""
    sandbox = api.sandbox
    await api.claim(ref="r")
    await api.claim()
    await api.claim()
    other = sandbox.add_account("T00000002")
    await api.log_in(client=other, account_id="T00000002")
    await api.claim("T00000002", ref="r")
    assert sandbox.ledger.doubled == 0
    sandbox.rules.claims.append(sandbox.rules.claims[0])
    assert sandbox.ledger.doubled == 1
