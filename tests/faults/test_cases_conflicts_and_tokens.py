"""Cases 29 to 46: refs that are in use, and tokens that are not there."""

import asyncio

import attrs
import pytest

from dintero_claims_client import (
    APIStatusError,
    AuthenticationError,
    ClaimDiscount,
    ClaimsError,
    NotSentError,
    OutcomeUnknownError,
    RefConflictError,
    RetryPolicy,
    ServerError,
)
from faults.script import Act, Fault, Point

LOST = Fault(Point.RECEIVED, Act.RESET, commit=True)
RESET = Fault(Point.RECEIVED, Act.RESET)


def answered(form, *, commit=False, size=1):
    return Fault(Point.ANSWERED, Act.KEEP, commit=commit, answer=form, size=size)


async def test_case_29_a_first_conflict(engine, server, make_client, make_request):
    """A ref that was in use before the call is a conflict, after one request, with nothing looked up."""
    client = await make_client(engine)
    await client.claim(make_request("order-1"))
    with pytest.raises(RefConflictError) as caught:
        await client.claim(make_request("order-1"))
    assert caught.value.ref == "order-1"
    assert (server.claim_requests, server.list_requests, len(server.ledger.claims)) == (2, 0, 1)


@pytest.mark.parametrize("oldest_first", [False, True], ids=["newest first", "oldest first"])
async def test_case_30_a_conflict_after_a_lost_answer(
    engine, server, plan, make_client, make_request, oldest_first
):
    """A conflict with the own first attempt is a success with the real id, whatever the list's order."""
    server.ledger.oldest_first = oldest_first
    client = await make_client(engine)
    for number in range(150):
        server.ledger.commit(
            {"purchase_at": "x", "customer_id": "y", "discounts": [{}], "ref": f"other-{number}"}
        )
    plan.claim.append(LOST)
    claim = await client.claim(make_request("order-1"))
    assert server.ledger.by_ref["order-1"]["id"] == claim.id
    assert (server.claim_requests, len(server.ledger.claims)) == (2, 151)


@pytest.mark.parametrize(
    "change",
    [
        {"customer_id": "somebody-else"},
        {"purchase_at": "2020-01-01T00:00:00Z"},
        {"discounts": [{"id": "another"}]},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_case_31_the_ref_is_another_claims(engine, server, plan, make_client, make_request, change):
    """A conflict after a lost answer is a conflict where the claim that is found is another one."""
    client = await make_client(engine)
    server.ledger.commit(make_request("order-1").to_dict() | change)
    plan.claim.append(RESET)
    with pytest.raises(RefConflictError):
        await client.claim(make_request("order-1"))
    assert len(server.ledger.claims) == 1


async def test_case_33_the_claim_was_deleted(engine, server, plan, make_client, make_request):
    """A claim that is found deleted is reported as such, and neither taken nor sent again."""
    client = await make_client(engine)
    await client.claim(make_request("order-1"))
    server.ledger.delete("order-1")
    plan.claim.append(RESET)
    with pytest.raises(OutcomeUnknownError, match="deleted") as caught:
        await client.claim(make_request("order-1"))
    assert (caught.value.taken, server.claim_requests, len(server.ledger.claims)) == (False, 3, 1)


@pytest.mark.parametrize("if_exists", ["raise", "return"])
async def test_case_35_two_tasks_with_one_ref(engine, server, make_client, make_request, if_exists):
    """Of two that claim the same at once one takes it; the other gets the same claim, or a conflict."""
    client = await make_client(engine)
    calls = [client.claim(make_request("order-1"), if_exists=if_exists) for _ in range(2)]
    ended = await asyncio.gather(*calls, return_exceptions=True)
    taken = server.ledger.claims
    assert len(taken) == 1
    assert {one.id for one in ended if not isinstance(one, BaseException)} == {taken[0]["id"]}
    others = [one for one in ended if isinstance(one, BaseException)]
    assert [type(one) for one in others] == ([RefConflictError] if if_exists == "raise" else [])


@pytest.mark.parametrize(
    "form", ["400", "403", "404", "409", "410", "422", "429-retry-after-400-digits", "301", "499"]
)
async def test_a_refusal_after_a_lost_answer_is_looked_up(
    engine, server, plan, make_client, make_request, form
):
    """No refusal is believed after an attempt that may have been taken: the claim is found."""
    client = await make_client(engine)
    plan.claim.extend([LOST, answered(form)])
    claim = await client.claim(make_request("order-1"))
    assert [claim.id] == [taken["id"] for taken in server.ledger.claims]


async def test_the_limit_was_reached_by_the_claim_itself(engine, server, plan, make_client, make_request):
    """A refusal because the discount is used up is no refusal where it was this claim that used it."""
    client = await make_client(engine)
    plan.claim.append(LOST)
    claim = await client.claim(make_request("order-1", discounts=[ClaimDiscount(id="limited-1")]))
    assert [claim.id] == [taken["id"] for taken in server.ledger.claims]
    with pytest.raises(APIStatusError) as caught:
        await client.claim(make_request("order-2", discounts=[ClaimDiscount(id="limited-1")]))
    assert (caught.value.code, len(server.ledger.claims)) == ("LIMIT", 1)


@pytest.mark.parametrize(
    "form",
    [
        "400",
        "409",
        "418",
        "301",
        "500",
        "429-retry-after-0",
        "200-html",
        "200-null",
        "200-stranger",
        "list-in-object",
        "list-nulls",
        "gzip-broken",
        "length-too-long",
        "chunked-cut-off",
        "503-retry-after-0",
    ],
)
async def test_reads_go_astray_too(engine, server, plan, make_client, make_request, form):
    """A look-up whose answer is lost, wrong or late is made again, and the claim found."""
    client = await make_client(engine)
    plan.claim.append(LOST)
    plan.list.extend([answered(form), Fault(Point.RECEIVED, Act.RESET), answered(form)])
    claim = await client.claim(make_request("order-1"))
    assert [claim.id] == [taken["id"] for taken in server.ledger.claims]


@pytest.mark.parametrize(
    "form", ["list-repeats", "list-loops", "list-lags", "list-ends", "list-short", "200-[]"]
)
async def test_lists_that_do_not_tell_all(engine, server, plan, make_client, make_request, form):
    """A list that repeats itself, loops, lags behind or ends early delays the answer, no more."""
    client = await make_client(engine)
    for number in range(250):
        server.ledger.commit(
            {"purchase_at": "x", "customer_id": "y", "discounts": [{}], "ref": f"other-{number}"}
        )
    plan.claim.append(LOST)
    plan.list.extend([answered(form, size=120)] * 2)
    claim = await client.claim(make_request("order-1"))
    assert server.ledger.by_ref["order-1"]["id"] == claim.id
    assert len(server.ledger.claims) == 251


@pytest.mark.parametrize(
    "form", ["list-repeats", "list-loops", "list-lags", "list-ends", "200-[]", "500", "200-html"]
)
async def test_lists_that_never_tell(engine, server, plan, make_client, make_request, form):
    """A list that never shows the claim ends the look-up within its bounds: taken, but it cannot be read."""
    client = await make_client(engine, retry=RetryPolicy(max_attempts=3, base_delay=0.001))
    for number in range(250):
        server.ledger.commit(
            {"purchase_at": "x", "customer_id": "y", "discounts": [{}], "ref": f"other-{number}"}
        )
    server.ledger.oldest_first = True
    plan.claim.append(LOST)
    plan.list.extend([answered(form, size=120)] * 100)
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.claim(make_request("order-1"))
    assert (caught.value.taken, caught.value.ref) == (True, "order-1")
    assert len(plan.list) > 0


@pytest.mark.parametrize("timeout", [1.0, 3.0])
async def test_a_call_keeps_time_to_look(engine, server, plan, make_client, make_request, timeout):
    """A claim that was taken, and is answered with 503 for ever, is looked up before its time is over."""
    client = await make_client(engine, retry=RetryPolicy(max_attempts=10_000, base_delay=0.05, max_delay=0.1))
    plan.claim.extend([answered("503", commit=True)] * 10_000)
    claim = await client.claim(make_request("order-1"), timeout=timeout)
    assert [claim.id] == [taken["id"] for taken in server.ledger.claims]


@pytest.mark.parametrize("form", ["400", "403", "404", "422", "301"])
async def test_asking_again_is_refused_for_what_the_first_call_took(
    engine, server, plan, make_client, make_request, form
):
    """A claim that an earlier call took is returned, although asking for it again is refused."""
    client = await make_client(engine)
    taken = await client.claim(make_request("order-1"))
    plan.claim.append(answered(form))
    again = await client.claim(make_request("order-1"), if_exists="return")
    assert again.id == taken.id
    plan.claim.append(answered(form))
    with pytest.raises(APIStatusError):
        await client.claim(make_request("order-2"), if_exists="return")
    plan.claim.append(answered(form))
    plan.list.extend([answered("500")] * 50)
    with pytest.raises(OutcomeUnknownError):
        await client.claim(make_request("order-1"), if_exists="return", timeout=1)
    assert len(server.ledger.claims) == 1


@pytest.mark.parametrize("form", ["401", "403", "429-retry-after-400-digits"])
async def test_asking_again_without_the_right_to(engine, server, plan, make_client, make_request, form):
    """A refusal that is about the caller is said as it is, also where the list is refused for it too."""
    client = await make_client(engine, retry=RetryPolicy(max_attempts=2, base_delay=0.001))
    plan.claim.extend([answered(form)] * 2)
    plan.list.extend([answered("403")] * 10)
    with pytest.raises(APIStatusError) as caught:
        await client.claim(make_request("order-1"), if_exists="return")
    assert int(form[:3]) == caught.value.status


@pytest.mark.parametrize("form", ["401", "429-retry-after-0"])
async def test_a_refusal_after_the_commit_and_then_a_conflict(
    engine, server, plan, make_client, make_request, form
):
    """A conflict after an earlier sending of the same call may be with that one, and is looked up."""
    client = await make_client(engine)
    plan.claim.append(answered(form, commit=True))
    claim = await client.claim(make_request("order-1"))
    assert [claim.id] == [taken["id"] for taken in server.ledger.claims]
    server.ledger.commit(make_request("order-2", customer_id="somebody-else").to_dict())
    plan.claim.append(answered(form))
    with pytest.raises(RefConflictError):
        await client.claim(make_request("order-2"))


@pytest.mark.parametrize("form", ["302", "303", "460", "499"])
async def test_a_gateway_gave_up_and_the_list_lags(engine, server, plan, make_client, make_request, form):
    """A claim that was taken is found behind a gateway's refusal, although the list shows it only later."""
    client = await make_client(engine)
    plan.claim.append(answered(form, commit=True))
    plan.list.extend([answered("list-lags"), answered("200-[]")])
    claim = await client.claim(make_request("order-1"))
    assert [claim.id] == [taken["id"] for taken in server.ledger.claims]


async def test_an_outcome_is_looked_for_while_there_is_time(engine, server, plan, make_client, make_request):
    """A claim that cannot be sent again in its time is looked for until the list shows it."""
    client = await make_client(engine, retry=RetryPolicy(max_attempts=1, base_delay=0.001))
    plan.claim.append(LOST)
    plan.list.append(answered("list-lags"))
    with pytest.raises(OutcomeUnknownError):
        await client.claim(make_request("order-1"))
    client = await make_client(engine, retry=RetryPolicy(max_attempts=6, base_delay=0.001))
    plan.claim.extend([Fault(Point.RECEIVED, Act.RESET, commit=True)] * 6)
    plan.list.extend([answered("list-lags", size=2)] * 4)
    claim = await client.claim(make_request("order-2"))
    assert server.ledger.by_ref["order-2"]["id"] == claim.id


async def test_an_answer_that_names_nobody_and_shows_other_discounts(
    engine, server, plan, make_client, make_request
):
    """An answer without ref and customer is not believed when its discounts are another claim's."""
    client = await make_client(engine)
    shown = {"id": "theirs", "discounts": [{"id": "another"}]}
    server.ledger.commit = lambda body, commit=server.ledger.commit: (
        (status := commit(body)[0]),
        shown if status == 200 else {},
    )
    claim = await client.claim(make_request("order-1"))
    assert [claim.id] == [taken["id"] for taken in server.ledger.claims]


async def test_one_failure_of_the_token_endpoint_costs_nobody(
    quiet, engine, server, plan, make_client, make_request
):
    """When the token endpoint fails once, all of 1,000 calls wait for its next answer, and none pays."""
    client = await make_client(engine, timeout=60)
    plan.token.append(answered("503"))
    await asyncio.gather(*(client.claim(make_request(f"order-{n}")) for n in range(1000)))
    assert (server.token_requests, len(server.ledger.by_ref)) == (2, 1000)
    assert client.stats().retries_left == 500


LIST_TROUBLE = [
    "500",
    "400",
    "403",
    "404",
    "409",
    "429",
    "200-{}",
    "200-html",
    "list-in-object",
    "chunked-cut-off",
]


@pytest.mark.parametrize("form", ["303", "307", "460", "499"])
@pytest.mark.parametrize("trouble", LIST_TROUBLE)
async def test_a_gateways_refusal_that_cannot_be_looked_behind(
    engine, server, plan, make_client, make_request, form, trouble
):
    """A gateway's refusal of a claim that was taken is unknown while the list cannot be read."""
    client = await make_client(engine, retry=RetryPolicy(max_attempts=2, base_delay=0.001))
    plan.claim.append(answered(form, commit=True))
    plan.list.extend([answered(trouble)] * 40)
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.claim(make_request("order-1"))
    assert (caught.value.status, len(server.ledger.claims)) == (int(form), 1)
    plan.list.clear()
    claim = await client.claim(make_request("order-1"), if_exists="return")
    assert [claim.id] == [taken["id"] for taken in server.ledger.claims]


CALLERS = {"aiohttp": 10_000, "httpx": 2_000, "httpx2": 2_000}


async def test_case_36_10000_refusals_of_one_token(quiet, engine, server, make_client, make_request):
    """When the token of all callers is revoked, exactly one new one is asked for; all claims are taken."""
    client = await make_client(engine, timeout=60)
    await client.claim(make_request("warm-up"))
    server.revoke()
    count = CALLERS[engine]
    claims = await asyncio.gather(*(client.claim(make_request(f"order-{n}")) for n in range(count)))
    assert server.token_requests == 2
    assert len({claim.id for claim in claims}) == count
    assert len(server.ledger.claims) == count + 1


async def test_case_37_the_same_with_half_the_callers_cancelled(
    quiet, engine, server, make_client, make_request
):
    """Cancelling half of them, the one that began the fetch too, costs no further token request."""
    client = await make_client(engine, timeout=60)
    await client.claim(make_request("warm-up"))
    server.revoke()
    count = CALLERS[engine] // 2
    calls = [asyncio.create_task(client.claim(make_request(f"order-{n}"))) for n in range(count)]
    await server.until(lambda: server.token_requests == 2)
    for call in calls[::2]:
        call.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert server.token_requests == 2
    refs = [claim["ref"] for claim in server.ledger.claims]
    assert len(refs) == len(set(refs))
    for number in range(1, count, 2):
        assert server.ledger.by_ref[f"order-{number}"]["id"] == ended[number].id


@pytest.mark.parametrize("ref", ["order-1", None])
async def test_case_39_401_for_ever(engine, server, plan, make_client, make_request, ref):
    """A token that is always refused ends the call after one replay."""
    client = await make_client(engine, generate_refs=False)
    plan.claim.extend([answered("401")] * 10)
    with pytest.raises(AuthenticationError) as caught:
        await client.claim(make_request(ref))
    assert (caught.value.status, server.claim_requests, server.ledger.claims) == (401, 2, [])


@pytest.mark.parametrize("form", ["400", "401", "403"])
async def test_case_40_the_credentials_are_refused(engine, server, plan, make_client, make_request, form):
    """Credentials that are refused end the call after one request; no claim is sent."""
    client = await make_client(engine)
    plan.token.extend([answered(form)] * 5)
    with pytest.raises(AuthenticationError) as caught:
        await client.claim(make_request("order-1"))
    assert (int(form), 1, 0) == (caught.value.status, server.token_requests, server.claim_requests)


TOKEN_OUTAGES = {
    "reset": Fault(Point.RECEIVED, Act.RESET),
    "503": answered("503"),
    "429": answered("429"),
    "silent": Fault(Point.RECEIVED, Act.STALL),
    "html": answered("502-html"),
}


@pytest.mark.parametrize("fault", TOKEN_OUTAGES.values(), ids=TOKEN_OUTAGES)
async def test_case_41_no_token_for_1000_callers(engine, server, plan, make_client, make_request, fault):
    """While there is no token to be had, 1,000 callers make at most 3 requests, and all end in time."""
    client = await make_client(engine)
    plan.token.extend([fault] * 50)
    calls = [client.claim(make_request(f"order-{n}"), timeout=1.5) for n in range(1000)]
    async with asyncio.timeout(30):
        ended = await asyncio.gather(*calls, return_exceptions=True)
    assert server.token_requests <= 3
    assert {type(one) for one in ended} <= {NotSentError, ServerError, APIStatusError} | set(
        APIStatusError.__subclasses__()
    )
    assert (server.claim_requests, server.ledger.claims) == (0, [])


async def test_case_42_the_token_endpoint_flaps_while_the_token_is_good(
    engine, server, plan, make_client, make_request
):
    """Claims go on with a token that is due for its refresh while no other is to be had."""
    client = await make_client(engine)
    await client.claim(make_request("warm-up"))
    tokens = client._opened.tokens
    tokens._token = attrs.evolve(tokens._token, refresh_at=float("-inf"))
    tokens._next_fetch = float("-inf")
    plan.token.extend([answered("503")] * 50)
    await asyncio.gather(*(client.claim(make_request(f"order-{n}")) for n in range(200)))
    assert len(server.ledger.claims) == 201
    assert 2 <= server.token_requests <= 3


@pytest.mark.parametrize(
    "expires_in", [1, 0, -1, "3600", None, float("nan"), 1e308, True, "soon", [], 10**400]
)
async def test_case_43_lifetimes_of_tokens(engine, server, make_client, make_request, expires_in):
    """However long a token is said to live, 50 claims ask for one, and no more often than once a second."""
    server.expires_in = expires_in
    client = await make_client(engine)
    for number in range(50):
        await client.claim(make_request(f"order-{number}"))
    assert server.token_requests <= 3
    assert len(server.ledger.claims) == 50


@pytest.mark.parametrize("ref", ["order-1", None])
async def test_case_45_a_token_revoked_early(engine, server, make_client, make_request, ref):
    """A token that stops being good costs one replay, also without a ref."""
    client = await make_client(engine, generate_refs=False)
    await client.claim(make_request("warm-up"))
    server.revoke()
    await client.claim(make_request(ref))
    assert (server.token_requests, server.claim_requests, len(server.ledger.claims)) == (2, 3, 2)


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": "a\nb"},
        {"access_token": "a b"},
        {"access_token": ""},
        {"access_token": 7},
        {"access_token": "a\u00e5"},
        {"access_token": "good", "token_type": "mac"},
        {"access_token": "good", "token_type": None},
        {"access_token": "good", "error": "no"},
        {"access_token": ...},
    ],
    ids=str,
)
async def test_case_46_answers_without_a_usable_token(engine, server, make_client, make_request, answer):
    """A token that cannot be sent is refused, its text is not shown, and no claim is sent."""
    server.token_fields = answer
    client = await make_client(engine)
    with pytest.raises(AuthenticationError) as caught:
        await client.claim(make_request("order-1"))
    assert "good" not in repr(caught.value.__dict__)
    assert (server.claim_requests, server.ledger.claims) == (0, [])


TOKEN_FAULTS = [
    Fault(Point.RECEIVED, Act.RESET, commit=True),
    Fault(Point.RECEIVED, Act.CLOSE),
    Fault(Point.STATUS_LINE, Act.RESET, after=5),
    Fault(Point.HEADERS, Act.CLOSE, after=5),
    Fault(Point.BODY, Act.CLOSE, after=5),
    *(
        answered(form)
        for form in [
            "500",
            "502-html",
            "429",
            "200-html",
            "204",
            "gzip-broken",
            "length-too-long",
            "chunked-cut-off",
            "ssh",
            "status-999",
            "honest-then-stranger",
            "honest-twice",
            "chunked",
            "gzip",
            "103-then-honest",
        ]
    ),
]


@pytest.mark.parametrize("ref", ["order-1", None])
@pytest.mark.parametrize("fault", TOKEN_FAULTS, ids=str)
async def test_answers_of_the_token_endpoint_go_astray(
    engine, server, plan, make_client, make_request, quick_tokens, fault, ref
):
    """A token whose answer is lost or unreadable is asked for again; the claim is sent and taken once."""
    client = await make_client(engine, generate_refs=False)
    plan.token.extend([fault, fault])
    claim = await client.claim(make_request(ref))
    assert [claim.id] == [taken["id"] for taken in server.ledger.claims]


async def test_no_foreign_error_comes_out(engine, server, plan, make_client, make_request):
    """Whatever the token endpoint answers, what comes out is one of the library's errors."""
    for form in ("301", "404", "410", "451", "460", "499"):
        plan.token.append(answered(form))
        client = await make_client(engine)
        with pytest.raises(ClaimsError):
            await client.claim(make_request("order-1"))
    assert server.ledger.claims == []


@pytest.mark.parametrize(("timeout", "delay"), [(60.0, 59.5), (4.0, 3.5)])
async def test_the_time_to_look_is_not_waited_away(
    engine, server, plan, make_client, make_request, monkeypatch, timeout, delay
):
    """No repetition is waited for that leaves less than a second, or a fifth of the call, to look up."""
    monkeypatch.setattr("dintero_claims_client.client.random", lambda: 1.0)
    client = await make_client(engine, retry=RetryPolicy(base_delay=delay, max_delay=delay))
    plan.claim.append(answered("503", commit=True))
    async with asyncio.timeout(30):
        claim = await client.claim(make_request("order-1"), timeout=timeout)
    assert [claim.id] == [taken["id"] for taken in server.ledger.claims]
    assert server.claim_requests == 1


async def test_a_short_call_is_repeated_too(engine, server, plan, make_client, make_request, monkeypatch):
    """A call that is shorter than what is kept at most keeps a fifth of itself, and uses the rest."""
    monkeypatch.setattr("dintero_claims_client._calls._LOOK_SECONDS", 1000.0)
    client = await make_client(engine)
    plan.claim.append(RESET)
    claim = await client.claim(make_request("order-1"), timeout=60)
    assert ([claim.id], 2) == ([taken["id"] for taken in server.ledger.claims], server.claim_requests)


@pytest.mark.parametrize("form", ["307", "499"])
async def test_a_gateways_refusal_when_the_list_is_longer_than_what_is_read(
    server, plan, make_client, make_request, form
):
    """That a claim is not among the pages that were read does not make a gateway's refusal true."""
    client = await make_client()
    plan.claim.append(answered(form, commit=True))
    for number in range(2100):
        server.ledger.commit(
            {"purchase_at": "x", "customer_id": "y", "discounts": [{}], "ref": f"other-{number}"}
        )
    server.ledger.oldest_first = True
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.claim(make_request("order-1"))
    assert (caught.value.status, caught.value.taken, server.list_requests) == (int(form), None, 20)
    assert "order-1" in server.ledger.by_ref


@pytest.mark.parametrize("form", ["307", "499"])
async def test_a_gateways_refusal_of_a_ref_that_is_another_claims(
    server, plan, make_client, make_request, form
):
    """A claim that lives under the ref and is another one is not returned for one that a gateway refuses."""
    client = await make_client()
    server.ledger.commit(make_request("order-1", customer_id="somebody-else").to_dict())
    plan.claim.append(answered(form))
    with pytest.raises(APIStatusError) as caught:
        await client.claim(make_request("order-1"))
    assert (caught.value.status, len(server.ledger.claims)) == (int(form), 1)


@pytest.mark.parametrize("form", ["301", "307", "308"])
async def test_a_redirect_without_a_ref(engine, server, plan, make_client, make_request, form):
    """A redirect that asks for the same request elsewhere says that the claim was not taken here."""
    client = await make_client(engine, generate_refs=False)
    plan.claim.append(answered(form))
    with pytest.raises(APIStatusError) as caught:
        await client.claim(make_request(None))
    assert (caught.value.status, server.claim_requests, server.ledger.claims) == (int(form), 1, [])


@pytest.mark.parametrize("generate_refs", [True, False])
async def test_asking_for_what_exists_under_no_ref(
    engine, server, plan, make_client, make_request, generate_refs
):
    """No call before can have used a ref that was made for this one, or none: a refusal is what it says."""
    client = await make_client(engine, generate_refs=generate_refs)
    plan.claim.append(answered("422"))
    with pytest.raises(APIStatusError) as caught:
        await client.claim(make_request(None), if_exists="return")
    assert (caught.value.status, server.list_requests) == (422, 0)


@pytest.mark.parametrize("form", ["403", "404"])
async def test_a_list_that_may_not_be_read_is_asked_for_once(
    engine, server, plan, make_client, make_request, form
):
    """A refusal that a list may well get is not asked for again."""
    client = await make_client(engine)
    plan.claim.append(LOST)
    plan.list.extend([answered(form)] * 10)
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.claim(make_request("order-1"))
    assert (caught.value.taken, server.list_requests) == (True, 1)


async def test_asking_again_looks_once(engine, server, plan, make_client, make_request):
    """What an earlier call took is long in the list: where it is not, a refusal is believed at once."""
    client = await make_client(engine)
    plan.claim.append(answered("422"))
    with pytest.raises(APIStatusError):
        await client.claim(make_request("order-1"), if_exists="return")
    assert server.list_requests == 1


async def test_a_gateways_refusal_and_a_list_that_goes_astray(
    engine, server, plan, make_client, make_request
):
    """A list that is refused for no reason shows nothing, so it does not count as a look behind a gateway."""
    client = await make_client(engine)
    plan.claim.append(answered("499", commit=True))
    plan.list.extend([answered("400")] * 5)
    claim = await client.claim(make_request("order-1"))
    assert [claim.id] == [taken["id"] for taken in server.ledger.claims]
