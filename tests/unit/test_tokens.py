"""The token source on a clock of its own: caching, refreshing, sharing."""

import asyncio
import base64

import pytest

from dintero_claims_client._engines.base import RequestNotSent
from dintero_claims_client._observing import Observer
from dintero_claims_client._secrets import MaskedStr, Secret
from dintero_claims_client._tokens import Grant, Token, TokenEndpoint, TokenFailure, TokenSource

FAR = 1e9


class World:
    """A clock that a test moves, and fetches that bring what a test says."""

    def __init__(self, *results):
        self.now = 1000.0
        self.results = list(results)
        self.gate = asyncio.Event()
        self.gate.set()
        self.count = 0
        self.source = TokenSource(self.fetch, clock=lambda: self.now)

    async def fetch(self):
        self.count += 1
        await self.gate.wait()
        if self.results:
            return self.results.pop(0)
        return Grant(MaskedStr(f"token-{self.count}"), 3600.0)

    async def get(self):
        loop = asyncio.get_running_loop()
        return await self.source.get_now(deadline=loop.time() + 5)

    async def settle(self):
        for _ in range(5):
            await asyncio.sleep(0)


async def test_a_token_is_cached():
    """A token is fetched once and used until it is about to expire."""
    world = World()
    first = await world.get()
    world.now += 3600 - 60 - 0.001
    assert first == await world.get()
    assert world.count == 1


@pytest.mark.parametrize(
    ("lifetime", "fresh_until"),
    [
        (3600.0, 3540.0),
        (120.0, 60.0),
        (100.0, 50.0),
        (10.0, 5.0),
        (2.0, 1.0),
        (1.0, 1.0),
        (0.1, 1.0),
        (1e308, 1e9),
    ],
)
async def test_refresh_60_seconds_early_at_most_at_half_the_life(lifetime, fresh_until):
    """A token is refreshed 60 seconds before it expires, at half its life, or after a second at least."""
    world = World(Grant(MaskedStr("short"), lifetime))
    await world.get()
    world.now = 1000 + fresh_until - 0.01
    await world.get()
    await world.settle()
    assert world.count == 1
    world.now = 1000 + fresh_until
    await world.get()
    await world.settle()
    assert (1 if lifetime == 1e308 else 2) == world.count


async def test_nobody_waits_for_a_refresh():
    """A token that is about to expire is handed out while its successor is fetched, once."""
    world = World()
    first = await world.get()
    world.gate.clear()
    world.now += 3560
    assert [first] * 3 == [await world.get() for _ in range(3)]
    await world.settle()
    assert world.count == 2
    world.gate.set()
    await world.settle()
    second = await world.get()
    assert second.value == "token-2"


async def test_an_expired_token_is_not_handed_out():
    """A token that has expired is waited for."""
    world = World()
    await world.get()
    world.now += 3600
    assert (await world.get()).value == "token-2"


async def test_a_failed_refresh_leaves_the_token_in_use():
    """While a refresh fails, the old token serves until it expires, and the fetches keep their distance."""
    world = World(Grant(MaskedStr("old"), 3600.0), *[TokenFailure("down")] * 10)
    await world.get()
    for second in range(60):
        world.now = 1000 + 3540 + second
        assert (await world.get()).value == "old"
        await world.settle()
    assert world.count == 1 + 5  # after 0, 1, 5, 31 and 57 seconds


async def test_a_failure_is_remembered_for_a_while():
    """Who comes during the pause after a failed fetch is told the same, and when the next fetch may be."""
    world = World(TokenFailure("down"), TokenFailure("still down"))
    failure = await world.get()
    assert (failure.reason, failure.retry_after) == ("down", 1.0)
    world.now += 0.75
    failure = await world.get()
    assert (failure.reason, failure.retry_after, world.count) == ("down", 0.25, 1)
    world.now += 0.25
    failure = await world.get()
    assert (failure.reason, failure.retry_after, world.count) == ("still down", 4.0, 2)
    world.now += 4
    assert isinstance(await world.get(), Token)
    assert world.count == 3


async def test_a_success_forgets_failures():
    """After a success the next failure pauses as briefly as the first."""
    world = World(TokenFailure("a"), Grant(MaskedStr("x"), 10.0), TokenFailure("b"))
    await world.get()
    world.now += 1
    await world.get()
    world.now += 100
    assert (await world.get()).retry_after == 1.0


@pytest.mark.parametrize(("retry_after", "expected"), [(0.5, 1.0), (30.0, 30.0), (None, 1.0)])
async def test_a_retry_after_of_the_token_endpoint_is_obeyed(retry_after, expected):
    """The pause is the longer of the own and the server's."""
    world = World(TokenFailure("throttled", retry_after=retry_after))
    assert (await world.get()).retry_after == expected
    world.now += expected - 0.25
    assert isinstance(await world.get(), TokenFailure)
    world.now += 0.25
    assert isinstance(await world.get(), Token)


async def test_a_refusal_is_asked_again_after_a_second():
    """A refusal is remembered for a second, so that a flood of calls is not a flood of refused logins."""
    world = World(TokenFailure("refused", final=True))
    assert (await world.get()).final
    assert (await world.get()).final
    assert world.count == 1
    world.now += 1
    assert isinstance(await world.get(), Token)


async def test_many_waiters_one_fetch():
    """However many wait, there is one fetch, and all get its token."""
    world = World()
    world.gate.clear()
    waiters = [asyncio.ensure_future(world.get()) for _ in range(1000)]
    await world.settle()
    world.gate.set()
    assert {"token-1"} == {token.value for token in await asyncio.gather(*waiters)}
    assert world.count == 1


async def test_waiters_share_a_failure():
    """All that wait for a fetch that fails are told so, by one fetch."""
    world = World(TokenFailure("down"))
    world.gate.clear()
    waiters = [asyncio.ensure_future(world.get()) for _ in range(100)]
    await world.settle()
    world.gate.set()
    assert {"down"} == {failure.reason for failure in await asyncio.gather(*waiters)}
    assert world.count == 1


@pytest.mark.parametrize(
    "cancelled", [slice(0, 1), slice(0, None, 2), slice(0, 9)], ids=["starter", "half", "all but one"]
)
async def test_a_cancelled_waiter_does_not_cancel_the_fetch(cancelled):
    """Cancelling callers, the one that began the fetch among them, leaves the others their token."""
    world = World()
    world.gate.clear()
    waiters = [asyncio.ensure_future(world.get()) for _ in range(10)]
    await world.settle()
    for waiter in waiters[cancelled]:
        waiter.cancel()
    await world.settle()
    world.gate.set()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[cancelled])
    assert results[9].value == "token-1"
    assert world.count == 1


async def test_a_fetch_outlives_all_its_waiters():
    """A fetch that nobody waits for any more still serves the next caller."""
    world = World()
    world.gate.clear()
    waiter = asyncio.ensure_future(world.get())
    await world.settle()
    waiter.cancel()
    await world.settle()
    world.gate.set()
    assert (await world.get()).value == "token-1"
    assert world.count == 1


async def test_discard_forgets_only_the_refused_token():
    """A late refusal of an old token does not discard the newer one."""
    world = World()
    old = await world.get()
    world.source.discard(old)
    new = await world.get()
    world.source.discard(old)
    assert new == await world.get()
    assert world.count == 2


async def test_a_refused_token_is_replaced_at_once():
    """A token that was refused within its first second is replaced without a pause."""
    world = World()
    world.source.discard(await world.get())
    assert (await world.get()).value == "token-2"


async def test_a_refused_token_is_replaced_although_a_refresh_failed():
    """A token that was refused is replaced at once, also in the pause after a failed refresh."""
    world = World(Grant(MaskedStr("old"), 3600.0), TokenFailure("down"))
    old = await world.get()
    world.now += 3560
    await world.get()
    await world.settle()
    world.source.discard(old)
    assert (await world.get()).value == "token-3"


async def test_a_token_lives_from_when_it_was_asked_for():
    """The time that the fetch takes counts as part of the token's life."""
    world = World()
    fetch = world.fetch

    async def slow():
        world.now += 100
        return await fetch()

    world.source = TokenSource(slow, clock=lambda: world.now)
    assert (await world.get()).expires_at == 1000 + 3600


async def test_a_token_request_shows_no_secret():
    """Nothing that a debugger or a log shows of a token request holds the secret."""
    seen = []

    class Engine:
        async def send(self, request, *, deadline):
            seen.append(request)
            raise RequestNotSent("no")

    secret = Secret("very-secret")
    endpoint = TokenEndpoint(
        engine=Engine(),
        url="https://x/token",
        audience="https://x",
        client_id="client-1",
        client_secret=secret,
        headers={},
        attempt_timeout=1.0,
        observer=Observer(None, None, clock=lambda: 0.0),
        clock=lambda: 0.0,
    )
    await endpoint.fetch()
    basic = base64.b64encode(b"client-1:very-secret").decode()
    assert seen[0].headers["Authorization"] == f"Basic {basic}"
    assert basic not in repr(seen)
    assert "very-secret" not in repr(await secret.reveal())
    assert "very-secret" not in repr(await Secret(lambda: "very-secret").reveal())


async def test_a_deadline_while_waiting():
    """A caller whose time runs out is told so, and the fetch goes on."""
    world = World()
    world.gate.clear()
    failure = await world.source.get_now(deadline=asyncio.get_running_loop().time())
    assert "in time" in failure.reason
    world.gate.set()
    assert (await world.get()).value == "token-1"
    assert world.count == 1


async def test_closing_ends_the_fetch():
    """Closing stops the fetch; those that wait, and those that come later, are told why."""
    world = World()
    world.gate.clear()
    waiter = asyncio.ensure_future(world.get())
    await world.settle()
    await world.source.aclose()
    failure = await waiter
    assert failure.final
    assert "cancelled" in failure.reason
    assert "closed" in (await world.get()).reason
    assert world.count == 1


async def test_a_closed_source_refreshes_nothing():
    """After closing, a token that is about to expire is not refreshed."""
    world = World()
    await world.get()
    await world.source.aclose()
    world.now += 3560
    await world.get()
    await world.settle()
    assert world.count == 1


async def test_a_cancelled_fetch_does_not_cancel_those_that_wait():
    """A fetch that something else cancels is a failure that passes, also before it has begun."""
    world = World()
    for steps in (0, 5):
        world.gate.clear()
        waiter = asyncio.ensure_future(world.get())
        await asyncio.sleep(0)
        for _ in range(steps):
            await asyncio.sleep(0)
        (fetch,) = (task for task in asyncio.all_tasks() if task.get_name() == "dintero-claims-token")
        fetch.cancel()
        failure = await waiter
        assert not failure.final
        world.gate.set()
        assert (await world.get()).value.startswith("token-")
        world.source.discard(await world.get())


async def test_a_cancelled_caller_stays_cancelled():
    """A caller that is cancelled together with the fetch is cancelled."""
    world = World()
    world.gate.clear()
    waiter = asyncio.ensure_future(world.get())
    await world.settle()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter


async def test_a_caller_that_is_cancelled_while_the_source_closes():
    """A caller's own cancellation is not swallowed by the closing of the source."""
    world = World()
    world.gate.clear()
    waiter = asyncio.ensure_future(world.get())
    await world.settle()
    closing = asyncio.ensure_future(world.source.aclose())
    await asyncio.sleep(0)
    waiter.cancel()
    await closing
    with pytest.raises(asyncio.CancelledError):
        await waiter


async def test_a_fetch_that_ends_at_once():
    """A fetch that ends before its task is known to the source is not waited for ever after."""
    world = World(TokenFailure("refused", final=True))
    loop = asyncio.get_running_loop()

    class Eager(asyncio.Task):
        """Runs its first step when it is made, as eager tasks do."""

        def __init__(self, coroutine, **settings):
            async def ended(result):
                return result

            try:
                coroutine.send(None)
            except StopIteration as end:
                coroutine = ended(end.value)
            super().__init__(coroutine, **settings)

    loop.set_task_factory(lambda loop, coroutine, **settings: Eager(coroutine, loop=loop, **settings))
    try:
        assert (await world.source.get(deadline=FAR)).final
        world.now += 1
        assert isinstance(await world.source.get(deadline=FAR), Token)
    finally:
        loop.set_task_factory(None)


@pytest.mark.parametrize(("final", "pause"), [(True, 1.0), (False, 60.0)])
async def test_a_retry_after_without_end(final, pause):
    """The call that asked is told what the server wishes; later ones do not wait for it for ever."""
    world = World(TokenFailure("no", final=final, retry_after=1e15))
    assert (await world.get()).retry_after == 1e15
    world.now += pause
    assert isinstance(await world.get(), Token)


async def test_a_token_shows_nothing():
    """A token's repr does not hold it."""
    token = await World(Grant(MaskedStr("very-secret"), 5.0)).get()
    assert "very-secret" not in repr(token)


class Quick(World):
    """On the event loop's own clock."""

    def __init__(self, *results):
        super().__init__(*results)
        loop = asyncio.get_running_loop()
        self.source = TokenSource(self.fetch, clock=loop.time)


async def test_all_wait_for_the_next_fetch(monkeypatch):
    """After a fetch that failed everybody waits for the next one, and gets its token."""
    monkeypatch.setattr("dintero_claims_client._tokens._FAILURE_DELAYS", (0.01, 0.01, 0.01))
    world = Quick(TokenFailure("down"), TokenFailure("down"))
    deadline = asyncio.get_running_loop().time() + 60
    waiters = [asyncio.create_task(world.source.get(deadline=deadline)) for _ in range(100)]
    await asyncio.sleep(0)
    waiters[0].cancel()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert {one.value for one in results[1:]} == {"token-3"}
    assert world.count == 3


async def test_a_next_fetch_beyond_the_deadline_is_not_waited_for():
    """Who cannot wait for the next fetch is told the failure at once, and when the next one may be."""
    world = Quick(TokenFailure("down"))
    loop = asyncio.get_running_loop()
    failure = await world.source.get(deadline=loop.time() + 0.5)
    assert (failure.reason, failure.retry_after) == ("down", 1.0)
    assert world.count == 1


async def test_closing_ends_the_wait_for_the_next_fetch():
    """Closing wakes those that wait for the next fetch."""
    world = Quick(TokenFailure("down"))
    waiter = asyncio.create_task(world.source.get(deadline=asyncio.get_running_loop().time() + 60))
    await world.settle()
    await world.source.aclose()
    async with asyncio.timeout(0.5):
        assert (await waiter).final


async def test_a_cancelled_waiter_does_not_end_the_pause():
    """Cancelling one of those that wait for the next fetch leaves the others waiting for it."""
    world = Quick(TokenFailure("down"))
    deadline = asyncio.get_running_loop().time() + 60
    waiters = [asyncio.create_task(world.source.get(deadline=deadline)) for _ in range(3)]
    await world.settle()
    waiters[0].cancel()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert {one.value for one in results[1:]} == {"token-2"}


async def test_closing_ends_the_wait_of_all():
    """Closing wakes all of those that wait for the next fetch, however many."""
    world = Quick(TokenFailure("down", retry_after=50.0))
    deadline = asyncio.get_running_loop().time() + 60
    waiters = [asyncio.create_task(world.source.get(deadline=deadline)) for _ in range(3)]
    await world.settle()
    await world.source.aclose()
    async with asyncio.timeout(20):
        assert all(failure.final for failure in await asyncio.gather(*waiters))


async def test_each_pause_is_waited_out(monkeypatch):
    """The second pause is waited out as the first is, and not looked at all the time until it is over."""
    monkeypatch.setattr("dintero_claims_client._tokens._FAILURE_DELAYS", (0.05, 0.05))
    world = Quick(TokenFailure("down"), TokenFailure("down"))
    loop = asyncio.get_running_loop()
    readings = 0

    def clock():
        nonlocal readings
        readings += 1
        return loop.time()

    world.source = TokenSource(world.fetch, clock=clock)
    assert isinstance(await world.source.get(deadline=loop.time() + 60), Token)
    assert world.count == 3
    assert readings < 50


async def test_a_deadline_during_a_fetch():
    """Who runs out of time during a fetch is told so at once, and does not go on waiting for it."""
    world = Quick()
    world.gate.clear()
    async with asyncio.timeout(20):
        failure = await world.source.get(deadline=asyncio.get_running_loop().time())
    assert "in time" in failure.reason
    world.gate.set()
    await world.settle()
