"""Reading claims back, on every engine."""

import pytest
from support.fake_server import CLOSE, HANG, RESET, Answer, error_answer, json_answer

from dintero_claims_client import (
    APIStatusError,
    AuthenticationError,
    Claim,
    ConfigurationError,
    InvalidClaimError,
    NoAnswerError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    ServerError,
)
from dintero_claims_client._limiter import Limiter


async def test_get_list_find(engine, server, make_client, make_request):
    """A claim is read back by its id, in the list, and by its ref."""
    client = await make_client(engine)
    claims = [await client.claim(make_request(f"order-{n}")) for n in range(5)]
    assert claims[2] == await client.get_claim(claims[2].id)
    assert claims[::-1] == [claim async for claim in client.list_claims()]
    assert claims[::-1] == [claim async for claim in client.list_claims(page_size=2)]
    assert claims[3] == await client.find_claim(ref="order-3")
    assert await client.find_claim(ref="order-9") is None


async def test_the_list_can_be_left(server, make_client, make_request):
    """Leaving the list early reads no further page."""
    client = await make_client()
    for n in range(5):
        await client.claim(make_request(f"order-{n}"))
    async for claim in client.list_claims(page_size=2):
        assert claim.ref == "order-4"
        break
    assert len(server.reads) == 1


async def test_not_found(engine, make_client):
    """An id that no claim has is NotFoundError."""
    client = await make_client(engine)
    with pytest.raises(NotFoundError) as caught:
        await client.get_claim("none")
    assert (caught.value.code, caught.value.status) == ("NOT FOUND", 404)


TROUBLE = {
    "reset": RESET,
    "closed": CLOSE,
    "503": error_answer(503),
    "520": Answer(520, b"<html>"),
    "408": error_answer(408),
    "429": error_answer(429, headers={"Retry-After": "0"}),
    "HTML": Answer(200, b"<html>"),
    "a claim in half a body": Answer(
        raw=b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"id": "claim-1"}', then="close"
    ),
    "a list in half a body": Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[]", then="close"),
    "empty": Answer(200),
    "204": Answer(204),
    "null": json_answer(None),
    "a number": json_answer(7),
}


@pytest.mark.parametrize("answer", TROUBLE.values(), ids=TROUBLE.keys())
async def test_a_read_is_tried_again(engine, server, make_client, make_request, answer):
    """A read outlives any answer that it cannot use."""
    client = await make_client(engine)
    claim = await client.claim(make_request())
    server.on_read.append(answer)
    assert claim == await client.get_claim(claim.id)
    server.on_read.append(answer)
    assert [claim] == [listed async for listed in client.list_claims()]


@pytest.mark.parametrize(
    ("answer", "kind", "status"),
    [
        (RESET, NoAnswerError, None),
        (error_answer(503), ServerError, 503),
        (error_answer(408), APIStatusError, 408),
        (error_answer(429), RateLimitedError, 429),
        (error_answer(409), APIStatusError, 409),
        (Answer(200, b"<html>"), NoAnswerError, 200),
        (json_answer({"id": "another"}), NoAnswerError, 200),
        (json_answer({"ref": "x"}), NoAnswerError, 200),
        (json_answer([{"id": "claim-1"}]), NoAnswerError, 200),
    ],
    ids=str,
)
async def test_a_read_that_stays_in_trouble(engine, server, make_client, answer, kind, status):
    """A read that never gets an answer it can use ends with what there was."""
    client = await make_client(engine)
    server.on_read.extend([answer] * 20)
    with pytest.raises(kind) as caught:
        await client.get_claim("claim-1")
    assert status == caught.value.status
    assert kind is type(caught.value)
    if isinstance(caught.value, NoAnswerError):
        assert answer.body == caught.value.body


async def test_a_claim_in_half_a_body(engine, server, make_client, make_request):
    """An answer that breaks off is not believed, although what there is of it could be read."""
    client = await make_client(engine)
    claim = await client.claim(make_request())
    half = f'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{{"id": "{claim.id}"}}'
    server.on_read.append(Answer(raw=half.encode(), then="close"))
    assert await client.get_claim(claim.id) == claim


async def test_another_claim_is_not_the_one_asked_for(engine, server, make_client, make_request):
    """An answer with another id than the one asked for is dropped with its connection, and asked again."""
    client = await make_client(engine)
    claim = await client.claim(make_request())
    server.on_read.append(json_answer({"id": "another"}))
    assert claim == await client.get_claim(claim.id)
    assert server.reads[0].connection != server.reads[1].connection


async def test_a_read_that_runs_out_of_time(engine, server, make_client):
    """A read without an answer in its time says so."""
    client = await make_client(engine)
    server.on_read.append(HANG)
    with pytest.raises(NoAnswerError, match="timed out"):
        await client.get_claim("claim-1", timeout=1)


async def test_what_was_sent_says_more_than_what_was_not(server, make_client, make_request):
    """A read whose answer was lost is not reported as never sent because of what came after."""
    client = await make_client()
    await client.claim(make_request())

    server.on_read.extend([Answer(200, b"<html>"), error_answer(401)])
    server.on_token.extend([error_answer(503)] * 9)
    with pytest.raises(NoAnswerError):
        await client.get_claim("claim-1", timeout=0.5)


async def test_a_page_of_something_else(engine, server, make_client):
    """A list that is not a list of claims ends with an error, not with an empty list."""
    client = await make_client(engine)
    for answer in (json_answer({}), json_answer([1]), json_answer([{"id": "x"}, None])):
        server.on_read.extend([answer] * 8)
        with pytest.raises(NoAnswerError):
            await anext(client.list_claims())
        server.on_read.extend([answer] * 8)
        with pytest.raises(NoAnswerError):
            await client.find_claim(ref="x")


async def test_a_claim_that_the_model_cannot_read(server, make_client, make_request, monkeypatch):
    """A failure of the generated code to read an answer is no exception of the call."""

    def fail(_raw):
        raise KeyError("a field that a later contract might demand")

    client = await make_client()
    monkeypatch.setattr("dintero_claims_client._operations.Claim.from_dict", fail)
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.claim(make_request("order-1"))
    assert (len(server.claims), caught.value.taken) == (1, True)
    with pytest.raises(NoAnswerError):
        await client.get_claim(server.claims[0]["id"])


async def test_nothing_can_be_sent(make_client):
    """A read on a port that nobody listens on is NotSentError."""
    client = await make_client(base_url="http://127.0.0.1:9", token_url="http://127.0.0.1:9/t")
    with pytest.raises(NotSentError):
        await client.get_claim("x", timeout=0.2)


@pytest.mark.parametrize("page_size", [0, 101, True, 1.5, None])
async def test_page_sizes_that_cannot_be(make_client, page_size):
    """A page holds 1 to 100 claims."""
    client = await make_client()
    with pytest.raises(ConfigurationError, match="page_size"):
        await anext(client.list_claims(page_size=page_size))


@pytest.mark.parametrize("claim_id", ["", ".", "..", None])
async def test_ids_that_cannot_be(server, make_client, claim_id):
    """What cannot be an id is refused before anything is sent."""
    client = await make_client()
    with pytest.raises(InvalidClaimError):
        await client.get_claim(claim_id)
    with pytest.raises(InvalidClaimError):
        await client.find_claim(ref="")
    assert server.connections == 0


async def test_an_id_stays_in_its_place(engine, server, make_client):
    """An id with slashes and other signs is quoted, so that it names nothing else."""
    client = await make_client(engine)
    with pytest.raises(NotFoundError):
        await client.get_claim("a/../b?c#d é")
    assert server.reads[0].path.rpartition("/")[2] == "a%2F..%2Fb%3Fc%23d%20%C3%A9"


async def test_each_page_has_its_own_time(server, make_client, make_request, monkeypatch):
    """The timeout of a list is for each page, so that a long list does not run out of it."""
    deadlines = []
    acquire = Limiter.acquire

    def remember(self, *, deadline, settling=False):
        deadlines.append(deadline)
        return acquire(self, deadline=deadline, settling=settling)

    client = await make_client()
    for n in range(3):
        await client.claim(make_request(f"order-{n}"))
    monkeypatch.setattr(Limiter, "acquire", remember)
    assert len([claim async for claim in client.list_claims(page_size=1)]) == 3
    assert len(deadlines) == len(set(deadlines)) == 4


async def test_a_page_that_the_model_cannot_read(server, make_client, make_request, monkeypatch):
    """A page with a claim that the generated code cannot read is an error, and no claim that is None."""

    def fail(_raw):
        raise KeyError("a field that a later contract might demand")

    client = await make_client()
    await client.claim(make_request("order-1"))
    monkeypatch.setattr("dintero_claims_client._operations.Claim.from_dict", fail)
    with pytest.raises(NoAnswerError):
        await anext(client.list_claims())


async def test_a_claim_beside_one_that_the_model_cannot_read(server, make_client, make_request, monkeypatch):
    """A lost claim is found, although the generated code cannot read another one on the same page."""
    make = Claim.from_dict

    def fail_for_others(raw):
        if raw["id"] == "odd":
            raise KeyError("a field that a later contract might demand")
        return make(raw)

    client = await make_client()
    server.claims.append({"id": "odd"})
    monkeypatch.setattr("dintero_claims_client._operations.Claim.from_dict", fail_for_others)
    server.on_claim.append(server.commit_then(RESET))
    claim = await client.claim(make_request("order-1"))
    assert claim.ref == "order-1"


async def test_a_look_survives_tokens_that_are_refused(server, make_client, make_request):
    """A claim is looked up also where the list refuses several tokens in a row, as others expire them."""
    client = await make_client()
    server.on_claim.append(server.commit_then(RESET))
    server.on_claim += [error_answer(409)]
    server.on_read += [error_answer(401)] * 5
    claim = await client.claim(make_request())
    assert [claim.id] == [taken["id"] for taken in server.claims]
    assert len(server.reads) == 6


async def test_a_list_that_refuses_every_token_is_told(server, make_client, make_request):
    """A caller who reads the list is told of the second token that is refused, and asks no more."""
    client = await make_client()
    server.on_read += [error_answer(401)] * 5
    with pytest.raises(AuthenticationError):
        await anext(client.list_claims())
    assert len(server.reads) == 2
