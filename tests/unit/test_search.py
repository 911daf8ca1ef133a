"""Claims of many rows are looked for in one walk through the list."""

import asyncio

from dintero_claims_client._operations import ClaimToSend, FoundClaim
from dintero_claims_client._reconcile import Absence
from dintero_claims_client._search import ListSearch
from dintero_claims_client.errors import NotSentError


def _claim(ref):
    return ClaimToSend(b'{"customer_id": "c", "discounts": []}', "c", ref, minted=True)


def _found(ref):
    return FoundClaim({"id": f"id-{ref}", "ref": ref, "customer_id": "c"})


class Server:
    """A list of pages, each of which is given when the test lets it."""

    def __init__(self, *pages):
        self.pages = [*pages, []]
        self.gates = [asyncio.Event() for _ in self.pages]
        self.asked = 0

    async def read(self, _size, _after):
        number = self.asked
        self.asked += 1
        await self.gates[number].wait()
        return self.pages[number]


async def _no_sleep(_seconds):
    await asyncio.sleep(0)


def _in(seconds):
    return asyncio.get_running_loop().time() + seconds


async def test_what_is_found_is_told_before_the_walk_ends():
    """A claim on the first page is given to who looks for it while the walk goes on for the others."""
    server = Server([_found("a")], [_found("b")])
    search = ListSearch(server.read, sleep=_no_sleep)
    first = asyncio.create_task(search.find_until(_claim("a"), _in(60)))
    second = asyncio.create_task(search.find_until(_claim("b"), _in(60)))
    server.gates[0].set()
    assert (await first).raw["ref"] == "a"
    assert not second.done()
    server.gates[1].set()
    assert (await second).raw["ref"] == "b"
    assert server.asked == 2


async def test_two_that_look_for_the_same_are_both_told():
    """Whoever looks for a claim is told, also where another looks for the same."""
    server = Server([_found("a")])
    search = ListSearch(server.read, sleep=_no_sleep)
    both = [asyncio.create_task(search.find_until(_claim("a"), _in(60))) for _ in range(2)]
    server.gates[0].set()
    assert [found.raw["ref"] for found in await asyncio.gather(*both)] == ["a", "a"]


async def test_what_is_not_there_is_absent_from_the_whole_list():
    """A claim that no page has is absent, when the list has ended."""
    server = Server([_found("a")])
    search = ListSearch(server.read, sleep=_no_sleep)
    for gate in server.gates:
        gate.set()
    assert await search.find_until(_claim("z"), _in(60)) is Absence.WHOLE_LIST


async def test_an_error_ends_the_walk_for_who_is_not_found_yet():
    """A page that cannot be read is the answer for those that were not found before it."""
    error = NotSentError("no")
    server = Server([_found("a")], error)
    search = ListSearch(server.read, sleep=_no_sleep)
    for gate in server.gates:
        gate.set()
    found = await asyncio.gather(
        search.find_until(_claim("a"), _in(60)), search.find_until(_claim("z"), _in(60))
    )
    assert found[0].raw["ref"] == "a"
    assert found[1] is error


async def test_stopping_before_the_search_begins():
    """Who begins to look in the moment in which the search is stopped is told so, and does not wait."""
    search = ListSearch(Server().read, sleep=_no_sleep)
    looking = asyncio.create_task(search.find_until(_claim("a"), _in(1000)))
    await asyncio.sleep(0)
    search._stop()
    assert isinstance(await asyncio.wait_for(looking, 10), NotSentError)
    await search.aclose()


async def test_a_search_goes_on_until_the_time_that_it_is_given():
    """A search that is stopped goes on until then; who waits after that, or comes, is told so."""
    server = Server([_found("a")], [_found("b")])
    search = ListSearch(server.read, sleep=_no_sleep)
    both = [asyncio.create_task(search.find_until(_claim(ref), _in(1000))) for ref in "ab"]
    await asyncio.sleep(0)
    search.stop(_in(0.01))
    server.gates[0].set()
    assert (await both[0]).raw["ref"] == "a"
    assert isinstance(await asyncio.wait_for(both[1], 10), NotSentError)
    assert isinstance(await search.find_until(_claim("a"), _in(1000)), NotSentError)
    await search.aclose()
