"""What becomes of a claim, on every engine, against a server with its own ledger."""

import asyncio
import json

import pytest
from support.canary import TOKEN
from support.fake_server import CLOSE, HANG, RESET, Answer, error_answer, json_answer

from dintero_claims_client import (
    SPEC_VERSION,
    UNSET,
    APIStatusError,
    AuthenticationError,
    Claim,
    ClaimsError,
    InvalidClaimError,
    NoAnswerError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitedError,
    RefConflictError,
    RetryPolicy,
    __version__,
)

HTML = Answer(200, b"<html>hello</html>", {"Content-Type": "text/html"})


async def test_a_claim_is_taken_once(engine, server, make_client, make_request):
    """A claim comes back with the server's id, is sent once, and the request object is not changed."""
    client = await make_client(engine)
    request = make_request("order-1", type_="pos")
    before = request.to_dict()
    claim = await client.claim(request)
    assert isinstance(claim, Claim)
    assert [claim.id] == [taken["id"] for taken in server.claims]
    assert claim.ref == "order-1"
    assert before == request.to_dict()
    assert len(server.posts) == 1
    assert server.posts[0].json == {
        "purchase_at": "2026-11-23T12:00:00+00:00",
        "customer_id": "customer-1",
        "discounts": [{"id": "discount-1", "refs": [{"id": "item-1", "amount": 100, "usage": 1}]}],
        "ref": "order-1",
        "type": "pos",
    }


async def test_what_is_none_is_not_sent(server, make_client, make_request):
    """Fields that are None do not go over the wire as null."""
    client = await make_client(generate_refs=False)
    request = make_request(None, type_=None)
    request.ref = None
    request.discounts[0].refs[0].usage = None
    await client.claim(request)
    assert b"null" not in server.posts[0].body
    assert server.posts[0].json["discounts"] == [
        {"id": "discount-1", "refs": [{"id": "item-1", "amount": 100}]}
    ]


async def test_a_conflict_of_a_minted_ref_is_our_own(engine, server, make_client, make_request):
    """A first conflict on a minted ref is a request that the network repeated: the claim is found."""
    client = await make_client(engine)
    server.on_claim.append(server.commit_then(error_answer(409)))
    claim = await client.claim(make_request(None))
    assert [claim.id] == [taken["id"] for taken in server.claims]
    assert len(server.posts) == 1


async def test_headers(engine, server, make_client, make_request):
    """A claim says which library, system and plugin sent it, and asks for plain JSON."""
    client = await make_client(engine, system_name="Shop", system_version="7", system_plugin_name="Till")
    await client.claim(make_request())
    headers = server.posts[0].headers
    assert headers["user-agent"].startswith(f"dintero-claims-client/{__version__} (contract {SPEC_VERSION}; ")
    assert tuple(
        headers[f"dintero-{name}"] for name in ("system-name", "system-version", "system-plugin-name")
    ) == ("Shop", "7", "Till")
    assert headers["dintero-system-plugin-version"]
    assert headers["content-type"] == "application/json"
    assert headers["accept-encoding"] == "identity"
    assert headers["authorization"].startswith(f"Bearer {TOKEN}-")


async def test_a_ref_is_minted_and_kept(engine, server, make_client, make_request):
    """A claim without a ref gets one, and it and every other byte are the same on each attempt."""
    client = await make_client(engine)
    server.on_claim.extend([RESET, error_answer(503), CLOSE])
    claim = await client.claim(make_request(None))
    assert len(server.posts) == 4
    assert len({post.body for post in server.posts}) == 1
    assert claim.ref == server.posts[0].json["ref"]
    assert len(server.claims) == 1


AMBIGUOUS = {
    "reset": RESET,
    "closed": CLOSE,
    "half a status line": Answer(raw=b"HTTP/1.1 20", then="close"),
    "half the headers": Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Le", then="close"),
    "half the body": Answer(raw=b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"id": "1"', then="close"),
    "a claim in half a body": Answer(
        raw=b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"id": "stranger"}', then="close"
    ),
    "half a chunked body": Answer(
        raw=b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"id"', then="close"
    ),
    "not HTTP": Answer(raw=b"SSH-2.0-OpenSSH\r\n", then="close"),
    "408": error_answer(408),
    "500": error_answer(500),
    "502 HTML": Answer(502, b"<html>"),
    "503": error_answer(503),
    "520 HTML": Answer(520, b"<html>error 520</html>"),
    "530": Answer(530),
    "200 HTML": HTML,
    "200 empty": Answer(200),
    "200 {}": json_answer({}),
    "200 []": json_answer([]),
    "200 null": json_answer(None),
    "200 with id 7": json_answer({"id": 7}),
    "200 with a blank id": json_answer({"id": " "}),
    "200 not UTF-8": Answer(200, b'{"id": "\xff"}'),
    "200 nested too deep": Answer(200, b"[" * 100_000),
    "200 in gzip that is none": Answer(200, b"\x1f\x8bnot", {"Content-Encoding": "gzip"}),
    "200 of 3 MiB": Answer(200, b" " * 3 * 2**20 + b"{}"),
    "201 HTML": Answer(201, b"<html>"),
    "204": Answer(raw=b"HTTP/1.1 204 No Content\r\n\r\n"),
    "999": Answer(999),
}


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize("answer", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
async def test_an_ambiguous_answer_is_settled(engine, server, make_client, make_request, answer, committed):
    """A claim with a ref whose answer leaves its outcome open ends as the claim that the ledger holds."""
    client = await make_client(engine)
    server.on_claim.append(server.commit_then(answer) if committed else answer)
    claim = await client.claim(make_request("order-1"))
    assert [claim.id] == [taken["id"] for taken in server.claims]
    assert len(server.posts) == 2
    assert server.posts[0].body == server.posts[1].body
    assert int(committed) == client.stats().recovered


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize("answer", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
async def test_without_a_ref_nothing_is_sent_twice(
    engine, server, make_client, make_request, answer, committed
):
    """A claim without a ref whose answer leaves its outcome open is reported as unknown, and sent once."""
    client = await make_client(engine, generate_refs=False)
    server.on_claim.append(server.commit_then(answer) if committed else answer)
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.claim(make_request(None))
    assert len(server.posts) == 1
    assert int(committed) == len(server.claims)
    assert caught.value.ref is None
    assert caught.value.taken is None
    assert caught.value.status == (answer.status if answer.raw is None else caught.value.status)


async def test_a_200_of_html_keeps_its_body(engine, server, make_client, make_request):
    """What an answer said that could not be read is on the error, with its status."""
    client = await make_client(engine, generate_refs=False)
    server.on_claim.append(HTML)
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.claim(make_request(None))
    assert (caught.value.status, caught.value.body) == (200, b"<html>hello</html>")


async def test_a_claim_that_ends_on_5xx_is_unknown(engine, server, make_client, make_request):
    """A server that answers only 503 leaves the outcome unknown, with the status and the ref."""
    client = await make_client(engine, retry=RetryPolicy(max_attempts=3, base_delay=0.001))
    server.on_claim.extend([error_answer(503)] * 3)
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.claim(make_request("order-1"))
    assert (caught.value.status, caught.value.ref, caught.value.taken) == (503, "order-1", None)
    assert len(server.posts) == 3


async def test_the_last_attempts_are_looked_up(engine, server, make_client, make_request):
    """A claim that was taken on an attempt whose answer was lost is found even when no attempt is left."""
    client = await make_client(engine, retry=RetryPolicy(max_attempts=1))
    server.on_claim.append(server.commit_then(RESET))
    claim = await client.claim(make_request("order-1"))
    assert [claim.id] == [taken["id"] for taken in server.claims]
    assert len(server.posts) == 1


REFUSALS = {
    400: APIStatusError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: RefConflictError,
    418: APIStatusError,
    422: APIStatusError,
    499: APIStatusError,
    301: APIStatusError,
}


@pytest.mark.parametrize(("status", "kind"), REFUSALS.items())
async def test_a_refusal_is_final(engine, server, make_client, make_request, status, kind):
    """A status that refuses ends the call at once, as its class of error, with all that the server said."""
    client = await make_client(engine)
    body = {"error": {"code": "NO WAY", "message": "because", "errors": [{"field": "x"}, "y"]}}
    server.on_claim.append(json_answer(body, status, headers={"X-Request-Id": "request-7"}))
    with pytest.raises(kind) as caught:
        await client.claim(make_request("order-1"))
    error = caught.value
    assert kind is type(error)
    assert (status, "request-7", "order-1", None) == (
        error.status,
        error.request_id,
        error.ref,
        error.retry_after,
    )
    assert (error.code, error.message, error.errors) == ("NO WAY", "because", ({"field": "x"},))
    assert body == json.loads(error.body)
    # What comes from something in front of the API is looked up before it is believed.
    looked_up = 4 if status in (301, 499) else 0
    assert (len(server.posts), len(server.reads), len(server.claims)) == (1, looked_up, 0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b'"x"',
        b'{"error": null}',
        b'{"error": {"code": 7, "message": []}}',
        b"\xff",
    ],
)
async def test_a_refusal_in_any_form_is_typed(server, make_client, make_request, body):
    """A refusal whose body is not the API's error form is the same class of error."""
    client = await make_client()
    server.on_claim.append(Answer(403, body))
    with pytest.raises(PermissionDeniedError) as caught:
        await client.claim(make_request())
    assert body == caught.value.body


async def test_the_body_of_an_error_is_capped(engine, server, make_client, make_request):
    """A refusal of 5 MiB is its class of error, and carries only the beginning."""
    client = await make_client(engine)
    server.on_claim.append(Answer(404, b"x" * 5 * 2**20))
    with pytest.raises(NotFoundError) as caught:
        await client.claim(make_request())
    assert caught.value.body == b"x" * 16384


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(engine, server, make_client, make_request, status):
    """A redirect to another place is an error with its status, and the place sees nothing."""
    from support.fake_server import FakeServer

    async with FakeServer() as elsewhere:
        client = await make_client(engine)
        location = f"{elsewhere.base_url}/accounts/T12345678/discounts/available_for_receipt/claims"
        server.on_claim.append(error_answer(status, headers={"Location": location}))
        with pytest.raises(APIStatusError) as caught:
            await client.claim(make_request())
    assert status == caught.value.status
    assert elsewhere.connections == 0


async def test_throttling_is_waited_out(engine, server, make_client, make_request):
    """A claim that is throttled is sent again, also without a ref, because it was not executed."""
    client = await make_client(engine, generate_refs=False)
    server.on_claim.extend([error_answer(429, headers={"Retry-After": "0"})] * 2)
    await client.claim(make_request(None))
    assert (len(server.posts), len(server.claims)) == (3, 1)


async def test_a_retry_after_beyond_the_deadline_fails_at_once(engine, server, make_client, make_request):
    """A call that would have to wait longer than it may fails at once, and says how long."""
    client = await make_client(engine)
    server.on_claim.append(error_answer(429, headers={"Retry-After": "3600"}))
    with pytest.raises(RateLimitedError) as caught:
        await client.claim(make_request())
    assert caught.value.retry_after == 3600.0
    client = await make_client(engine)
    server.on_claim.append(error_answer(503, headers={"Retry-After": "3600"}))
    with pytest.raises(OutcomeUnknownError) as unknown:
        await client.claim(make_request())
    assert unknown.value.retry_after == 3600.0
    assert len(server.posts) == 2


async def test_a_first_conflict_is_a_conflict(engine, server, make_client, make_request):
    """A ref that was taken before the call is a conflict: one request, and nothing is looked up."""
    client = await make_client(engine)
    await client.claim(make_request("order-1"))
    with pytest.raises(RefConflictError) as caught:
        await client.claim(make_request("order-1"))
    assert (caught.value.status, caught.value.ref) == (409, "order-1")
    assert (len(server.posts), len(server.reads), len(server.claims)) == (2, 0, 1)


async def test_if_exists_return(engine, server, make_client, make_request):
    """With if_exists="return" the same claim comes back, and another claim under the ref is a conflict."""
    client = await make_client(engine)
    first = await client.claim(make_request("order-1"))
    again = await client.claim(make_request("order-1"), if_exists="return")
    assert first.id == again.id
    with pytest.raises(RefConflictError):
        await client.claim(make_request("order-1", customer_id="another"), if_exists="return")
    assert len(server.claims) == 1


async def test_if_exists_return_without_a_readable_claim(server, make_client, make_request):
    """A ref that is taken by a claim that cannot be found is unknown with taken=True."""
    client = await make_client(retry=RetryPolicy(max_attempts=2, base_delay=0.001))
    await client.claim(make_request("order-1"))
    server.on_read.extend([json_answer([])] * 2)
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.claim(make_request("order-1"), if_exists="return")
    assert (caught.value.taken, caught.value.status) == (True, 409)


async def test_a_claim_that_is_further_down_the_list(server, make_client, make_request, monkeypatch):
    """A claim beyond what a call looks through is said to be there, and a batch of one row finds it."""
    client = await make_client()
    request = make_request("order-1")
    claim = await client.claim(request)
    page, pages = server._page, 0

    def with_many_before(incoming):
        nonlocal pages
        pages += 1
        return page(incoming) if pages > 20 else json_answer([{"id": f"id-{pages}", "ref": f"other-{pages}"}])

    monkeypatch.setattr(server, "_page", with_many_before)
    with pytest.raises(OutcomeUnknownError, match="further down the list than a call looks") as caught:
        await client.claim(request, if_exists="return")
    assert caught.value.taken
    pages = 0
    (outcome,) = [one async for one in client.claim_many([request], if_exists="return")]
    assert outcome.claim.id == claim.id


async def test_a_conflict_with_another_claim_after_a_lost_answer(engine, server, make_client, make_request):
    """A conflict after a lost answer is a conflict where the ref turns out to be another claim's."""
    client = await make_client(engine)
    await client.claim(make_request("order-1", customer_id="somebody-else"))
    server.on_claim.append(RESET)
    with pytest.raises(RefConflictError):
        await client.claim(make_request("order-1"))
    assert len(server.claims) == 1


@pytest.mark.parametrize(
    "unreadable",
    [json_answer([]), error_answer(404), Answer(200, b"<html>"), json_answer([{"ref": "order-1"}])],
    ids=["lags behind", "404", "HTML", "without an id"],
)
async def test_taken_without_being_readable(engine, server, make_client, make_request, unreadable):
    """A conflict after a lost answer whose claim cannot be read is unknown, and says that it was taken."""
    client = await make_client(engine, retry=RetryPolicy(max_attempts=2, base_delay=0.001))
    server.on_claim.append(server.commit_then(RESET))
    server.on_read.extend([unreadable] * 2)
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.claim(make_request("order-1"))
    assert (caught.value.taken, caught.value.status, caught.value.ref) == (True, 409, "order-1")


async def test_a_deleted_claim_is_not_repeated(engine, server, make_client, make_request):
    """A claim that was taken and deleted meanwhile is neither taken nor sent again."""
    client = await make_client(engine)

    def taken_and_deleted(incoming):
        server.commit(incoming)
        server.claims[-1]["deleted_at"] = "2026-11-23T12:00:01Z"
        return RESET

    server.on_claim.append(taken_and_deleted)
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.claim(make_request("order-1"))
    assert caught.value.taken is False
    assert (len(server.posts), len(server.claims)) == (2, 1)


@pytest.mark.parametrize("status", [400, 403, 404, 422, 429])
async def test_a_refusal_after_a_lost_answer_is_not_believed(
    engine, server, make_client, make_request, status
):
    """A claim that was taken is found, although a later attempt is refused for what the first one did."""
    client = await make_client(engine)
    server.on_claim.extend([server.commit_then(RESET), error_answer(status, headers={"Retry-After": "999"})])
    claim = await client.claim(make_request("order-1"))
    assert [claim.id] == [taken["id"] for taken in server.claims]


async def test_a_refusal_after_a_lost_answer_that_cannot_be_settled(
    engine, server, make_client, make_request
):
    """A refusal after a lost answer, with nothing found, is unknown: the first may still be on its way."""
    client = await make_client(engine)
    server.on_claim.extend([RESET, error_answer(400)])
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.claim(make_request("order-1"))
    assert (caught.value.taken, caught.value.status) == (None, 400)


@pytest.mark.parametrize("status", [303, 307, 460, 499])
async def test_a_gateway_that_gave_up_after_the_claim_was_taken(server, make_client, make_request, status):
    """A claim that was taken is found although something in front of the API refuses it."""
    client = await make_client()
    server.on_claim.append(server.commit_then(error_answer(status)))
    claim = await client.claim(make_request("order-1"))
    assert [claim.id] == [taken["id"] for taken in server.claims]
    assert len(server.posts) == 1
    server.claims[0]["deleted_at"] = "2026-11-23T12:00:00Z"
    server.on_claim.append(error_answer(status))
    with pytest.raises(APIStatusError):
        await client.claim(make_request("order-1"))
    # Another claim's ref proves nothing about this one.
    server.on_claim.append(error_answer(status))
    with pytest.raises(APIStatusError) as caught:
        await client.claim(make_request("order-1", customer_id="another"))
    assert caught.value.status == status


async def test_a_list_that_lags_behind(engine, server, make_client, make_request):
    """A claim that is taken for sure, and that the list does not show yet, is looked for again."""
    client = await make_client(engine)
    server.on_claim.append(server.commit_then(RESET))
    server.on_read.extend([json_answer([])] * 3)
    claim = await client.claim(make_request("order-1"))
    assert [claim.id] == [taken["id"] for taken in server.claims]


async def test_looking_again_stays_inside_the_deadline(server, make_client, make_request):
    """A wait before another look that does not fit into the call is not begun."""
    client = await make_client(retry=RetryPolicy(base_delay=1e6, max_delay=1e6), timeout=1)
    await client.claim(make_request("order-1"))
    server.on_read.extend([json_answer([])] * 9)
    async with asyncio.timeout(30):
        with pytest.raises(OutcomeUnknownError):
            await client.claim(make_request("order-1"), if_exists="return")
    assert len(server.reads) == 1


async def test_a_minted_ref_is_ours_however_it_is_written_down(server, make_client, make_request):
    """A claim under a ref that nobody else can know is the one that was sent, also where it is edited."""
    client = await make_client()

    def take_and_edit(incoming):
        server.commit(incoming)
        server.claims[-1].update(customer_id="CUSTOMER-1", discounts=[])
        return RESET

    server.on_claim.append(take_and_edit)
    claim = await client.claim(make_request(None))
    assert [claim.id] == [taken["id"] for taken in server.claims]


async def test_a_cursor_that_is_too_long_for_a_url(engine, server, make_client, make_request):
    """A list that cannot be walked on, because of what it holds, leaves the outcome unknown."""
    client = await make_client(engine, retry=RetryPolicy(max_attempts=1))
    server.on_claim.append(server.commit_then(RESET))
    server.on_read.extend([json_answer([{"id": "y" * 70_000, "ref": "z"}]), error_answer(414)])
    with pytest.raises(OutcomeUnknownError):
        await client.claim(make_request("order-1"))


async def test_the_delay_is_a_random_part(server, make_client, make_request, monkeypatch):
    """Chance decides the delay between two attempts: with none, there is none."""
    monkeypatch.setattr("dintero_claims_client.client.random", lambda: 0.0)
    client = await make_client(retry=RetryPolicy(base_delay=60, max_delay=60), timeout=600)
    server.on_claim.append(RESET)
    async with asyncio.timeout(30):
        await client.claim(make_request())
    assert len(server.posts) == 2


async def test_claims_that_are_too_large_for_a_page(engine, server, make_client, make_request):
    """A list whose pages grow over what is read of an answer is read in smaller ones."""
    client = await make_client(engine)
    claim = await client.claim(make_request("order-1"))
    server.claims += [
        claim.to_dict() | {"id": f"id-{n}", "ref": f"large-{n}", "note": "x" * 30_000} for n in range(120)
    ]
    assert await client.find_claim(ref="order-1") == claim
    assert len([claim async for claim in client.list_claims()]) == 121


async def test_no_time_left_is_not_sent(server, make_client, make_request):
    """A call whose time is over before its turn comes is not sent at all."""
    client = await make_client()
    await client.claim(make_request("warm-up"))
    with pytest.raises(NotSentError):
        await client.claim(make_request("order-1"), timeout=1e-9)
    assert len(server.posts) == 1


@pytest.mark.parametrize("extra", [float("nan"), object(), "\ud800"], ids=["NaN", "object", "surrogate"])
async def test_what_json_cannot_express(server, make_client, make_request, extra):
    """An additional field that JSON cannot express is refused, also one that is nested without end."""
    client = await make_client()
    request = make_request()
    request.discounts[0]["extra"] = extra
    with pytest.raises(InvalidClaimError, match="JSON"):
        await client.claim(request)
    endless = []
    endless.append(endless)
    request.discounts[0]["extra"] = endless
    with pytest.raises(InvalidClaimError, match="JSON"):
        await client.claim(request)
    request.discounts[0].additional_properties = None
    with pytest.raises(InvalidClaimError, match="JSON"):
        await client.claim(request)
    assert server.connections == 0


async def test_an_id_that_cannot_be_sent_back(server, make_client, make_request):
    """A claim in the list whose id no URL can hold does not end the walk with an exception."""
    client = await make_client()
    claim = await client.claim(make_request("order-1"))
    server.on_read.extend([json_answer([{"id": "id-0"}, {"id": "\ud800"}]), json_answer([claim.to_dict()])])
    assert (await client.find_claim(ref="order-1")).id == claim.id


@pytest.mark.parametrize("field", ["ref", "customer_id"])
async def test_an_answer_for_another_claim_is_not_believed(engine, server, make_client, make_request, field):
    """An answer that names another claim is not ours: its connection is dropped, and the claim is settled."""
    client = await make_client(engine)
    stray = {"id": "stranger", "ref": "order-1", "customer_id": "customer-1"} | {field: "another"}
    server.on_claim.append(server.commit_then(json_answer(stray)))
    claim = await client.claim(make_request("order-1"))
    assert [claim.id] == [taken["id"] for taken in server.claims]
    assert server.posts[0].connection != server.posts[1].connection


async def test_an_answer_that_leaves_the_echo_out_is_believed(engine, server, make_client, make_request):
    """An answer with an id and nothing else is the claim's."""
    client = await make_client(engine)
    server.on_claim.append(json_answer({"id": "claim-7", "ref": None}))
    assert (await client.claim(make_request())).id == "claim-7"
    assert len(server.posts) == 1


@pytest.mark.parametrize("discounts", [3, ["x"], [{"refs": 3}], [{"refs": [None]}], {}], ids=str)
async def test_an_answer_with_malformed_parts_is_believed(server, make_client, make_request, discounts):
    """An answer with an id is the claim's; what the models cannot hold of it is kept, and written back."""
    client = await make_client()
    answer = {"id": "claim-7", "discounts": discounts, "created_at": "yesterday"}
    server.on_claim.append(json_answer(answer))
    claim = await client.claim(make_request())
    assert ("claim-7", UNSET, discounts) == (claim.id, claim.discounts, claim["discounts"])
    assert answer == claim.to_dict()


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_any_readable_2xx_is_the_claim(server, make_client, make_request, status):
    """A claim in an answer of another 2xx than the documented one counts."""
    client = await make_client()
    server.on_claim.append(json_answer({"id": "claim-7"}, status))
    assert (await client.claim(make_request())).id == "claim-7"


async def test_an_interim_answer_is_passed_over(server, make_client, make_request):
    """A 103 before the answer does not disturb it."""
    client = await make_client()
    server.on_claim.append(
        lambda incoming: Answer(raw=b"HTTP/1.1 103 Early Hints\r\n\r\n" + server.commit(incoming).bytes())
    )
    assert (await client.claim(make_request())).id == server.claims[0]["id"]


async def test_a_stalled_attempt_does_not_use_up_the_call(engine, server, make_client, make_request):
    """A server that takes the claim and never answers costs one attempt's time, not the call's."""
    client = await make_client(engine, retry=RetryPolicy(attempt_timeout=0.2, base_delay=0.001), timeout=30)
    server.on_claim.append(server.commit_then(HANG))
    claim = await client.claim(make_request("order-1"))
    assert [claim.id] == [taken["id"] for taken in server.claims]


async def test_silence_past_the_deadline_is_unknown(engine, server, make_client, make_request):
    """A call that gets no answer within its time is unknown, and carries its ref."""
    client = await make_client(engine, retry=RetryPolicy(attempt_timeout=600))
    server.on_claim.append(server.commit_then(HANG))
    async with asyncio.timeout(30):
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.claim(make_request(None), timeout=1)
    assert server.claims[0]["ref"] == caught.value.ref
    assert len(server.claims) == 1


async def test_a_connection_that_cannot_be_had_is_not_sent(engine, server, make_client, make_request):
    """A port that nobody listens on is NotSentError, with the ref that the claim would have gone by."""
    import socket

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        client = await make_client(
            engine, base_url=f"http://127.0.0.1:{port}", token_url=f"{server.base_url}/auth/token"
        )
        with pytest.raises(NotSentError) as caught:
            await client.claim(make_request(None))
    assert caught.value.ref


async def test_waiting_for_a_connection_is_not_sent(engine, server, make_client, make_request):
    """A call that runs out of time behind others was not sent, and the one before it is not disturbed."""
    client = await make_client(engine, max_connections=1, retry=RetryPolicy(attempt_timeout=30))
    await client.claim(make_request("warm-up"))
    server.on_claim.append(HANG)
    first = asyncio.create_task(client.claim(make_request("first")))
    await server.until(lambda: len(server.posts) == 2)
    with pytest.raises(NotSentError) as caught:
        await client.claim(make_request("second"), timeout=0.1)
    assert caught.value.ref == "second"
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert len(server.posts) == 2


async def test_5000_claims_at_once_on_50_connections(server, make_client, make_request):
    """Thousands of calls at once wait their turn: none fails for it, and no more sockets are opened."""
    client = await make_client(max_connections=50, timeout=120)
    claims = await asyncio.gather(*(client.claim(make_request(f"order-{n}")) for n in range(5000)))
    assert 5000 == len({claim.id for claim in claims}) == len(server.claims)
    assert server.open_most <= 50
    assert all(claim.ref == f"order-{n}" for n, claim in enumerate(claims))


async def test_401_twice_is_an_authentication_error(engine, server, make_client, make_request):
    """A 401 is replayed once with a new token; a second one is final."""
    client = await make_client(engine)
    server.on_claim.extend([error_answer(401)] * 2)
    with pytest.raises(AuthenticationError):
        await client.claim(make_request())
    assert (len(server.posts), len(server.token_requests)) == (2, 2)
    tokens = {post.headers["authorization"] for post in server.posts}
    assert len(tokens) == 2


async def test_401_after_a_lost_answer_is_not_believed(engine, server, make_client, make_request):
    """A claim that was taken is found, although a later attempt's tokens are refused."""
    client = await make_client(engine)
    server.on_claim.extend([server.commit_then(RESET), error_answer(401), error_answer(401)])
    claim = await client.claim(make_request())
    assert [claim.id] == [taken["id"] for taken in server.claims]


async def test_every_error_is_ours(engine, server, make_client, make_request):
    """Whatever bytes come back, a call ends as a claim or as an error of this library."""
    client = await make_client(engine, retry=RetryPolicy(max_attempts=1), timeout=5)
    for raw in (
        b"\x00" * 100,
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ):
        server.on_claim.append(Answer(raw=raw, then="close"))
        with pytest.raises(ClaimsError):
            await client.claim(make_request("order-1"))
    assert len(server.posts) == 9


async def test_a_503_that_names_a_time_pauses_all(engine, server, make_client, make_request):
    """A Retry-After on a 5xx holds up the other callers too; who cannot wait is told, and not sent."""
    client = await make_client(engine)
    server.on_claim.append(error_answer(503, headers={"Retry-After": "5"}))
    with pytest.raises(OutcomeUnknownError):
        await client.claim(make_request("order-1"), timeout=1)
    with pytest.raises(NotSentError) as caught:
        await client.claim(make_request("order-2"), timeout=1)
    assert 0 < caught.value.retry_after <= 5
    assert len(server.posts) == 1


async def test_several_429_that_name_no_time_pause_all(engine, server, make_client, make_request):
    """One 429 without a Retry-After pauses nobody, a second in a row holds up all by the own delay."""
    client = await make_client(engine, retry=RetryPolicy(max_attempts=1, base_delay=5))
    server.on_claim.extend([error_answer(429)] * 2)
    for _ in range(2):
        with pytest.raises(RateLimitedError):
            await client.claim(make_request("order-1"), timeout=1)
    with pytest.raises(NotSentError) as caught:
        await client.claim(make_request("order-2"), timeout=1)
    assert 0 < caught.value.retry_after <= 5
    assert len(server.posts) == 2


async def test_a_refusal_with_a_retry_after_pauses_nobody(engine, server, make_client, make_request):
    """A refusal is no wish to slow down, whatever its headers say: the next call goes."""
    client = await make_client(engine)
    server.on_claim.append(error_answer(422, headers={"Retry-After": "3600"}))
    with pytest.raises(APIStatusError):
        await client.claim(make_request("order-1"))
    await client.claim(make_request("order-2"))
    assert len(server.posts) == 2


async def test_a_claim_that_is_too_large_for_any_page(engine, server, make_client):
    """A page of one claim that is still too large is an answer that cannot be read, and the last request."""
    client = await make_client(engine, retry=RetryPolicy(max_attempts=1))
    server.on_read.extend([Answer(200, b" " * 2 * 2**20 + b"[]")] * 20)
    with pytest.raises(NoAnswerError):
        await client.find_claim(ref="order-1")
    assert [read.query for read in server.reads] == [f"limit={limit}" for limit in (100, 50, 25, 12, 6, 3, 1)]


async def test_a_lost_claim_is_found_behind_another_of_its_ref(engine, server, make_client, make_request):
    """A list that shows the ref of the lost claim twice does not turn it into a conflict."""
    client = await make_client(engine)
    server.on_claim.append(server.commit_then(RESET))
    server.on_read.append(
        lambda _: json_answer(
            [{**server.claims[0], "id": "another", "customer_id": "somebody-else"}, server.claims[0]]
        )
    )
    claim = await client.claim(make_request("order-1"))
    assert [claim.id] == [taken["id"] for taken in server.claims]


@pytest.mark.parametrize(
    "answer",
    [
        {"id": "claim-7", "discounts": []},
        {"id": "claim-7", "ref": "order-1", "discounts": [{"id": "another"}]},
        {"id": "claim-7", "customer_id": "customer-1", "discounts": [{"id": "another"}]},
    ],
    ids=["no discounts", "our ref", "our customer"],
)
async def test_an_answer_that_shows_its_discounts_otherwise_is_believed(
    engine, server, make_client, make_request, answer
):
    """An answer that names our claim, or shows no discounts, is ours however a server writes them."""
    client = await make_client(engine)
    server.on_claim.append(json_answer(answer))
    assert (await client.claim(make_request("order-1"))).id == "claim-7"
    assert len(server.posts) == 1


async def test_a_look_for_which_no_time_is_left_is_not_paid_for(engine, server, make_client, make_request):
    """A call whose time is over takes no repetition for a look-up that it cannot make."""
    client = await make_client(engine, retry=RetryPolicy(attempt_timeout=600))
    server.on_claim.append(HANG)
    with pytest.raises(OutcomeUnknownError):
        await client.claim(make_request("order-1"), timeout=1)
    assert (client.stats().retries_left, len(server.reads)) == (500, 0)


async def test_what_is_compared_is_what_was_sent(make_client, make_request):
    """Additional fields are the caller's objects: changing them later changes no claim under way."""
    client = await make_client()
    request, extra = make_request("order-1"), {"shelf": {"row": 1}}
    request.discounts[0].additional_properties = extra
    claim = client._open().operations.prepare_claim(request, mint=None)
    extra["shelf"]["row"] = 2
    assert json.loads(claim.content) == claim.body
    assert claim.body["discounts"][0]["shelf"] == {"row": 1}
