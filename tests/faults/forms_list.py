"""Forms of answer to a read of the list: pages that are not what the ledger holds."""

from __future__ import annotations

import json
from collections.abc import Callable

from faults.ledger import Json
from faults.wire import Facts, Form, Kind, Wire, answer


def page(facts: Facts, *, hidden: int = 0, first: bool = False) -> list[Json]:
    """Return the page that a query asks for; with `first` the first one, whatever it asks for."""
    limit = facts.query.get("limit", "")
    return facts.ledger.page(
        min(int(limit), 100) if limit.isdecimal() else 10,
        None if first else facts.query.get("starting_after"),
        lag=hidden,
    )


def _form(make: Callable[[Facts], object]) -> Callable[[Facts], Wire]:
    return lambda facts: answer(200, json.dumps(make(facts)).encode())


def _loop(facts: Facts) -> list[Json]:
    """Show the first two pages in turn, for ever."""
    first = page(facts, first=True)
    cursor = facts.query.get("starting_after")
    return page(facts) if any(item["id"] == cursor for item in first) else first


def _without_ids(facts: Facts) -> list[Json]:
    return [{name: value for name, value in item.items() if name != "id"} for item in page(facts)]


def _deleted(facts: Facts) -> list[Json]:
    return [item | {"deleted_at": "2026-11-23T13:00:00Z"} for item in page(facts)]


FORMS = [
    Form("list-repeats", Kind.PAGE, _form(lambda facts: page(facts, first=True)), hides=True),
    Form("list-loops", Kind.PAGE, _form(_loop), hides=True),
    Form("list-lags", Kind.PAGE, _form(lambda facts: page(facts, hidden=facts.size)), hides=True),
    Form("list-ends", Kind.PAGE, _form(lambda _: []), hides=True),
    Form("list-short", Kind.PAGE, _form(lambda facts: page(facts)[: facts.size])),
    Form("list-nulls", Kind.PAGE, _form(lambda facts: [None, *page(facts), None])),
    Form("list-without-ids", Kind.PAGE, _form(_without_ids), hides=True),
    Form("list-deleted", Kind.PAGE, _form(_deleted), hides=True),
    Form("list-in-object", Kind.PAGE, _form(lambda facts: {"claims": page(facts)})),
]
