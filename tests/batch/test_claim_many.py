"""Claiming many: each row ends as one of three, and one never stops another."""

import asyncio
import datetime
import gc
import sys

import pytest
from support.fake_server import HANG, RESET, error_answer, json_answer

from dintero_claims_client import (
    APIStatusError,
    AuthenticationError,
    Claimed,
    ClientStateError,
    ConfigurationError,
    InvalidClaimError,
    NotSentError,
    OutcomeUnknownError,
    RefConflictError,
    Rejected,
    RetryPolicy,
    Unknown,
)
from dintero_claims_client._calls import Calls

ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture
def make_rows(make_request):
    """Return a maker of so many claims, each of a customer of its own."""

    def make(count, *, prefix="order", refs=True):
        for number in range(count):
            yield make_request(f"{prefix}-{number}" if refs else None, customer_id=f"customer-{number}")

    return make


async def _all(batch):
    return [outcome async for outcome in batch]


async def _until_error(batch):
    """Return the outcomes, and the error that came after them."""
    outcomes = []
    try:
        async for outcome in batch:
            outcomes.append(outcome)
    except Exception as error:  # noqa: BLE001 - whatever it ends with
        return outcomes, error
    return outcomes, None


async def _asynchronously(rows):
    for row in rows:
        await asyncio.sleep(0)
        yield row


@pytest.mark.parametrize("kind", [list, iter, tuple, _asynchronously], ids=lambda kind: kind.__name__)
async def test_every_row_is_claimed_once(engine, server, make_client, make_rows, kind):
    """Any iterable or async iterable is claimed row by row, and each outcome names its request and claim."""
    client = await make_client(engine)
    requests = list(make_rows(40))
    outcomes = await _all(client.claim_many(kind(requests), concurrency=7))
    assert sorted(outcome.row for outcome in outcomes) == list(range(40))
    for outcome in outcomes:
        assert isinstance(outcome, Claimed)
        assert outcome.request is requests[outcome.row]
        assert (outcome.ref, outcome.claim.ref) == (f"order-{outcome.row}",) * 2
        assert outcome.claim.customer_id == f"customer-{outcome.row}"
        assert (outcome.recovered, outcome.replayed) == (False, False)
    assert len(server.claims) == 40


async def test_nothing_is_an_empty_batch(server, make_client):
    """An empty source gives nothing, and sends nothing."""
    client = await make_client()
    assert await _all(client.claim_many([])) == []
    assert server.posts == []


async def test_one_row_stops_no_other(server, make_client, make_rows, make_request):
    """A row that breaks a rule, is refused, or is no claim at all is rejected, and the rest is claimed."""
    client = await make_client()
    requests = [*make_rows(3), make_request(discounts=[]), "no claim", *make_rows(3, prefix="other")]
    server.on_claim.extend([server.commit, error_answer(422, "no")])
    outcomes = {one.row: one for one in await _all(client.claim_many(requests, concurrency=1))}
    errors = {row: type(one.error) for row, one in outcomes.items() if isinstance(one, Rejected)}
    assert errors == {1: APIStatusError, 3: InvalidClaimError, 4: InvalidClaimError}
    assert outcomes[3].error.field == "discounts"
    assert [one["ref"] for one in server.claims] == ["order-0", "order-2", "other-0", "other-1", "other-2"]
    assert len(outcomes) == 8


async def test_a_ref_is_minted_and_told(server, make_client, make_rows):
    """A row without a ref gets one, which its outcome names; the request stays as it was."""
    client = await make_client()
    requests = list(make_rows(3, refs=False))
    outcomes = await _all(client.claim_many(requests))
    assert {one.ref for one in outcomes} == {claim["ref"] for claim in server.claims}
    assert not any(request.ref for request in requests)


async def test_no_more_are_under_way_than_asked_for(server, make_client, make_rows):
    """With so many at once, the server never sees more, and does see as many."""
    client = await make_client()
    server.gate.clear()
    batch = client.claim_many(make_rows(30), concurrency=6)
    run = asyncio.create_task(_all(batch))
    await server.until(lambda: server.held == 6)
    assert (batch.under_way, batch.concurrency) == (6, 6)
    server.gate.set()
    assert len(await run) == 30
    assert server.held_most == 6
    assert batch.under_way == 0


async def test_nothing_is_read_ahead(server, make_client, make_rows):
    """The source is asked only for as many rows as are under way."""
    client = await make_client()
    server.gate.clear()
    taken = 0

    def source():
        nonlocal taken
        for row in make_rows(100):
            taken += 1
            yield row

    run = asyncio.create_task(_all(client.claim_many(source(), concurrency=5)))
    await server.until(lambda: server.held == 5)
    for _ in range(50):
        await asyncio.sleep(0)
    assert taken == 5
    server.gate.set()
    assert len(await run) == 100


async def test_a_slow_consumer_slows_the_source_down(server, make_client, make_rows):
    """Rows whose outcomes nobody has taken yet are in the way of new ones."""
    client = await make_client()
    taken = 0

    def source():
        nonlocal taken
        for row in make_rows(100):
            taken += 1
            yield row

    batch = client.claim_many(source(), concurrency=5)
    await anext(batch)
    await server.until(lambda: len(server.posts) >= 5)
    for _ in range(300):
        await asyncio.sleep(0)
    # One was given out, and its place is taken by another row.
    assert taken <= 6
    assert len(await _all(batch)) == 99


async def test_in_order_when_asked_for(server, make_client, make_rows):
    """With `ordered` outcomes come in the order of the rows, though some are answered late."""
    client = await make_client(retry=RetryPolicy(base_delay=0.05, max_delay=0.05))
    server.on_claim.extend([RESET] * 3)
    outcomes = await _all(client.claim_many(make_rows(60), concurrency=8, ordered=True))
    assert [one.row for one in outcomes] == list(range(60))


async def test_in_order_it_runs_ahead_only_so_far(server, make_client, make_rows):
    """An ordered batch runs ahead of a row that takes long by four times its concurrency at most."""
    client = await make_client()
    taken = 0

    def source():
        nonlocal taken
        for row in make_rows(200):
            taken += 1
            yield row

    server.on_claim.append(HANG)
    batch = client.claim_many(source(), concurrency=5, ordered=True)
    run = asyncio.create_task(anext(batch))
    await server.until(lambda: len(server.posts) == 20)
    for _ in range(300):
        await asyncio.sleep(0)
    assert taken == 20
    assert not run.done()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


@pytest.mark.parametrize("kind", [iter, _asynchronously], ids=lambda kind: kind.__name__)
async def test_an_error_of_the_source_comes_last(server, make_client, make_rows, kind):
    """What the source raises is raised after the outcomes of all rows that it gave before."""
    client = await make_client()

    def source():
        yield from make_rows(12)
        raise LookupError("the database is gone")

    outcomes, error = await _until_error(client.claim_many(kind(source()), concurrency=5))
    assert isinstance(error, LookupError)
    assert sorted(one.row for one in outcomes) == list(range(12))
    assert len(server.claims) == 12


async def test_a_source_that_is_no_iterable(make_client):
    """What cannot be gone through is a TypeError, as it is in a loop."""
    client = await make_client()
    with pytest.raises(TypeError):
        await _all(client.claim_many(7))


@pytest.mark.parametrize(
    "settings", [{"concurrency": 3}, {"concurrency": 2, "ordered": True}, {"concurrency": 10, "rate": 3.0}]
)
async def test_a_source_that_cancels_who_takes_from_it(server, make_client, make_rows, settings):
    """A timeout around a `yield` that hits while the batch does something else is told, as is each row."""
    client = await make_client()
    server.gate.clear()
    taken = []

    async def source():
        # It cancels the task that went into it, whatever that waits for.
        async with asyncio.timeout(None) as limit:
            for row in make_rows(20):
                taken.append(row)
                if len(taken) == min(settings["concurrency"], 3) + ("ordered" in settings):
                    asyncio.get_running_loop().call_soon(
                        lambda: limit.reschedule(asyncio.get_running_loop().time())
                    )
                yield row

    running = asyncio.create_task(_until_error(client.claim_many(source(), **settings)))
    await server.until(lambda: server.held >= 2)
    for _ in range(20):
        await asyncio.sleep(0.001)
    server.gate.set()
    outcomes, error = await asyncio.wait_for(running, 10)
    assert isinstance(error, ClientStateError)
    assert "timeout around a `yield`" in str(error)
    assert [one.request for one in sorted(outcomes, key=lambda one: one.row)] == taken
    assert {one.ref for one in outcomes if isinstance(one, Claimed)} == {one["ref"] for one in server.claims}


async def test_the_end_of_the_other_kind(server, make_client, make_rows):
    """A plain iterable that raises the end of an async one has failed, and not ended."""
    client = await make_client()

    def source():
        yield from make_rows(2)
        raise StopAsyncIteration

    outcomes, error = await _until_error(client.claim_many(source()))
    assert len(outcomes) == len(server.claims) == 2
    assert isinstance(error, RuntimeError)


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_row_that_fails_in_no_way_that_is_known(server, make_client, make_rows, monkeypatch, ordered):
    """Whatever breaks a row off, it is told as unknown, and so are all others before the error comes."""
    client = await make_client()
    server.gate.clear()
    claim = Calls.claim

    async def break_off(calls, prepared, **settings):
        if prepared.ref == "order-1":
            raise LookupError("a bug")
        return await claim(calls, prepared, **settings)

    monkeypatch.setattr(Calls, "claim", break_off)
    batch = client.claim_many(make_rows(6), ordered=ordered, concurrency=6)
    running = asyncio.create_task(_until_error(batch))
    await server.until(lambda: server.held == 5)
    server.gate.set()
    outcomes, error = await running
    assert isinstance(error, LookupError)
    assert sorted(one.row for one in outcomes) == list(range(6))
    assert [one.row for one in outcomes if isinstance(one, Unknown)] == [1]
    assert len(server.claims) == 5


@pytest.mark.parametrize("leaves", [False, True], ids=["busy", "leaves"])
async def test_closing_in_the_turn_of_an_outcome(server, make_client, make_rows, leaves):
    """Closing stops all that is under way at once, also where an outcome has just become ready to be told."""
    client = await make_client()
    server.on_claim.append(server.commit)
    batch = client.claim_many(make_rows(40), concurrency=4)
    closing, told, gone = [], [], asyncio.Event()
    give = batch._run._give

    def close_and_give(*given):
        server.gate.clear()
        if not closing:
            # Before the consumer, which is woken by what follows.
            closing.append(asyncio.create_task(batch.aclose()))
        give(*given)

    batch._run._give = close_and_give

    async def consume():
        async for outcome in batch:
            told.append(outcome)
            if leaves:
                break
            await gone.wait()

    consumer = asyncio.create_task(consume())
    await server.until(lambda: closing)
    await asyncio.wait_for(closing[0], 10)
    sent = len(server.posts)
    server.gate.set()
    gone.set()
    await asyncio.wait_for(consumer, 10)
    assert (told, batch.under_way, len(server.posts)) == ([], 0, sent)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks cannot be eager")
async def test_eager_tasks(server, make_client, make_rows):
    """A row that ends in the turn in which its task is made is told as any other, and its task is let go."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    client = await make_client()
    told = asyncio.Event()

    async def source():
        rows = iter(make_rows(3))
        yield next(rows)
        await told.wait()
        # What comes now ends without waiting for anything.
        await client.aclose()
        for row in rows:
            yield row

    batch = client.claim_many(source(), concurrency=3)
    assert isinstance(await anext(batch), Claimed)
    told.set()
    outcomes, error = await asyncio.wait_for(_until_error(batch), 10)
    assert isinstance(error, ClientStateError)
    assert [(type(one), one.row) for one in outcomes] == [(Rejected, 1)]
    assert not batch._run._claiming


async def test_a_cancellation_inside_the_source(make_client, make_rows):
    """A source in which something was cancelled ends the batch with that, as it would end a loop."""
    client = await make_client()

    async def source():
        yield next(iter(make_rows(1)))
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await _all(client.claim_many(source()))


def _others():
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def test_leaving_the_loop_stops_it(server, make_client, make_rows):
    """Who leaves the loop leaves nothing behind that goes on claiming."""
    client = await make_client()
    before = _others()
    async for _ in client.claim_many(make_rows(10_000), concurrency=5):
        break
    gc.collect()
    for _ in range(100):
        await asyncio.sleep(0)
    assert {task for task in _others() - before if "_serve" not in repr(task)} == set()
    claims = len(server.claims)
    assert claims < 100
    await client.claim_many(make_rows(1, prefix="again")).__anext__()


@pytest.mark.parametrize("how", ["aclose", "with", "cancel"])
async def test_stopping_at_once(server, make_client, make_rows, how):
    """Closing a batch, or cancelling who goes through it, ends all that is under way before it returns."""
    client = await make_client()
    before = _others()
    server.gate.clear()
    batch = client.claim_many(make_rows(1000), concurrency=5)
    run = asyncio.create_task(_all(batch))
    await server.until(lambda: server.held == 5)
    if how == "cancel":
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    else:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        if how == "with":
            async with batch:
                pass
        else:
            await batch.aclose()
    server.gate.set()
    assert batch.under_way == 0
    await server.until(lambda: server.held == 0)
    assert {task for task in _others() - before if "_serve" not in repr(task)} == set()


async def test_closing_while_another_task_goes_through_it(server, make_client, make_rows):
    """A batch can be closed from another task: whoever goes through it comes to its end."""
    client = await make_client()
    server.gate.clear()
    batch = client.claim_many(make_rows(1000), concurrency=5)
    run = asyncio.create_task(_all(batch))
    await server.until(lambda: server.held == 5)
    await batch.aclose()
    assert await run == []
    assert batch.under_way == 0


async def test_stopping_in_order(server, make_client, make_rows):
    """`stop` takes no more rows, and what is under way is still given out."""
    client = await make_client()
    server.gate.clear()
    batch = client.claim_many(make_rows(1000), concurrency=5)
    run = asyncio.create_task(_all(batch))
    await server.until(lambda: server.held == 5)
    batch.stop()
    server.gate.set()
    outcomes = await run
    assert sorted(one.row for one in outcomes) == [0, 1, 2, 3, 4]
    assert len(server.claims) == 5


@pytest.mark.parametrize("how", ["stop", "drain"])
async def test_a_row_in_doubt_is_found_out_after_stopping(server, make_client, make_rows, how):
    """A row whose answer is lost while the batch is stopped, or its client drained, is looked up."""
    client = await make_client()
    rows = list(make_rows(1))
    batch = client.claim_many(rows)
    drained = []
    lost = server.commit_then(RESET)

    def stopping(incoming):
        if how == "stop":
            batch.stop()
        else:
            drained.append(asyncio.create_task(client.drain(10)))
        return lost(incoming)

    server.on_claim.append(stopping)
    outcomes = [outcome async for outcome in batch]
    assert [(type(one), one.recovered) for one in outcomes] == [(Claimed, True)]
    assert [await one for one in drained] == [True] * (how == "drain")


async def test_stopping_while_the_source_has_nothing(server, make_client, make_rows):
    """`stop` does not wait for a source that gives no row."""
    client = await make_client()
    waits = asyncio.Event()

    async def source():
        for row in make_rows(3):
            yield row
        waits.set()
        await asyncio.Event().wait()

    batch = client.claim_many(source(), concurrency=5)
    run = asyncio.create_task(_all(batch))
    await waits.wait()
    batch.stop()
    assert len(await run) == 3


async def test_the_rate_is_kept(server, make_client, make_rows):
    """No more claim requests leave than the rate allows, repetitions among them."""
    client = await make_client()
    server.on_claim.extend([RESET, server.commit, RESET])
    loop = asyncio.get_running_loop()
    began = loop.time()
    outcomes = await _all(client.claim_many(make_rows(18), concurrency=10, rate=50.0))
    assert len(outcomes) == 18
    assert len(server.posts) == 20
    # 20 requests have 19 gaps of a fiftieth of a second.
    assert loop.time() - began >= 19 / 50 - 0.01


async def test_push_back_narrows_it(server, make_client, make_rows):
    """A server that answers 503 gets less at once, and then more again; all is claimed in the end."""
    client = await make_client(retry=RetryPolicy(max_attempts=50, base_delay=0.001, max_delay=0.02))
    widths = []

    server.on_claim.extend([error_answer(503)] * 30)
    batch = client.claim_many(make_rows(400), concurrency=40)
    async for outcome in batch:
        assert isinstance(outcome, Claimed)
        widths.append(batch.concurrency)
    assert min(widths) <= 28
    assert widths[-1] > min(widths)
    assert len(server.claims) == 400


@pytest.fixture
def _short_pauses(monkeypatch):
    """Let a batch that gets no answer look again soon."""
    monkeypatch.setattr("dintero_claims_client._batch_run.SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr("dintero_claims_client._batch_run.LONGEST_PAUSE", 0.02)
    monkeypatch.setattr("dintero_claims_client._search.GATHERING_SECONDS", 0.001)


@pytest.mark.usefixtures("_short_pauses")
async def test_an_outage_is_waited_out(engine, server, make_client, make_rows, monkeypatch):
    """When nothing gets through the batch pauses, says why, and claims everything when the server is back."""
    client = await make_client(engine, retry=ONCE)
    failures = 60

    def fail(incoming):
        nonlocal failures
        failures -= 1
        if failures:
            server.on_claim.append(fail)
        return RESET

    server.on_claim.append(server.commit)
    server.on_claim.append(fail)
    batch = client.claim_many(make_rows(30), concurrency=5)
    troubles, outcomes = [], []

    async def go_through():
        async for outcome in batch:
            outcomes.append(outcome)

    run = asyncio.create_task(go_through())
    while not run.done():
        troubles.append(batch.trouble)
        await asyncio.sleep(0)
    await run
    assert {type(one) for one in outcomes} == {Claimed}
    assert any(isinstance(one, OutcomeUnknownError) for one in troubles)
    assert batch.trouble is None
    assert len(server.claims) == 30


@pytest.mark.usefixtures("_short_pauses")
async def test_patience_comes_to_its_end(make_client, make_rows):
    """A server that is not there for too long ends the batch with NotSentError, and not row after row."""
    import socket

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        client = await make_client(base_url=f"http://127.0.0.1:{port}/v1", retry=ONCE, timeout=0.2)
        rows = iter(make_rows(1000))
        outcomes, error = await _until_error(client.claim_many(rows, concurrency=5, patience=0.1))
    assert isinstance(error, NotSentError)
    assert "nothing got through" in str(error)
    assert [type(one) for one in outcomes] == [Rejected] * len(outcomes)
    assert 1 <= len(outcomes) <= 6
    assert len(list(rows)) == 1000 - len(outcomes)


@pytest.mark.usefixtures("_short_pauses")
async def test_a_source_that_waits_for_an_outcome(server, make_client, make_rows):
    """A row that failed goes on although all workers wait for a source that waits for its outcome."""
    client = await make_client(retry=ONCE)
    told = asyncio.Event()
    server.on_claim.extend([RESET] * 5)

    async def source():
        rows = list(make_rows(2))
        yield rows[0]
        await told.wait()
        yield rows[1]

    outcomes = []
    async for outcome in client.claim_many(source(), concurrency=4):
        outcomes.append(outcome)
        told.set()
    assert [type(one) for one in outcomes] == [Claimed, Claimed]


@pytest.mark.usefixtures("_short_pauses")
async def test_only_what_is_claimed_is_under_way(server, make_client, make_rows):
    """Workers that wait for the source are not under way."""
    client = await make_client()
    asked = asyncio.Event()

    async def source():
        for row in make_rows(3):
            yield row
        asked.set()
        await asyncio.Event().wait()

    batch = client.claim_many(source(), concurrency=10)
    for _ in range(3):
        await anext(batch)
    last = asyncio.create_task(anext(batch))
    await asked.wait()
    assert batch.under_way == 0
    batch.stop()
    await asyncio.gather(last, return_exceptions=True)


async def test_the_rate_is_kept_after_waiting_for_a_token(server, make_client, make_rows):
    """Rows that all had to wait for a token are not let go at once when it is there."""
    client = await make_client()
    loop, sent = asyncio.get_running_loop(), []

    def remember(incoming):
        server.on_claim.append(remember)
        sent.append(loop.time())
        return server.commit(incoming)

    server.on_claim.append(remember)
    token, asked = client._open().tokens, asyncio.Barrier(12)
    get = token.get

    async def slow(*, deadline):
        await asked.wait()
        return await get(deadline=deadline)

    token.get = slow
    await _all(client.claim_many(make_rows(12), concurrency=12, rate=20.0))
    assert sent[-1] - sent[0] >= 11 / 20 - 0.02


async def test_asking_for_what_exists_under_no_ref(server, make_client, make_request):
    """No call before can have used a ref that is made for a row: its refusal is what it says."""
    client = await make_client()
    server.on_claim.append(error_answer(422))
    (outcome,) = await _all(client.claim_many([make_request(None)], if_exists="return"))
    assert isinstance(outcome, Rejected)
    assert server.reads == []
    server.on_claim.append(error_answer(422))
    (outcome,) = await _all(client.claim_many([make_request("order-1")], if_exists="return"))
    assert isinstance(outcome, Rejected)
    assert len(server.reads) == 1


@pytest.mark.usefixtures("_short_pauses")
async def test_patience_is_not_spent_while_nobody_asks(server, make_client, make_rows):
    """A source that was idle for long does not make the first failure the last."""
    client = await make_client(retry=ONCE)
    calls, idle = client._open().calls, 0.0
    clock = calls.clock
    calls.clock = lambda: clock() + idle

    async def source():
        nonlocal idle
        rows = list(make_rows(2))
        yield rows[0]
        idle = 1000.0
        server.on_claim.extend([RESET] * 3)
        yield rows[1]

    outcomes = await _all(client.claim_many(source(), concurrency=1, patience=100.0))
    assert [type(one) for one in outcomes] == [Claimed, Claimed]


@pytest.mark.usefixtures("_short_pauses")
async def test_a_list_without_end_does_not_hold_up_stopping(server, make_client, make_rows, monkeypatch):
    """A look through a list that never ends is given up soon after the batch is stopped."""
    client = await make_client(timeout=0.2)
    server.on_claim.append(server.commit_then(RESET))
    pages = 0

    def endless(incoming):
        nonlocal pages
        pages += 1
        return json_answer([{"id": f"id-{pages}", "ref": f"other-{pages}"}])

    monkeypatch.setattr(server, "_page", endless)
    batch = client.claim_many(make_rows(1))
    run = asyncio.create_task(_all(batch))
    await server.until(lambda: pages > 200)
    batch.stop()
    (outcome,) = await run
    assert (type(outcome), outcome.error.taken) == (Unknown, True)


@pytest.mark.usefixtures("_short_pauses")
async def test_a_limit_that_the_lost_claim_has_reached(server, make_client, make_rows, monkeypatch):
    """A refusal of a row in doubt is believed only after looking as long as a list may lag behind."""
    client = await make_client(timeout=0.3, retry=RetryPolicy(base_delay=0.001, max_delay=0.01))
    server.on_claim.extend([server.commit_then(HANG), *[error_answer(400, "the limit is reached")] * 20])
    lag, page = 6, server._page

    def lagging(incoming):
        nonlocal lag
        lag -= 1
        return json_answer([]) if lag > 0 else page(incoming)

    monkeypatch.setattr(server, "_page", lagging)
    (outcome,) = await _all(client.claim_many(make_rows(1)))
    assert (type(outcome), outcome.recovered) == (Claimed, True)


async def test_a_row_that_fails_when_it_is_looked_at(server, make_client, make_rows, make_request):
    """A row whose parts raise when they are checked is rejected, and the rest is claimed."""

    class Broken(datetime.tzinfo):
        def utcoffset(self, _at):
            raise RuntimeError("no zone")

    client = await make_client()
    broken = make_request("broken", purchase_at=datetime.datetime(2026, 11, 23, tzinfo=Broken()))
    outcomes = {one.row: one for one in await _all(client.claim_many([broken, *make_rows(2)]))}
    assert isinstance(outcomes[0].error, InvalidClaimError)
    assert len(server.claims) == 2


@pytest.mark.usefixtures("_short_pauses")
async def test_what_may_have_been_taken_is_not_called_rejected(server, make_client, make_rows):
    """A row whose first call is in doubt is unknown, though all that comes after is known not to be sent."""
    client = await make_client(retry=ONCE, timeout=0.3)
    server.on_claim.append(server.commit_then(HANG))
    server.on_token.extend([server.give_token, *[error_answer(401)] * 100])
    batch = client.claim_many(make_rows(1), patience=0.2)

    def revoke(incoming):
        server.good_tokens.clear()
        return error_answer(401)

    server.on_claim.extend([revoke] * 20)
    server.on_read.extend([error_answer(401)] * 20)
    outcomes, error = await _until_error(batch)
    assert error is not None
    assert [type(one) for one in outcomes] == [Unknown]
    assert len(server.claims) == 1


@pytest.mark.usefixtures("_short_pauses")
async def test_refused_credentials_end_it(server, make_client, make_rows):
    """Credentials that are refused again and again end the batch with that, and not row after row."""
    client = await make_client(retry=ONCE)
    server.on_token.extend([error_answer(401)] * 100)
    rows = iter(make_rows(1000))
    outcomes, error = await _until_error(client.claim_many(rows, concurrency=5))
    assert isinstance(error, AuthenticationError)
    assert {type(one.error) for one in outcomes} == {AuthenticationError}
    assert len(list(rows)) == 1000 - len(outcomes) >= 990
    assert server.posts == []


@pytest.mark.usefixtures("_short_pauses")
async def test_credentials_that_are_refused_once_do_not(server, make_client, make_rows):
    """One refusal of a token is no reason to give a row up."""
    client = await make_client(retry=ONCE)
    server.on_claim.extend([error_answer(401)] * 2)
    outcomes = await _all(client.claim_many(make_rows(20), concurrency=3))
    assert {type(one) for one in outcomes} == {Claimed}


async def test_without_a_ref_it_is_unknown(server, make_client, make_rows):
    """A claim without a ref whose answer is lost is unknown, and is not sent again."""
    client = await make_client(generate_refs=False)
    server.on_claim.append(server.commit_then(RESET))
    outcomes = await _all(client.claim_many(make_rows(3, refs=False), concurrency=1))
    assert [type(one) for one in outcomes] == [Unknown, Claimed, Claimed]
    assert (outcomes[0].ref, len(server.posts)) == (None, 3)


async def test_a_lost_answer_is_recovered(engine, server, make_client, make_rows):
    """A claim whose answer is lost is read back, and says so."""
    client = await make_client(engine)
    server.on_claim.append(server.commit_then(RESET))
    outcomes = await _all(client.claim_many(make_rows(3), concurrency=1))
    assert [(one.row, one.recovered) for one in outcomes] == [(0, True), (1, False), (2, False)]
    assert len(server.claims) == 3


@pytest.mark.usefixtures("_short_pauses")
async def test_a_row_that_stays_unknown_holds_up_no_other(server, make_client, make_rows):
    """A row that is never answered is given up as unknown after three calls, and the others are claimed."""
    client = await make_client(retry=ONCE)

    def poisoned(incoming):
        server.on_claim.append(poisoned)
        return RESET if incoming.json["ref"] == "order-1" else server.commit(incoming)

    server.on_claim.extend([poisoned] * 8)
    outcomes = {one.row: one for one in await _all(client.claim_many(make_rows(400), concurrency=4))}
    assert isinstance(outcomes.pop(1), Unknown)
    assert {type(one) for one in outcomes.values()} == {Claimed}
    sent = [one for one in server.posts if one.json["ref"] == "order-1"]
    assert len(sent) == 3


async def test_a_claim_far_down_the_list_is_found(server, make_client, make_rows, monkeypatch):
    """A lost claim that lies deeper than one call looks is found by one walk through the whole list."""
    client = await make_client(timeout=60)
    for _ in range(25):
        server.claims.extend(
            {"id": f"id-{len(server.claims) + n}", "ref": f"old-{len(server.claims) + n}"} for n in range(100)
        )
    server.claims.reverse()
    page = server._page

    def oldest_first(incoming):
        server.claims.reverse()
        answer = page(incoming)
        server.claims.reverse()
        return answer

    monkeypatch.setattr(server, "_page", oldest_first)
    server.on_claim.extend([server.commit_then(RESET)] * 5)
    outcomes = await _all(client.claim_many(make_rows(5), concurrency=5))
    assert [(type(one), one.recovered, one.claim.ref == one.ref) for one in outcomes] == [
        (Claimed, True, True)
    ] * 5
    # Each call by itself would have read twenty.
    assert len(server.reads) < 60


@pytest.mark.usefixtures("_short_pauses")
@pytest.mark.parametrize("minted", [True, False])
async def test_taken_and_nowhere_to_be_read(server, make_client, make_rows, monkeypatch, minted):
    """A claim that the server says to have, and shows nowhere, is unknown, whoever made its ref."""
    monkeypatch.setattr("dintero_claims_client._search.GATHERING_SECONDS", 0.001)
    client = await make_client(timeout=0.3)
    server.on_claim.append(server.commit_then(RESET))
    monkeypatch.setattr(server, "_page", lambda incoming: error_answer(403))
    outcomes = {
        one.row: one for one in await _all(client.claim_many(make_rows(200, refs=not minted), concurrency=2))
    }
    first = outcomes.pop(0)
    assert (type(first), first.error.taken) == (Unknown, True)
    assert {type(one) for one in outcomes.values()} == {Claimed}


async def test_a_conflict_that_was_none(server, make_client, make_rows):
    """A conflict on a ref that nobody has used is not taken for the claim, which is sent again."""
    client = await make_client()
    server.on_claim.append(error_answer(409, "conflict", "CONFLICT"))
    (outcome,) = await _all(client.claim_many(make_rows(1, refs=False)))
    assert (type(outcome), outcome.claim.id) == (Claimed, server.claims[0]["id"])


@pytest.mark.usefixtures("_short_pauses")
@pytest.mark.parametrize("minted", [True, False])
@pytest.mark.parametrize("flaw", [{"id": ""}, {"id": 7}], ids=str)
async def test_taken_and_not_to_be_read(server, make_client, make_rows, minted, flaw):
    """A lost claim that the list shows in a form that nobody can read is taken, without a claim to show."""
    client = await make_client(timeout=0.3)

    def lose(incoming):
        server.commit(incoming)
        server.claims[-1] |= flaw
        return RESET

    server.on_claim.append(lose)
    (outcome,) = await _all(client.claim_many(make_rows(1, refs=not minted)))
    assert (type(outcome), outcome.claim, outcome.recovered) == (Claimed, None, True)
    assert outcome.ref == server.claims[0]["ref"]


async def test_a_deleted_claim_is_unknown(server, make_client, make_rows):
    """A claim that was taken, and deleted since, is neither claimed again nor called taken."""
    client = await make_client()

    def deleted(incoming):
        server.commit(incoming)
        server.claims[-1]["deleted_at"] = "2026-11-23T12:00:01Z"
        return RESET

    server.on_claim.append(deleted)
    (outcome,) = await _all(client.claim_many(make_rows(1)))
    assert (type(outcome), outcome.error.taken) == (Unknown, False)
    assert len(server.claims) == 1


@pytest.mark.parametrize("if_exists", ["raise", "return"])
async def test_a_ref_that_exists(server, make_client, make_rows, if_exists):
    """What was claimed before the batch is a conflict, or with `if_exists="return"` the claim that exists."""
    client = await make_client()
    await _all(client.claim_many(make_rows(3)))
    outcomes = await _all(client.claim_many(make_rows(3), if_exists=if_exists))
    if if_exists == "raise":
        assert {type(one.error) for one in outcomes} == {RefConflictError}
    else:
        assert {one.claim.id for one in outcomes} == {claim["id"] for claim in server.claims}
    assert len(server.claims) == 3


async def test_closing_the_client_ends_it(server, make_client, make_rows):
    """A client that is closed under a batch ends it with ClientStateError, after what it knows."""
    client = await make_client()
    server.gate.clear()
    run = asyncio.create_task(_until_error(client.claim_many(make_rows(1000), concurrency=5)))
    await server.until(lambda: server.held == 5)
    await client.aclose()
    outcomes, error = await run
    assert isinstance(error, ClientStateError)
    assert sorted(one.row for one in outcomes) == [0, 1, 2, 3, 4]
    assert not any(isinstance(one, Claimed) for one in outcomes)


async def test_a_batch_on_a_closed_client(make_client):
    """A closed client begins no batch."""
    client = await make_client()
    await client.aclose()
    with pytest.raises(ClientStateError):
        client.claim_many([])


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("concurrency", 0),
        ("concurrency", True),
        ("concurrency", 1.5),
        ("rate", 0.0),
        ("rate", float("nan")),
        ("rate", float("inf")),
        ("rate", True),
        ("timeout", 0.0),
        ("patience", -1.0),
        ("if_exists", "ignore"),
        ("journal", "claims.journal"),
    ],
)
async def test_a_setting_that_cannot_be(make_client, setting, value):
    """A setting that breaks a rule is named before anything is taken from the source."""
    client = await make_client()
    with pytest.raises(ConfigurationError, match=setting):
        client.claim_many([], **{setting: value})


async def test_what_is_recovered_is_counted(server, make_client, make_rows):
    """The client's figures count what a batch recovered."""
    client = await make_client()
    server.on_claim.append(server.commit_then(RESET))
    await _all(client.claim_many(make_rows(2), concurrency=1))
    assert client.stats().recovered == 1
