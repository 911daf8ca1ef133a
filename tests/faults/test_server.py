"""The fault server does what it is told, byte for byte, as seen by a socket that knows no HTTP library."""

import asyncio
import json
import ssl
from urllib.parse import urlsplit

import pytest
import trustme

from faults.answers import FORMS
from faults.peer import BODY, Peer, get, post
from faults.script import ACTS, CUTS, EXECUTED, Act, Fault, Point, Queues
from faults.server import CLAIMS, STRANGER, TOKEN, FaultServer
from faults.wire import Facts

CA = trustme.CA()


@pytest.fixture
def plan():
    return Queues()


@pytest.fixture(params=["tcp", "tls"])
def context(request):
    """Return a server's TLS context, or None for TCP."""
    if request.param == "tcp":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
async def server(plan, context):
    async with FaultServer(plan, tls=context, record=True) as server:
        yield server


@pytest.fixture
async def connect(server, context):
    """Return a maker of connections to the server, which are closed after the test."""
    peers = []
    trust = None
    if context is not None:
        trust = ssl.create_default_context()
        CA.configure_trust(trust)

    async def connect():
        peers.append(Peer(trust))
        return await peers[-1].open(server)

    yield connect
    for peer in peers:
        await peer.__aexit__()


@pytest.fixture
async def token(connect):
    """Return a token that the server has given."""
    peer = await connect()
    await peer.send(post(TOKEN, {}))
    _, answer = await peer.answer()
    return answer["access_token"]


async def test_without_faults_it_is_the_api(server, connect, token):
    """Claims are taken, listed, read back and refused as the API does, on one connection."""
    peer = await connect()
    claims = []
    for number in range(3):
        await peer.claim(f"order-{number}", token=token)
        status, claim = await peer.answer()
        assert (status, claim["ref"], claim["customer_id"]) == (200, f"order-{number}", "customer-1")
        claims.append(claim)
    await peer.claim("order-1", token=token)
    status, refusal = await peer.answer()
    assert (status, refusal["error"]["code"]) == (409, "CONFLICT")
    await peer.send(get(f"{CLAIMS}?limit=2", token))
    assert await peer.answer() == (200, [claims[2], claims[1]])
    await peer.send(get(f"{CLAIMS}?limit=2&starting_after={claims[1]['id']}", token))
    assert await peer.answer() == (200, [claims[0]])
    await peer.send(get(f"{CLAIMS}/{claims[1]['id']}", token))
    assert await peer.answer() == (200, claims[1])
    await peer.send(get(f"{CLAIMS}/nothing", token))
    assert (await peer.answer())[0] == 404
    await peer.send(get("/v1/elsewhere", token))
    assert (await peer.answer())[0] == 404
    counts = (server.claim_requests, server.list_requests, server.get_requests, server.token_requests)
    assert counts == (4, 2, 2, 1)
    assert (server.exchanges, server.faulted, server.connections) == (10, 0, 2)
    assert [request.operation for request in server.requests[:2]] == ["token", "claim"]
    assert server.refs_seen == {"order-0": 1, "order-1": 2, "order-2": 1}


async def test_requests_in_pieces_and_all_at_once(server, connect, token):
    """How the bytes of requests are cut up on the way makes no difference."""
    peer = await connect()
    for byte in post(CLAIMS, {**BODY, "ref": "order-1"}, token):
        await peer.send(bytes([byte]))
    assert (await peer.answer())[0] == 200
    await peer.send(b"".join(post(CLAIMS, {**BODY, "ref": f"order-{number}"}, token) for number in (2, 3)))
    assert [(await peer.answer())[1]["ref"] for _ in range(2)] == ["order-2", "order-3"]


async def test_a_token_is_needed_and_can_be_revoked(server, connect, token):
    """Without a good token nothing is executed, and revoking makes all tokens bad."""
    peer = await connect()
    await peer.claim(token="another")
    assert (await peer.answer())[0] == 401
    server.revoke()
    await peer.claim(token=token)
    assert (await peer.answer())[0] == 401
    assert len(server.ledger.claims) == 0


async def test_credentials_that_are_expected():
    """A server that was told credentials gives tokens to nobody else, and says how long they live."""
    async with FaultServer(credentials=("client", "secret"), expires_in="7") as server, Peer() as peer:
        await peer.open(server)
        await peer.send(post(TOKEN, {}))
        assert (await peer.answer())[0] == 401
        await peer.send(post(TOKEN, {}).replace(b"Bearer ", b"Basic Y2xpZW50OnNlY3JldA=="))
        status, answer = await peer.answer()
        assert (status, answer["expires_in"]) == (200, "7")


ENDS = {Act.RESET: "rst", Act.CLOSE: "fin", Act.GARBAGE: "fin"}
STRUCK = [
    Fault(at, act, commit=commit, after=after, gap=3600.0 if act is Act.TRICKLE else 0.0)
    for at, after in {
        Point.RECEIVED: 0,
        Point.STATUS_LINE: 5,
        Point.HEADERS: 7,
        Point.BODY: 9,
        Point.ANSWERED: 0,
    }.items()
    for act in ACTS[at]
    for commit in (False, True)
]


@pytest.mark.parametrize("fault", STRUCK, ids=str)
async def test_faults_after_the_request(server, plan, connect, token, fault):
    """At every point the bytes before it have come, the claim is executed or not, and the end is as told."""
    plan.claim.append(fault)
    peer = await connect()
    await peer.claim(token=token)
    await server.until(lambda: server.faulted)
    assert len(server.ledger.claims) == fault.commit
    assert plan.trace == [("claim", fault)]
    if fault.act not in ENDS:
        # What comes before the server learns of this is all there is.
        peer.hang_up()
    data, end = await peer.rest()
    assert end == ENDS.get(fault.act, "fin")
    head, _, body = data.partition(b"\r\n\r\n")
    trickled = fault.act is Act.TRICKLE
    if fault.at is Point.RECEIVED:
        assert data == b""
    elif fault.at is Point.STATUS_LINE:
        assert data == b"HTTP/1"[: 5 + trickled]
    elif fault.at is Point.HEADERS:
        assert data == b"HTTP/1.1 200 X\r\n" + b"Content-"[: 7 + trickled]
    elif fault.at is Point.BODY:
        assert len(body) == 9 + trickled
    else:
        claim = json.loads(body)
        assert f"Content-Length: {len(body)}".encode() in head
        assert (claim in server.ledger.claims) == fault.commit


@pytest.mark.parametrize("act", ACTS[Point.UPLOAD])
async def test_faults_during_the_upload(server, plan, connect, token, act):
    """A fault during the upload needs no more than the bytes before it, and executes nothing."""
    plan.claim.append(Fault(Point.UPLOAD, act, after=10))
    peer = await connect()
    whole = post(CLAIMS, BODY, token)
    head = whole[: whole.index(b"\r\n\r\n") + 4]
    await peer.send(head + whole[len(head) :][:9])
    await server.until(lambda: server.claim_requests)
    assert server.faulted == 0
    await peer.send(b"x")
    await server.until(lambda: server.faulted)
    if act is Act.STALL:
        peer.hang_up()
    assert await peer.rest() == (b"", ENDS.get(act, "fin"))
    assert (server.exchanges, len(server.ledger.claims), server.refs_seen) == (2, 0, {})


@pytest.mark.parametrize("after", [0, 1, 100])
@pytest.mark.parametrize("act", ACTS[Point.ACCEPT])
async def test_faults_of_a_connection(server, plan, connect, act, after):
    """A connection can be struck before its first byte and within its handshake; the next one is served."""
    plan.connection.append(Fault(Point.ACCEPT, act, after=after))
    opening = asyncio.ensure_future(connect())
    if server.base_url.startswith("http:"):
        peer = await opening
        try:
            await peer.send(post(CLAIMS, BODY))
        except ConnectionError:
            assert (act, after) == (Act.RESET, 0)
    await server.until(lambda: server.faulted)
    if act is Act.STALL and not opening.done():
        assert server.open_now == 1
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
    else:
        peer = await opening
        if act is Act.STALL:
            peer.hang_up()
        data, end = await peer.rest()
        if act is Act.GARBAGE:
            assert end == "garbage" or data.startswith(b"\x00\xff")
        else:
            assert (data, end) == (b"", ENDS.get(act, "fin"))
    assert (server.connections, server.exchanges, server.faulted) == (1, 0, 1)
    peer = await connect()
    await peer.claim()
    assert (await peer.answer())[0] == 401


async def test_a_connection_dies_after_so_many_bytes(server, plan, connect, token):
    """A fault of a connection that strikes late lets what came before be answered."""
    plan.connection.append(Fault(Point.ACCEPT, Act.RESET, after=100_000))
    peer = await connect()
    await peer.claim("order-1", token=token)
    assert (await peer.answer())[0] == 200
    await peer.send(b"x" * 120_000)
    assert await peer.rest() == (b"", "rst")


async def test_a_trickle_comes_to_its_end(server, plan, connect, token):
    """A trickled answer is the whole answer, and the connection serves on."""
    plan.claim.append(Fault(Point.HEADERS, Act.TRICKLE, commit=True))
    peer = await connect()
    await peer.claim("order-1", token=token)
    await peer.claim("order-2", token=token)
    assert [(await peer.answer())[1]["ref"] for _ in range(2)] == ["order-1", "order-2"]


async def test_an_answered_connection_that_stalls(server, plan, connect, token):
    """After the answer the connection stays, and no further request on it is answered or executed."""
    plan.claim.append(Fault(Point.ANSWERED, Act.STALL, commit=True))
    peer = await connect()
    await peer.claim("order-1", token=token)
    assert (await peer.answer())[1]["ref"] == "order-1"
    await peer.claim("order-2", token=token)
    peer.hang_up()
    assert await peer.rest() == (b"", "fin")
    assert list(server.refs_seen) == ["order-1"]


@pytest.mark.parametrize("name", FORMS)
async def test_every_form_is_written_whole(server, plan, connect, token, name):
    """Every form of answer arrives as the bytes that it is made of, and the claim is in the ledger."""
    plan.claim.append(Fault(Point.ANSWERED, Act.CLOSE, commit=True, answer=name))
    peer = await connect()
    await peer.claim("order-1", token=token)
    (data, end), (claim,) = await peer.rest(), server.ledger.claims
    facts = Facts(200, claim, STRANGER, server.trap, server.ledger)
    # Compared first, because showing how megabytes differ takes minutes.
    same = data == bytes(FORMS[name](facts))
    assert (same, end) == (True, "fin")


@pytest.mark.parametrize("act", [Act.RESET, Act.CLOSE])
async def test_a_large_answer_is_sent_before_the_end(server, plan, connect, token, act):
    """What is more than the connection takes at once is sent before a fault strikes."""
    plan.claim.append(Fault(Point.BODY, act, answer="500-3-mib", after=2_000_000))
    peer = await connect()
    await peer.claim(token=token)
    await peer.until(b"x" * 100_000)
    data, end = await peer.rest()
    assert end == ENDS[act]
    if act is Act.CLOSE:
        assert len(data.partition(b"\r\n\r\n")[2]) == 2_000_000


async def test_answers_that_nobody_asked_for(server, plan, connect, token):
    """A second answer stays on a connection that is kept, before the answer to the next request."""
    plan.claim.append(Fault(Point.ANSWERED, Act.KEEP, commit=True, answer="honest-then-stranger"))
    peer = await connect()
    await peer.claim("order-1", token=token)
    assert (await peer.answer())[1]["ref"] == "order-1"
    assert (await peer.answer())[1] == STRANGER
    await peer.claim("order-2", token=token)
    assert (await peer.answer())[1]["ref"] == "order-2"


LISTS = [
    ("list-repeats", "?limit=2&starting_after={1}", [4, 3]),
    ("list-loops", "?limit=2&starting_after={4}", [3, 2]),
    ("list-loops", "?limit=2&starting_after={2}", [4, 3]),
    ("list-lags", "?limit=2", [2, 1]),
    ("list-ends", "", []),
    ("list-short", "?limit=100", [4, 3]),
]


@pytest.mark.parametrize(("form", "query", "shown"), LISTS)
async def test_lists_that_do_not_show_what_there_is(server, plan, connect, token, form, query, shown):
    """Pages repeat, loop, lag behind and end early, with the number of claims that the fault says."""
    for number in range(5):
        server.ledger.commit({**BODY, "ref": f"order-{number}"})
    plan.list.append(Fault(Point.ANSWERED, Act.KEEP, answer=form, size=2))
    peer = await connect()
    ids = [claim["id"] for claim in server.ledger.claims]
    await peer.send(get(CLAIMS + query.format(*ids), token))
    status, answer = await peer.answer()
    assert (status, [ids.index(claim["id"]) for claim in answer]) == (200, shown)


async def test_faults_of_other_requests(server, plan, connect, token):
    """Lists, reads and requests for tokens are struck like claims, each from its own queue."""
    for name in ("token", "list", "get"):
        getattr(plan, name).append(Fault(Point.BODY, Act.CLOSE, after=2))
    for request in (post(TOKEN, {}), get(CLAIMS, token), get(f"{CLAIMS}/a", token)):
        peer = await connect()
        await peer.send(request)
        data, end = await peer.rest()
        assert (len(data.partition(b"\r\n\r\n")[2]), end) == (2, "fin")
    assert [name for name, _ in plan.trace] == ["token", "list", "get"]


async def test_none_in_a_queue_lets_one_exchange_pass(server, plan, connect, token):
    """None in a queue stands for an exchange that goes as it should."""
    plan.claim.extend([None, Fault(Point.RECEIVED, Act.CLOSE)])
    peer = await connect()
    await peer.claim("order-1", token=token)
    assert (await peer.answer())[0] == 200
    await peer.claim("order-2", token=token)
    assert await peer.rest() == (b"", "fin")


async def test_nobody_listens_for_a_while(server, connect, token):
    """Connections are refused while the server does not listen, and accepted on the same port after it."""
    kept = await connect()
    server.pause_listening()
    with pytest.raises(ConnectionRefusedError):
        await connect()
    await kept.claim(token=token)
    assert (await kept.answer())[0] == 200
    await server.resume_listening()
    again = await connect()
    await again.claim(token=token)
    assert (await again.answer())[0] == 200


async def test_redirects_point_to_a_trap(server, plan, connect, token):
    """Who follows a redirect is counted."""
    plan.claim.append(Fault(Point.ANSWERED, Act.KEEP, answer="307"))
    peer = await connect()
    await peer.claim(token=token)
    await peer.until(b"\r\n\r\n")
    assert f"Location: {server.trap}".encode() in peer.data
    assert server.trapped == 0
    _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(server.trap).port)
    await server.until(lambda: server.trapped)
    writer.close()
    assert server.trapped == 1


async def test_a_claim_that_changes_on_the_way_is_noticed(server, connect, token):
    """The same ref with other bytes is noted; the same bytes again are not."""
    peer = await connect()
    for ref, amount in (("order-1", 1), ("order-1", 1), ("order-2", 1), ("order-2", 2)):
        await peer.claim(body={**BODY, "ref": ref, "amount": amount}, token=token)
        await peer.answer()
    assert server.changed == {"order-2"}


async def test_closing_leaves_nothing_behind():
    """A server that is closed amid open, stalled and trickling connections leaves nothing open, no task."""
    before = asyncio.all_tasks()
    trickle = Fault(Point.STATUS_LINE, Act.TRICKLE, gap=3600.0)
    plan = Queues(claim=[trickle], connection=[None, Fault(Point.ACCEPT, Act.STALL)])
    async with Peer() as trickling, Peer() as stalled, Peer() as idle:
        async with FaultServer(plan) as server:
            await trickling.open(server)
            await trickling.claim()
            await stalled.open(server)
            await idle.open(server)
            await server.until(lambda: server.faulted == 2 and server.open_now == 3)
        assert (server.open_now, server.open_most) == (0, 3)
    assert asyncio.all_tasks() == before


def test_all_points_inside_an_answer_may_be_executed():
    """The tables of points agree with each other."""
    assert set(CUTS) < set(EXECUTED) < set(ACTS)
