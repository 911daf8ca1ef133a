"""Cases 1 to 28: what the wire does to a claim, and what the caller and the ledger then have."""

import asyncio
import gc
import resource
import socket
import ssl

import httpx
import httpx2
import pytest
import trustme
from conftest import QUICK

from dintero_claims_client import (
    APIStatusError,
    ClaimDiscount,
    ClaimDiscountRef,
    NotSentError,
    OutcomeUnknownError,
    RetryPolicy,
)
from faults.proxy import Proxy
from faults.script import Act, Fault, Point
from faults.server import FaultServer

RECEIVED, BODY, ANSWERED = Point.RECEIVED, Point.BODY, Point.ANSWERED


def token_elsewhere(server):
    """Return a setting that keeps the token's connection apart from the claims'."""
    scheme = server.base_url.partition(":")[0]
    return {"token_url": f"{scheme}://127.0.0.1:{server.port}/v1/accounts/T12345678/auth/token"}


async def assert_taken(client, server, make_request, *, ref="order-1", posts=None):
    """Claim, and check that the caller got the one claim that the ledger holds."""
    claim = await client.claim(make_request(ref))
    assert [claim.id] == [taken["id"] for taken in server.ledger.claims]
    if posts is not None:
        assert posts == server.claim_requests
    return claim


async def assert_unknown(client, server, make_request, *, held, status=None):
    """Claim without a ref, and check that the caller is told it is unknown, after one request."""
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.claim(make_request(None))
    assert (held, 1) == (len(server.ledger.claims), server.claim_requests)
    assert (caught.value.ref, caught.value.status) == (None, status)


async def test_case_01_dns_fails_twice(engine, server, network, make_client, make_request):
    """A name that is not found is not a failure of the claim: it is looked up again, and the claim taken."""
    client = await make_client(engine, **token_elsewhere(server))
    missing = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    network.lookups.extend([missing, missing])
    await assert_taken(client, server, make_request, posts=1)
    assert not network.lookups


async def test_case_01_dns_fails_for_ever(engine, server, network, make_client, make_request):
    """A name that is never found ends as not sent."""
    client = await make_client(
        engine, retry=RetryPolicy(max_attempts=3, base_delay=0.001), **token_elsewhere(server)
    )
    network.lookups.extend([socket.gaierror(socket.EAI_NONAME, "Name or service not known")] * 3)
    with pytest.raises(NotSentError) as caught:
        await client.claim(make_request("order-1"))
    assert caught.value.ref == "order-1"
    assert (server.claim_requests, server.ledger.claims) == (0, [])


@pytest.mark.parametrize("ref", ["order-1", None])
async def test_case_02_connection_refused(engine, server, network, make_client, make_request, ref):
    """A port at which nobody listens is tried again, with and without a ref."""
    client = await make_client(engine, generate_refs=False, **token_elsewhere(server))
    network.connects.extend([False, True, True])
    await assert_taken(client, server, make_request, ref=ref, posts=1)
    assert not network.connects


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
async def tls_server(authority, plan):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    async with FaultServer(plan=plan, tls=context) as server:
        yield server


def trust(authority):
    """Return a context that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_case_03_a_certificate_that_is_not_trusted(engine, tls_server, make_client, make_request):
    """A server that is not who it says it is gets nothing at all, and that is said at once."""
    client = await make_client(engine, base_url=tls_server.base_url, ssl_context=ssl.create_default_context())
    with pytest.raises(NotSentError):
        await client.claim(make_request("order-1"))
    assert (tls_server.connections, tls_server.exchanges, tls_server.ledger.claims) == (1, 0, [])


HANDSHAKES = [
    Fault(Point.ACCEPT, act, after=after)
    for act in (Act.RESET, Act.CLOSE, Act.GARBAGE)
    for after in (0, 1, 100)
]


@pytest.mark.parametrize("ref", ["order-1", None])
@pytest.mark.parametrize("fault", HANDSHAKES, ids=str)
async def test_case_03_a_handshake_that_breaks(
    engine, tls_server, plan, authority, make_client, make_request, fault, ref
):
    """A handshake that breaks proves that nothing was sent: the claim is sent again, also without a ref."""
    client = await make_client(
        engine,
        base_url=tls_server.base_url,
        ssl_context=trust(authority),
        generate_refs=False,
        **token_elsewhere(tls_server),
    )
    plan.connection.extend([None, fault, fault])
    await assert_taken(client, tls_server, make_request, ref=ref, posts=1)


async def test_case_03_a_handshake_that_stalls(
    engine, tls_server, plan, authority, make_client, make_request
):
    """A handshake that stalls uses up one attempt, and no more."""
    client = await make_client(
        engine,
        base_url=tls_server.base_url,
        ssl_context=trust(authority),
        retry=RetryPolicy(attempt_timeout=0.5, base_delay=0.001),
        **token_elsewhere(tls_server),
    )
    plan.connection.extend([None, Fault(Point.ACCEPT, Act.STALL, after=50)])
    await assert_taken(client, tls_server, make_request, posts=1)


BEFORE_COMMIT = [
    Fault(Point.ACCEPT, Act.RESET),
    Fault(Point.ACCEPT, Act.CLOSE),
    Fault(Point.ACCEPT, Act.GARBAGE),
    Fault(Point.ACCEPT, Act.RESET, after=50),
    Fault(Point.ACCEPT, Act.CLOSE, after=50),
]


@pytest.mark.parametrize("fault", BEFORE_COMMIT, ids=str)
async def test_case_04_reset_before_the_request_is_read(
    engine, server, plan, make_client, make_request, fault
):
    """A connection that ends before the request is read costs an attempt, and the claim is taken once."""
    client = await make_client(engine, **token_elsewhere(server))
    plan.connection.extend([None, fault, fault])
    await assert_taken(client, server, make_request, posts=1)


@pytest.mark.parametrize("fault", BEFORE_COMMIT, ids=str)
async def test_case_05_the_same_without_a_ref(engine, server, plan, make_client, make_request, fault):
    """Without a ref the claim is either known not to have left, and taken, or reported as unknown."""
    client = await make_client(engine, generate_refs=False, **token_elsewhere(server))
    plan.connection.extend([None, fault])
    try:
        claim = await client.claim(make_request(None))
    except OutcomeUnknownError:
        assert (server.claim_requests, server.ledger.claims) == (0, [])
    else:
        assert [claim.id] == [taken["id"] for taken in server.ledger.claims]


BREAKS = [Act.RESET, Act.CLOSE]


@pytest.mark.parametrize("act", BREAKS)
async def test_case_06_reset_after_the_commit(engine, server, plan, make_client, make_request, act):
    """A claim that was taken before the connection ended comes back with the id that the ledger has."""
    client = await make_client(engine)
    plan.claim.append(Fault(RECEIVED, act, commit=True))
    await assert_taken(client, server, make_request)
    assert client.stats().recovered == 1


@pytest.mark.parametrize("act", BREAKS)
async def test_case_07_the_same_without_a_ref(engine, server, plan, make_client, make_request, act):
    """Without a ref it is unknown, and never sent again."""
    client = await make_client(engine, generate_refs=False)
    plan.claim.append(Fault(RECEIVED, act, commit=True))
    await assert_unknown(client, server, make_request, held=1)


@pytest.mark.parametrize("act", BREAKS)
async def test_case_08_reset_after_reading_without_a_commit(
    engine, server, plan, make_client, make_request, act
):
    """A claim that was read and not taken is sent again, and taken once."""
    client = await make_client(engine)
    plan.claim.append(Fault(RECEIVED, act))
    await assert_taken(client, server, make_request, posts=2)


@pytest.mark.parametrize("act", [*BREAKS, Act.STALL])
@pytest.mark.parametrize("size", [1, 10_000], ids=["small", "large"])
async def test_case_09_the_end_in_the_middle_of_the_upload(
    engine, server, plan, make_client, make_request, act, size
):
    """A connection that ends while the claim is uploaded costs an attempt, also with a large body."""
    client = await make_client(engine, retry=RetryPolicy(attempt_timeout=0.7, base_delay=0.001))
    refs = [ClaimDiscountRef(id=f"item-{number}", amount=100) for number in range(size)]
    request = make_request("order-1", discounts=[ClaimDiscount(id="discount-1", refs=refs)])
    plan.claim.append(Fault(Point.UPLOAD, act, after=20))
    claim = await client.claim(request)
    assert [claim.id] == [taken["id"] for taken in server.ledger.claims]


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize("act", BREAKS)
@pytest.mark.parametrize(
    ("at", "after"),
    [
        (Point.STATUS_LINE, 4),
        (Point.STATUS_LINE, 12),
        (Point.HEADERS, 0),
        (Point.HEADERS, 20),
        (BODY, 0),
        (BODY, 30),
    ],
)
async def test_cases_10_and_11_half_an_answer(
    engine, server, plan, make_client, make_request, at, after, act, commit
):
    """An answer that breaks off in its status line, its headers or its body proves nothing."""
    client = await make_client(engine)
    plan.claim.append(Fault(at, act, commit=commit, after=after))
    await assert_taken(client, server, make_request)


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize(
    "form",
    ["chunked-cut-off", "chunked-garbage-size", "chunked-wrong-size", "chunked-no-end", "length-too-long"],
)
async def test_case_12_a_truncated_body(engine, server, plan, make_client, make_request, form, commit):
    """A body that ends before its end proves nothing."""
    client = await make_client(engine)
    plan.claim.append(Fault(ANSWERED, Act.KEEP, commit=commit, answer=form))
    await assert_taken(client, server, make_request)


@pytest.mark.parametrize("form", ["honest-then-stranger", "honest-then-400", "honest-twice"])
async def test_case_14_one_answer_too_many(engine, server, plan, make_client, make_request, form):
    """A second answer on a connection is nobody's: each of the next claims gets its own.

    httpx on httpcore 1.0 may hand it to the next request: a stranger's claim is then seen through, a
    stray refusal cannot be, so that form is left out there.
    """
    client = await make_client(engine, max_connections=1)
    plan.claim.extend([Fault(ANSWERED, Act.KEEP, commit=True, answer=form)] * 5)
    for number in range(8):
        claim = await client.claim(make_request(f"order-{number}"))
        assert server.ledger.by_ref[f"order-{number}"]["id"] == claim.id
    assert len(server.ledger.claims) == 8


@pytest.mark.parametrize("form", ["100-then-honest", "102-then-honest", "103-then-honest"])
async def test_case_16_an_interim_answer(engine, server, plan, make_client, make_request, form):
    """An interim answer is not the answer."""
    client = await make_client(engine)
    plan.claim.append(Fault(ANSWERED, Act.KEEP, commit=True, answer=form))
    await assert_taken(client, server, make_request, posts=1)


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize("at", [RECEIVED, Point.STATUS_LINE, Point.HEADERS, BODY])
async def test_case_17_silence_past_the_deadline(engine, server, plan, make_client, make_request, at, commit):
    """A server that falls silent leaves the outcome unknown, with the ref, when the deadline is over."""
    client = await make_client(engine)
    plan.claim.append(Fault(at, Act.STALL, commit=commit, after=0 if at is RECEIVED else 5))
    async with asyncio.timeout(20):
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.claim(make_request("order-1"), timeout=0.4)
    assert caught.value.ref == "order-1"
    assert len(server.ledger.claims) == commit
    claim = await client.claim(make_request("order-1"), if_exists="return")
    assert [claim.id] == [taken["id"] for taken in server.ledger.claims]


@pytest.mark.parametrize("at", [Point.STATUS_LINE, Point.HEADERS, BODY])
async def test_case_18_a_trickle(engine, server, plan, make_client, make_request, at):
    """An answer of one byte each half second, which would take minutes, ends with the deadline."""
    client = await make_client(engine)
    plan.claim.append(Fault(at, Act.TRICKLE, commit=True, gap=0.5))
    async with asyncio.timeout(20):
        with pytest.raises(OutcomeUnknownError):
            await client.claim(make_request("order-1"), timeout=0.7)
    assert len(server.ledger.claims) == 1


@pytest.mark.parametrize("act", BREAKS)
async def test_case_19_an_idle_connection_ends_as_the_claim_arrives(
    engine, server, plan, make_client, make_request, act
):
    """A kept connection that ends just then costs an attempt; the claim is taken once."""
    client = await make_client(engine)
    await client.claim(make_request("order-0"))
    plan.claim.append(Fault(Point.UPLOAD, act))
    claim = await client.claim(make_request("order-1"))
    assert [one["id"] for one in server.ledger.claims][1:] == [claim.id]


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "not committed"])
async def test_case_20_reset_on_a_kept_connection_without_a_ref(
    engine, server, plan, make_client, make_request, commit
):
    """That a connection was kept does not make a reset safe: without a ref nothing is sent again."""
    client = await make_client(engine, generate_refs=False)
    plan.claim.append(Fault(RECEIVED, Act.RESET, commit=commit))
    await assert_unknown(client, server, make_request, held=int(commit))
    assert server.connections == 1


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize("form", ["gzip-broken", "gzip-cut-off", "gzip-bomb", "br"])
async def test_case_21_compressed_answers(engine, server, plan, make_client, make_request, form, commit):
    """An answer that cannot be inflated, or only to more than the cap, proves nothing."""
    client = await make_client(engine)
    plan.claim.append(Fault(ANSWERED, Act.KEEP, commit=commit, answer=form))
    await assert_taken(client, server, make_request)


async def test_case_21_a_bomb_takes_no_memory(engine, server, plan, make_client, make_request):
    """Sixty-four megabytes in a small answer cost less than eight of memory."""
    client = await make_client(engine)
    bomb = Fault(ANSWERED, Act.KEEP, commit=True, answer="gzip-bomb")
    plan.claim.append(bomb)
    await client.claim(make_request("warm-up"))
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan.claim.extend([bomb] * 3)
    for number in range(3):
        await client.claim(make_request(f"order-{number}"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024


async def test_case_22_an_endless_error_page(engine, server, plan, make_client, make_request):
    """A refusal of megabytes is a typed error with the beginning of it."""
    client = await make_client(engine)
    plan.claim.append(Fault(ANSWERED, Act.KEEP, answer="400-3-mib"))
    with pytest.raises(APIStatusError) as caught:
        await client.claim(make_request("order-1"))
    assert (caught.value.status, len(caught.value.body)) == (400, 16384)
    assert server.ledger.claims == []


UNREADABLE = [
    "200-html",
    "200-empty",
    "200-{}",
    "200-id-number",
    "200-id-empty",
    "200-id-null",
    "200-id-list",
    "200-no-id",
    "200-deep",
    "200-trailing-garbage",
    "200-error-object",
    "200-stranger",
    "200-stranger-with-our-ref",
    "200-list-of-ours",
    "204",
    "205",
]


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize("form", UNREADABLE)
async def test_case_23_a_success_that_cannot_be_read(
    engine, server, plan, make_client, make_request, form, commit
):
    """A success without a claim of ours in it proves nothing, and is settled."""
    client = await make_client(engine)
    plan.claim.append(Fault(ANSWERED, Act.KEEP, commit=commit, answer=form))
    await assert_taken(client, server, make_request)


@pytest.mark.parametrize("commit", [True, False], ids=["committed", "not committed"])
@pytest.mark.parametrize("form", ["520", "521", "524", "530", "598", "599", "status-999", "status-600"])
async def test_case_24_odd_statuses(engine, server, plan, make_client, make_request, form, commit):
    """A status that no standard names is a plain number, and proves nothing."""
    client = await make_client(engine)
    plan.claim.append(Fault(ANSWERED, Act.KEEP, commit=commit, answer=form))
    await assert_taken(client, server, make_request)


@pytest.mark.parametrize("form", ["499", "460"])
async def test_case_24_a_gateway_gave_up(engine, server, plan, make_client, make_request, form):
    """A gateway that gave up is looked behind: the claim if it was taken, else its status."""
    client = await make_client(engine)
    plan.claim.append(Fault(ANSWERED, Act.KEEP, commit=True, answer=form))
    await assert_taken(client, server, make_request, posts=1)
    plan.claim.append(Fault(ANSWERED, Act.KEEP, answer=form))
    with pytest.raises(APIStatusError) as caught:
        await client.claim(make_request("order-2"))
    assert (int(form), 1) == (caught.value.status, len(server.ledger.claims))


async def test_case_25_a_bad_gateway_after_the_commit(engine, server, plan, make_client, make_request):
    """A 502 page after the claim was taken: with a ref the claim, without one unknown."""
    page = Fault(ANSWERED, Act.KEEP, commit=True, answer="502-html")
    client = await make_client(engine)
    plan.claim.append(page)
    await assert_taken(client, server, make_request)
    client = await make_client(engine, generate_refs=False)
    plan.claim.append(page)
    with pytest.raises(OutcomeUnknownError) as caught:
        await client.claim(make_request(None))
    assert (caught.value.status, len(server.ledger.claims)) == (502, 2)


@pytest.mark.parametrize("form", ["300", "301", "302", "303", "305", "307", "308"])
async def test_case_26_redirects(engine, server, plan, make_client, make_request, form):
    """A redirect is followed by neither a claim, nor a read, nor a request for a token."""
    client = await make_client(engine)
    redirect = Fault(ANSWERED, Act.KEEP, answer=form)
    plan.claim.append(redirect)
    with pytest.raises(APIStatusError) as caught:
        await client.claim(make_request("order-1"))
    assert int(form) == caught.value.status
    plan.get.append(redirect)
    with pytest.raises(APIStatusError):
        await client.get_claim("claim-1")
    plan.token.append(redirect)
    client = await make_client(engine)
    with pytest.raises(APIStatusError):
        await client.claim(make_request("order-1"))
    assert (server.trapped, server.ledger.claims) == (0, [])


async def proxied(engine, tls_server, authority, proxy, make_client):
    """Return a client that goes through the proxy."""
    settings = {"base_url": tls_server.base_url, "retry": QUICK, **token_elsewhere(tls_server)}
    if engine == "aiohttp":
        return await make_client(engine, proxy=proxy.url, ssl_context=trust(authority), **settings)
    library = {"httpx": httpx, "httpx2": httpx2}[engine]
    http_client = library.AsyncClient(proxy=proxy.url, verify=trust(authority))
    return await make_client("aiohttp", http_client=http_client, **settings), http_client


async def test_case_28_proxies(engine, tls_server, authority, make_client, make_request, quick_tokens):
    """A proxy that wants credentials ends the call, one that dies is tried again; nothing was sent."""
    async with Proxy("tunnel", "407") as proxy:
        made = await proxied(engine, tls_server, authority, proxy, make_client)
        client, http_client = made if isinstance(made, tuple) else (made, None)
        with pytest.raises(NotSentError):
            await client.claim(make_request("order-1"))
        assert (proxy.connects, tls_server.ledger.claims) == (2, [])
        proxy.steps.extend(["die", "502", "die"])
        await assert_taken(client, tls_server, make_request, posts=1)
        assert proxy.connects == 6
        await client.aclose()
        if http_client is not None:
            await http_client.aclose()
