"""Every fault, on attempt 1 to 3, with and without a ref, committed or not, on every engine.

All cases are generated. What is right follows from what a form of answer proves (its kind), and from what the
ledger holds; nothing here knows how the client decides.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import httpx2
import pytest
from conftest import SECRET, claim_request

from dintero_claims_client import (
    APIStatusError,
    AuthenticationError,
    Claim,
    ClaimsClient,
    ClaimsError,
    OutcomeUnknownError,
    RetryPolicy,
)
from faults.answers import FORMS
from faults.script import CUTS, Act, Fault, Point, Queues
from faults.server import FaultServer
from faults.wire import Kind

LOST = Fault(Point.RECEIVED, Act.RESET, commit=True)
NOT_TAKEN = Fault(Point.RECEIVED, Act.RESET)
THROTTLED = Fault(Point.ANSWERED, Act.KEEP, answer="429-retry-after-0")

DENIALS = (Kind.REFUSED, Kind.THROTTLED, Kind.UNAUTHORIZED)
REPEATED = (Kind.THROTTLED, Kind.UNAUTHORIZED)
"""Denials after which the claim is sent again."""


@dataclass(frozen=True)
class Case:
    """A fault that strikes a claim's attempt number `attempt`; `taken_first` where the first was taken."""

    fault: Fault
    attempt: int
    ref: str | None
    taken_first: bool = False

    @property
    def kind(self) -> Kind:
        """What the answer proves; an exchange that breaks proves nothing."""
        whole = self.fault.at is Point.ANSWERED or self.fault.act is Act.TRICKLE
        return FORMS[self.fault.answer].kind if whole else Kind.AMBIGUOUS

    @property
    def before(self) -> list[Fault | None]:
        """What strikes the attempts before: they were not taken, and without a ref that is known."""
        faults: list[Fault | None] = [THROTTLED if self.ref is None else NOT_TAKEN] * (self.attempt - 1)
        if self.taken_first:
            faults[0] = LOST
        return faults

    @property
    def is_a_lie(self) -> bool:
        """Say whether the server states what is not so, and nothing that came before shows it."""
        if not self.fault.commit:
            return self.kind in (Kind.TAKEN, Kind.EITHER)
        if self.kind in DENIALS:
            return self.ref is None or self.attempt == 1
        # These ask for the same request elsewhere, so they say that it was not executed here.
        return self.ref is None and self.fault.answer in ("301", "307", "308")


def cases(fault: Fault, ref: str) -> Iterator[Case]:
    """Give the product for one fault, without what no client could know."""
    commits = (False, True) if fault.at not in (Point.ACCEPT, Point.UPLOAD) else (False,)
    for commit in commits:
        changed = dataclasses.replace(fault, commit=commit)
        for attempt in (1, 2, 3):
            for number, one in enumerate((ref, None)):
                for taken_first in (False, True) if one and attempt > 1 else (False,):
                    name = None if one is None else f"{one}-{commit}-{attempt}-{number}-{taken_first}"
                    case = Case(changed, attempt, name, taken_first)
                    if not case.is_a_lie:
                        yield case


def check(case: Case, ended: Claim | ClaimsError, held: list[dict[str, Any]], requests: int) -> None:
    """Compare what the caller got with what the ledger holds."""
    assert len(held) <= 1, "claimed twice"
    if isinstance(ended, Claim):
        assert [ended.id] == [claim["id"] for claim in held], "not the claim that the ledger holds"
        return
    if isinstance(ended, OutcomeUnknownError):
        if case.ref is None:
            assert case.kind in (Kind.AMBIGUOUS, Kind.EITHER, Kind.GATEWAY)
            assert requests == case.attempt, "sent again although it may have been taken"
        else:
            # Not taken, and refused later: the attempt before may still be on its way.
            assert case.attempt > 1
            assert not held
            assert case.kind in (Kind.REFUSED, Kind.GATEWAY)
        return
    assert isinstance(ended, APIStatusError)
    assert not held, "refused, and in the ledger"
    assert case.kind in (Kind.REFUSED, Kind.GATEWAY)
    assert case.ref is None or case.attempt == 1


async def open_client(
    stack: AsyncExitStack, engine: str, server: FaultServer, **settings: Any
) -> ClaimsClient:
    """Return an open client of the server."""
    http_client: Any = None
    if engine != "aiohttp":
        library = {"httpx": httpx, "httpx2": httpx2}[engine]
        http_client = await stack.enter_async_context(library.AsyncClient(verify=False))
    defaults: dict[str, Any] = {
        "account_id": "T12345678",
        "client_id": "client-1",
        "client_secret": SECRET,
        "base_url": server.base_url,
        "generate_refs": False,
        "retry": RetryPolicy(base_delay=0.0001, max_delay=0.001),
        "http_client": http_client,
    }
    return await stack.enter_async_context(ClaimsClient(**(defaults | settings)))


async def claim(client: ClaimsClient, ref: str | None, customer: str) -> Claim | ClaimsError:
    """Claim, and return how it ended."""
    try:
        return await client.claim(claim_request(ref, customer_id=customer))
    except ClaimsError as error:
        return error


async def run(client: ClaimsClient, server: FaultServer, case: Case, customer: str) -> None:
    """Run one case against a server that has nothing else to do."""
    plan = server.plan = Queues(claim=[*case.before, case.fault])
    before = server.claim_requests
    ended = await claim(client, case.ref, customer)
    said = f"{case} -> {ended!r}; python: {plan.describe()}"
    try:
        check(case, ended, server.ledger.by_customer[customer], server.claim_requests - before)
        if isinstance(ended, OutcomeUnknownError) and case.ref is not None:
            again = await client.claim(claim_request(case.ref, customer_id=customer), if_exists="return")
            assert [again.id] == [one["id"] for one in server.ledger.by_customer[customer]]
    except (AssertionError, ClaimsError) as error:
        raise AssertionError(said) from error


async def run_at_once(stack: AsyncExitStack, engine: str, chosen: Iterable[Case], **settings: Any) -> None:
    """Run cases that take time side by side, each with a server and a client of its own."""

    async def one(case: Case) -> None:
        server = await stack.enter_async_context(FaultServer())
        client = await open_client(stack, engine, server, **settings)
        await run(client, server, case, "customer")

    async with asyncio.TaskGroup() as group:
        for case in chosen:
            group.create_task(one(case))


ANSWERS = [form for form in FORMS.values() if form.kind is not Kind.PAGE]


@pytest.mark.parametrize("form", ANSWERS, ids=lambda form: form.name)
async def test_every_form_of_answer(quiet, engine, form):
    """Whatever stands in the place of an answer, on whichever attempt: the caller and the ledger agree."""
    fault = Fault(Point.ANSWERED, Act.KEEP, answer=form.name)
    # What takes a moment to make, or to read, is the same on every attempt.
    chosen = [case for case in cases(fault, "order") if not form.heavy or case.attempt == 1]
    async with AsyncExitStack() as stack:
        if form.slow:
            await run_at_once(stack, engine, chosen)
            return
        server = await stack.enter_async_context(FaultServer())
        client = await open_client(stack, engine, server)
        for number, case in enumerate(chosen):
            await run(client, server, case, f"customer-{number}")


AFTER = {Point.STATUS_LINE: (0, 5), Point.HEADERS: (0, 30), Point.BODY: (0, 60)}
BREAKS = [
    Fault(at, act, after=after)
    for at in (Point.UPLOAD, Point.RECEIVED, *CUTS)
    for act in (Act.RESET, Act.CLOSE)
    for after in AFTER.get(at, (0,))
] + [Fault(Point.ANSWERED, act) for act in (Act.CLOSE, Act.RESET)]
TRICKLES = [Fault(at, Act.TRICKLE, after=after) for at in CUTS for after in AFTER[at]]


@pytest.mark.parametrize("fault", [*BREAKS, *TRICKLES], ids=str)
async def test_every_break(quiet, engine, fault):
    """Wherever an exchange breaks off, or trickles, on whichever attempt: the caller and the ledger agree."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(FaultServer())
        client = await open_client(stack, engine, server)
        for number, case in enumerate(cases(fault, "order")):
            await run(client, server, case, f"customer-{number}")


STALLS = [
    Fault(at, Act.STALL, after=after)
    for at in (Point.UPLOAD, Point.RECEIVED, *CUTS)
    for after in AFTER.get(at, (0,))
]


async def test_every_stall(quiet, engine):
    """Wherever a server falls silent, on whichever attempt: the caller and the ledger agree."""
    stalls = [case for fault in STALLS for case in cases(fault, "order")]
    async with AsyncExitStack() as stack:
        await run_at_once(stack, engine, stalls, retry=RetryPolicy(attempt_timeout=1.0, base_delay=0.001))


CONNECTIONS = [
    Fault(Point.ACCEPT, act, after=after) for act in (Act.RESET, Act.CLOSE, Act.GARBAGE) for after in (0, 40)
]


@pytest.mark.parametrize("ref", ["order-1", None])
@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("fault", CONNECTIONS, ids=str)
async def test_every_connection_that_breaks(quiet, engine, fault, times, ref):
    """However a connection ends before the request is read: taken once, or without a ref perhaps unknown."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(FaultServer())
        token_url = f"http://127.0.0.1:{server.port}/v1/accounts/T12345678/auth/token"
        client = await open_client(stack, engine, server, token_url=token_url)
        server.plan = Queues(connection=[None, *[fault] * times])
        ended = await claim(client, ref, "customer")
        held = server.ledger.by_customer["customer"]
        if ref is None and isinstance(ended, OutcomeUnknownError):
            assert (held, server.claim_requests) == ([], 0)
        else:
            assert isinstance(ended, Claim)
            assert [ended.id] == [one["id"] for one in held]


LIST_FINAL = {"401", "401-challenge", "403", "404"}


@pytest.mark.parametrize(
    "form", [form for form in FORMS.values() if not form.slow], ids=lambda form: form.name
)
async def test_every_form_of_list(quiet, engine, form):
    """Whatever stands in the place of a page when a lost claim is looked up: the claim, or unknown."""
    for attempt in (1, 2, 3) if not form.heavy else (1,):
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(FaultServer())
            client = await open_client(stack, engine, server)
            fault = Fault(Point.ANSWERED, Act.KEEP, answer=form.name)
            server.plan = Queues(claim=[LOST], list=[*[NOT_TAKEN] * (attempt - 1), fault])
            ended = await claim(client, "order-1", "customer")
            held = server.ledger.by_customer["customer"]
            if isinstance(ended, Claim):
                assert [ended.id] == [one["id"] for one in held]
            else:
                assert isinstance(ended, OutcomeUnknownError)
                assert ended.taken is (form.name != "list-deleted")
                assert form.name in {*LIST_FINAL, "list-deleted"}


@pytest.mark.parametrize("fault", [*BREAKS, *STALLS, *TRICKLES], ids=str)
async def test_every_break_of_a_list(quiet, engine, fault):
    """Wherever the answer to a look-up breaks off, the lost claim is found."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(FaultServer())
        client = await open_client(
            stack, engine, server, retry=RetryPolicy(attempt_timeout=0.5, base_delay=0.001)
        )
        server.plan = Queues(claim=[LOST], list=[fault])
        ended = await claim(client, "order-1", "customer")
        assert isinstance(ended, Claim)
        assert [ended.id] == [one["id"] for one in server.ledger.by_customer["customer"]]


@pytest.mark.parametrize("ref", ["order-1", None])
@pytest.mark.parametrize(
    "form",
    [form for form in FORMS.values() if form.kind is not Kind.PAGE and not form.slow],
    ids=lambda form: form.name,
)
async def test_every_form_of_token(quiet, quick_tokens, engine, form, ref):
    """Whatever stands in the place of a token: the claim is taken once, or said not to have been sent."""
    for attempt in (1, 2, 3) if not form.heavy else (1,):
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(FaultServer())
            client = await open_client(stack, engine, server)
            fault = Fault(Point.ANSWERED, Act.KEEP, commit=True, answer=form.name)
            server.plan = Queues(token=[*[NOT_TAKEN] * (attempt - 1), fault])
            ended = await claim(client, ref, "customer")
            held = server.ledger.by_customer["customer"]
            if isinstance(ended, Claim):
                assert [ended.id] == [one["id"] for one in held]
            else:
                assert isinstance(ended, AuthenticationError)
                assert (held, server.claim_requests) == ([], 0)
