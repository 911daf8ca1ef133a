"""Cases 48 to 54: many at once, a server that pushes back, outages, cancellations, and the wrong place."""

import asyncio
import os
import random
import warnings

import pytest

from dintero_claims_client import (
    ClaimsError,
    ClientStateError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    RetryPolicy,
)
from dintero_claims_client._limiter import Limiter
from faults.script import Act, Fault, Point, Queues
from faults.server import FaultServer
from faults.test_cases_transport import token_elsewhere

LOST = Fault(Point.RECEIVED, Act.RESET, commit=True)


def answered(form, *, commit=False):
    return Fault(Point.ANSWERED, Act.KEEP, commit=commit, answer=form)


MALFORMED = [
    "",
    "-past-date",
    "-negative",
    "-nan",
    "-inf",
    "-1e999",
    "-year-99999",
    "-two-values",
    "-arabic",
    "-empty",
    "-0",
]


@pytest.mark.parametrize("ref", ["order-1", None])
@pytest.mark.parametrize("value", MALFORMED)
async def test_case_48_retry_after_in_any_form(engine, server, plan, make_client, make_request, value, ref):
    """A Retry-After that says nothing is replaced by the own delay; the claim is taken once."""
    client = await make_client(engine, generate_refs=False)
    form = f"429-retry-after{value}" if value else "429"
    plan.claim.extend([answered(form)] * 2)
    async with asyncio.timeout(20):
        await client.claim(make_request(ref))
    assert (server.claim_requests, len(server.ledger.claims)) == (3, 1)


async def test_case_48_retry_after_is_obeyed(engine, server, plan, make_client, make_request):
    """A Retry-After of a second is waited out."""
    client = await make_client(engine)
    plan.claim.append(answered("429-retry-after-1"))
    began = asyncio.get_running_loop().time()
    await client.claim(make_request("order-1"))
    assert asyncio.get_running_loop().time() - began >= 1.0
    assert server.claim_requests == 2


async def test_case_48_retry_after_of_400_digits(engine, server, plan, make_client, make_request):
    """A Retry-After beyond all bounds hangs nobody."""
    client = await make_client(engine)
    plan.claim.append(answered("429-retry-after-400-digits"))
    async with asyncio.timeout(20):
        await client.claim(make_request("order-1"))
    assert len(server.ledger.claims) == 1


class Arrivals(Queues):
    """Queues of faults that also note when each claim came."""

    def __init__(self):
        super().__init__()
        self.times = []

    def for_request(self, request):
        if request.operation == "claim":
            self.times.append(asyncio.get_running_loop().time())
        return super().for_request(request)


async def test_case_50_one_429_pauses_all(engine, make_client, make_request):
    """One 429 to one of 500: only what was on its way already comes before its second is over."""
    plan = Arrivals()
    async with FaultServer(plan=plan) as server:
        client = await make_client(engine, base_url=server.base_url, max_connections=50, timeout=60)
        plan.claim.extend([*[None] * 20, answered("429-retry-after-1")])
        await asyncio.gather(*(client.claim(make_request(f"order-{n}")) for n in range(500)))
        struck = plan.times[20]
        early = [time for time in plan.times[21:] if time < struck + 1.0]
        assert len(early) <= 100
        assert len(plan.times) == 501
        assert len(server.ledger.by_ref) == len(server.ledger.claims) == 500


async def test_case_50_who_cannot_wait_is_told(engine, server, plan, make_client, make_request):
    """A pause beyond their deadline ends the others' calls at once, with the server's wish."""
    client = await make_client(engine)
    plan.claim.append(answered("429-retry-after-2"))
    with pytest.raises(RateLimitedError):
        await client.claim(make_request("order-1"), timeout=1)
    with pytest.raises(NotSentError) as caught:
        await client.claim(make_request("order-2"), timeout=0.5)
    assert 0 < caught.value.retry_after <= 2
    assert (server.claim_requests, server.ledger.claims) == (1, [])
    await client.claim(make_request("order-3"))
    assert server.claim_requests == 2


OUTAGES = {
    "503": answered("503"),
    "502 html": answered("502-html"),
    "reset": Fault(Point.RECEIVED, Act.RESET),
    "closed": Fault(Point.UPLOAD, Act.CLOSE),
    "429": answered("429"),
}


class Always:
    """A plan in which every request but those for tokens meets the same fault, until it is mended."""

    def __init__(self, fault):
        self.fault = fault

    def for_connection(self, number):
        return None

    def for_head(self, operation):
        return self.fault if self.fault and self.fault.at is Point.UPLOAD and operation != "token" else None

    def for_request(self, request):
        return None if request.operation == "token" else self.fault

    def describe(self):
        return {}


@pytest.mark.parametrize("fault", OUTAGES.values(), ids=OUTAGES)
async def test_case_51_a_total_outage(quiet, make_client, make_request, fault):
    """10,000 calls into a total outage send at most 11,000 requests; afterwards all is well again."""
    async with FaultServer(plan=Always(fault)) as server:
        client = await make_client("aiohttp", base_url=server.base_url, timeout=60)
        calls = [client.claim(make_request(f"order-{n}"), timeout=6) for n in range(10_000)]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(one) for one in ended} <= {OutcomeUnknownError, NotSentError, RateLimitedError}
        assert client.stats().retries_left < 50
        assert server.claim_requests + server.list_requests <= 11_000
        assert server.ledger.claims == []
        server.plan.fault = None
        await asyncio.gather(*(client.claim(make_request(f"order-{n}")) for n in range(1000)))
        assert len(server.ledger.claims) == 1000


async def test_case_51_who_was_not_sent_is_told_when_to_come_again(
    engine, server, network, make_client, make_request
):
    """With the quota used up, a call that was not sent ends at once with the seconds to pause."""
    client = await make_client(engine, **token_elsewhere(server))
    while client._open().calls.quota.try_take():
        pass
    network.connects.extend([False, True])
    with pytest.raises(NotSentError, match="too many calls fail") as caught:
        await client.claim(make_request("order-1"))
    assert 0 < caught.value.retry_after <= 1
    assert (server.claim_requests, server.ledger.claims) == (0, [])


async def test_case_51_cancelled_calls_take_no_repetitions(engine, server, plan, make_client, make_request):
    """Calls that are cancelled while they wait for their next attempt have used up nothing."""
    client = await make_client(engine, retry=RetryPolicy(base_delay=60, max_delay=60), timeout=600)
    # All wait for as long, and none by chance for a moment only.
    client._open().calls.random = lambda: 1.0
    plan.claim.extend([answered("429-retry-after-0")] * 30)
    calls = [asyncio.create_task(client.claim(make_request(f"order-{n}"))) for n in range(30)]
    await server.until(lambda: not plan.claim)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert client.stats().retries_left == 500


async def test_case_51_reads_do_not_take_the_claims_repetitions(
    engine, server, plan, make_client, make_request
):
    """Reads that fail leave the claims all of their repetitions."""
    client = await make_client(engine)
    plan.get.extend([answered("500")] * 10_000)
    reads = [client.get_claim("claim-1", timeout=2) for _ in range(150)]
    await asyncio.gather(*reads, return_exceptions=True)
    assert client.stats().retries_left == 500


async def test_case_51_those_in_doubt_are_settled_when_the_outage_ends(engine, make_client, make_request):
    """Calls whose claim was taken as the outage began wait for the quota, and are settled when it ends."""
    async with FaultServer(plan=Always(LOST)) as server:
        client = await make_client(engine, base_url=server.base_url)
        while client._open().calls.quota.try_take():
            pass
        calls = [
            asyncio.create_task(client.claim(make_request(f"order-{n}"), timeout=30)) for n in range(300)
        ]
        await server.until(lambda: len(server.ledger.claims) == 300)
        server.plan.fault = None
        claims = await asyncio.gather(*calls)
        assert [claim.id for claim in claims] == [
            server.ledger.by_ref[f"order-{n}"]["id"] for n in range(300)
        ]
        assert len(server.ledger.claims) == 300


async def test_case_52_5000_at_once_on_50_connections(quiet, engine, server, make_client, make_request):
    """5,000 calls at once on 50 connections are all taken, over at most 50 sockets."""
    client = await make_client(engine, max_connections=50, timeout=60)
    await asyncio.gather(*(client.claim(make_request(f"order-{n}")) for n in range(5000)))
    assert len(server.ledger.by_ref) == 5000
    assert server.open_most <= 50
    assert client.stats().claim_requests == 5000


CANCELLED = {"aiohttp": 20_000, "httpx": 3_000, "httpx2": 3_000}


async def test_case_53_random_cancellations(quiet, engine, server, make_client, make_request):
    """After thousands of calls cancelled at random moments 100 calls work; nothing is left over."""
    chance = random.Random(53)
    client = await make_client(engine, max_connections=20, timeout=60)
    await client.claim(make_request("warm-up"))
    tasks_before = len(asyncio.all_tasks())

    async def call(number):
        task = asyncio.create_task(client.claim(make_request(f"order-{number}")))
        for _ in range(chance.randrange(40)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    count = CANCELLED[engine]
    for start in range(0, count, 200):
        await asyncio.gather(*(call(number) for number in range(start, start + 200)))
    claims = await asyncio.gather(*(client.claim(make_request(f"after-{n}")) for n in range(100)))
    assert len({claim.id for claim in claims}) == 100
    refs = [claim["ref"] for claim in server.ledger.claims]
    assert len(refs) == len(set(refs))
    assert client.stats().waiting == 0
    assert client._opened.limiter._under_way == 0
    await client.aclose()
    assert len(asyncio.all_tasks()) <= tasks_before
    # A caller's pool keeps its connections until the caller closes it.
    if engine == "aiohttp":
        await server.until(lambda: server.open_now == 0)


async def test_case_54_close_in_flight(engine, server, plan, make_client, make_request):
    """Closing the client under calls that are under way ends all of them, and tells each the truth."""
    client = await make_client(engine, timeout=60)
    await client.claim(make_request("warm-up"))
    plan.claim.extend([Fault(Point.RECEIVED, Act.STALL, commit=True)] * 5)
    plan.claim.extend([answered("429-retry-after-2")])
    calls = [asyncio.create_task(client.claim(make_request(f"order-{n}"))) for n in range(20)]
    await server.until(lambda: len(server.ledger.claims) >= 6)
    async with asyncio.timeout(5):
        await client.aclose()
        ended = await asyncio.gather(*calls, return_exceptions=True)
    for number, one in enumerate(ended):
        held = server.ledger.by_ref.get(f"order-{number}")
        if isinstance(one, ClaimsError):
            assert isinstance(one, OutcomeUnknownError) or held is None
        else:
            assert held["id"] == one.id


def test_case_54_a_second_event_loop(make_request):
    """A client that was used on one event loop says so on another, also under contention."""
    from dintero_claims_client import ClaimsClient

    async def use(client, server, names):
        calls = [client.claim(make_request(name)) for name in names]
        return await asyncio.gather(*calls, return_exceptions=True)

    async def first():
        async with FaultServer(plan=Queues()) as server:
            client = ClaimsClient(
                account_id="T12345678",
                client_id="c",
                client_secret="s",
                base_url=server.base_url,
                max_connections=1,
            )
            await use(client, server, [f"a{n}" for n in range(10)])
            ended = await asyncio.to_thread(asyncio.run, use(client, server, [f"b{n}" for n in range(10)]))
            assert {type(one) for one in ended} == {ClientStateError}
            await use(client, server, [f"c{n}" for n in range(10)])
            await client.aclose()
            assert len(server.ledger.claims) == 20

    asyncio.run(first())


async def test_case_54_a_fork(server, make_client, make_request):
    """A fork of a client in use says so instead of sharing its connections."""
    client = await make_client()
    await client.claim(make_request("order-1"))
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 and later warn of forks in a process with threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:  # pragma: no cover - in another process
        try:
            client.claim(make_request("order-2")).send(None)
        except ClientStateError:
            os.write(writer, b"said so")
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert await asyncio.to_thread(pipe.read) == b"said so"
    await asyncio.to_thread(os.waitpid, child, 0)
    await client.claim(make_request("order-3"))
    assert [claim["ref"] for claim in server.ledger.claims] == ["order-1", "order-3"]


@pytest.fixture
def pauses(monkeypatch):
    """Return the seconds of all push-backs, as they come."""
    seen = []
    push_back = Limiter.push_back

    def remember(self, place, *, seconds):
        seen.append(seconds)
        push_back(self, place, seconds=seconds)

    monkeypatch.setattr(Limiter, "push_back", remember)
    return seen


async def test_what_all_pause_for(engine, server, plan, make_client, make_request, pauses):
    """All yield to a 429, for longer with each of a row, and to a 5xx that says how long; to nothing else."""
    client = await make_client(engine, retry=RetryPolicy(base_delay=0.001, max_delay=0.004))
    plan.claim.extend([answered("429")] * 4)
    await client.claim(make_request("order-1"))
    assert pauses == [0.0, 0.001, 0.002, 0.004]
    plan.claim.extend([answered("429"), None, answered("503-retry-after-0"), answered("503")])
    await client.claim(make_request("order-2"))
    await client.claim(make_request("order-3"))
    assert pauses[4:] == [0.0, 0.0]


async def test_what_counts_as_answered(engine, server, plan, make_client, make_request, monkeypatch):
    """Only a request that got an answer, and no wish to slow down, says that the server can bear more."""
    seen = []
    release = Limiter.release

    def remember(self, place, *, answered):
        seen.append(answered)
        release(self, place, answered=answered)

    client = await make_client(engine)
    await client.claim(make_request("warm-up"))
    monkeypatch.setattr(Limiter, "release", remember)
    plan.claim.extend([Fault(Point.RECEIVED, Act.RESET), answered("429"), answered("500")])
    await client.claim(make_request("order-1"))
    assert seen == [False, False, True, True]


async def test_case_51_a_look_up_is_paid_for(engine, server, plan, make_client, make_request, monkeypatch):
    """With the quota used up a claim is not even looked up; other reads are no repetition, and go."""
    monkeypatch.setattr("dintero_claims_client._quota.PER_SECOND", 1e-9)
    client = await make_client(engine, retry=RetryPolicy(max_attempts=1))
    quota = client._open().calls.quota
    while quota.try_take():
        pass
    plan.claim.append(LOST)
    with pytest.raises(OutcomeUnknownError):
        await client.claim(make_request("order-1"), timeout=1)
    assert (server.claim_requests, server.list_requests) == (1, 0)
    assert (await client.find_claim(ref="order-1")).ref == "order-1"
    quota.succeed(repeated=True)
    left = quota.left
    plan.claim.append(LOST)
    await client.claim(make_request("order-2"))
    # What a look-up costs is given back when it succeeds, and half of it more.
    assert quota.left == pytest.approx(left + 0.5)
