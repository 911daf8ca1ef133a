"""Looking a claim up: a walk with bounds, through whatever pages a server gives."""

import pytest

from dintero_claims_client import NoAnswerError
from dintero_claims_client._operations import FoundClaim
from dintero_claims_client._pages import _Seen, walk
from dintero_claims_client._reconcile import MAX_PAGES, Absence, find_by_ref


class Pages:
    """Gives the pages that a test lists, the last one for ever."""

    def __init__(self, *pages):
        self.pages = pages
        self.asked = []

    async def __call__(self, limit, starting_after):
        self.asked.append((limit, starting_after))
        page = self.pages[min(len(self.asked), len(self.pages)) - 1]
        if isinstance(page, Exception):
            return page
        return [FoundClaim(raw) for raw in page]


def _raw(n, **fields):
    return {"id": f"id-{n}", "ref": f"ref-{n}"} | fields


async def _ids(pages):
    return [
        [found.raw.get("id") for found in page] if isinstance(page, list) else page
        async for page in walk(pages, page_size=2)
    ]


async def test_the_cursor_is_the_last_id():
    """Each page begins after the last claim of the one before; a page of no claim is the end."""
    pages = Pages([_raw(1), _raw(2)], [_raw(3)], [])
    assert await _ids(pages) == [["id-1", "id-2"], ["id-3"], []]
    assert pages.asked == [(2, None), (2, "id-2"), (2, "id-3")]


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ([[_raw(1), _raw(2)]], [["id-1", "id-2"], []]),
        ([[_raw(1)], [_raw(2)], [_raw(1)]], [["id-1"], ["id-2"], []]),
        ([[_raw(1), _raw(2)], [_raw(2), _raw(3)], []], [["id-1", "id-2"], ["id-3"], []]),
        ([[{"ref": "x"}]], [[None]]),
        ([[_raw(1), {"ref": "x"}], []], [["id-1", None], []]),
    ],
    ids=["the same for ever", "a loop", "an overlap", "no ids", "some without an id"],
)
async def test_pages_that_bring_nothing_new_end_the_walk(pages, expected):
    """A server that repeats itself cannot keep the walk going, and no claim is given twice."""
    assert expected == await _ids(Pages(*pages))


@pytest.mark.parametrize("most", [10, 100, 101, 1000, 1600, 5000])
async def test_a_long_list_that_begins_again(most, monkeypatch):
    """A list of any length that a server gives again and again ends, however few ids are remembered."""
    monkeypatch.setattr("dintero_claims_client._pages._REMEMBERED", 10)
    pages = 0

    async def circle(limit, starting_after):
        nonlocal pages
        pages += 1
        first = 0 if starting_after is None else int(starting_after.removeprefix("id-")) + 1
        return [FoundClaim(_raw((first + n) % most)) for n in range(7)]

    given = [found.raw["id"] async for page in walk(circle, page_size=7) for found in page]
    assert {f"id-{n}" for n in range(most)} == set(given)
    assert pages <= 4 * most


def test_of_a_long_list_little_is_remembered():
    """However many claims a list has, the ids of the last ones are held, and one more."""
    seen = _Seen(10)
    assert all(seen.add(str(n)) for n in range(10_000))
    assert len(seen._last) == len(seen._order) == 10
    assert [n for n in range(10_000) if not _knows(seen, str(n))] == list(range(8192 - 1)) + list(
        range(8192, 9990)
    )


def _knows(seen, claim_id):
    return claim_id in seen._last or claim_id == seen._mark


async def test_an_error_ends_the_walk():
    """A page that cannot be read is given as its error, and is the last."""
    error = NoAnswerError("x")
    assert [["id-1"], error] == await _ids(Pages([_raw(1)], error))


async def test_found():
    """The claim with the ref is returned, and no page after it is read."""
    pages = Pages([_raw(1), _raw(2)], [_raw(3)])
    assert (await find_by_ref(pages, "ref-2")).claim.id == "id-2"
    assert len(pages.asked) == 1


async def test_not_found():
    """A ref that no page has is not in the list."""
    assert await find_by_ref(Pages([_raw(1)], []), "ref-2") is Absence.WHOLE_LIST


async def test_at_most_20_pages():
    """The walk is bounded, however many claims there are."""
    pages = Pages(*[[_raw(n)] for n in range(50)])
    assert await find_by_ref(pages, "ref-49") is Absence.BOUND_REACHED
    assert MAX_PAGES == 20 == len(pages.asked)
    assert {100} == {limit for limit, _ in pages.asked}
    assert await find_by_ref(Pages(*[[_raw(n)] for n in range(50)]), "ref-19") is not Absence.BOUND_REACHED


async def test_an_error_on_the_way():
    """A page that cannot be read leaves the question open."""
    error = NoAnswerError("x")
    assert error is await find_by_ref(Pages([_raw(1)], error), "ref-2")


async def test_a_deleted_claim_comes_second():
    """A claim that lives goes before a deleted one of the same ref; a deleted one is better than nothing."""
    gone = _raw(1, deleted_at="2026-11-23T12:00:00Z")
    assert (await find_by_ref(Pages([gone], [_raw(2, ref="ref-1")]), "ref-1")).claim.id == "id-2"
    assert (await find_by_ref(Pages([gone], [_raw(2)], []), "ref-1")).claim.id == "id-1"
    assert (await find_by_ref(Pages([gone], NoAnswerError("x")), "ref-1")).claim.id == "id-1"


async def test_a_claim_without_an_id_is_not_found():
    """A claim that could not be read back by its id is not taken for the one that is looked for."""
    assert await find_by_ref(Pages([{"ref": "r"}]), "r") is Absence.WHOLE_LIST


async def test_ours_is_found_before_anothers():
    """Where the list has the ref more than once, ours is found: one that lives before one that is deleted."""
    other, ours = {"id": "1", "ref": "r", "customer_id": "x"}, {"id": "2", "ref": "r"}
    deleted = {"id": "3", "ref": "r", "deleted_at": "2026-11-23T12:00:00Z"}

    async def find(*pages):
        return await find_by_ref(Pages(*pages), "r", is_ours=lambda found: "customer_id" not in found.raw)

    assert (await find([other], [deleted], [ours], [])).raw == ours
    assert (await find([other], [deleted], [])).raw == deleted
    assert (await find([deleted], [other], [])).raw == deleted
    assert (await find([other], [])).raw == other


async def test_a_deleted_claim_among_the_pages_that_are_read():
    """A deleted claim counts as found also where the list has more pages than are read."""
    pages = Pages([_raw(0, deleted_at="2026-11-23T12:00:00Z")], *[[_raw(n)] for n in range(1, 50)])
    assert (await find_by_ref(pages, "ref-0")).claim.id == "id-0"
    assert len(pages.asked) == MAX_PAGES
