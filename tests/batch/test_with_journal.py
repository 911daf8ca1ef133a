"""Claiming many with a journal: what is on disk when, and what another run of the same makes of it."""

import asyncio
import json
import shutil
import sqlite3
import stat
import threading
from collections import Counter
from contextlib import closing

import pytest
from support.canary import SECRET
from support.fake_server import RESET, Answer, error_answer, json_answer

from dintero_claims_client import (
    APIStatusError,
    AuthenticationError,
    Claimed,
    InvalidClaimError,
    Journal,
    JournalError,
    JournalWriteError,
    RefConflictError,
    Rejected,
    RetryPolicy,
    Unknown,
)
from dintero_claims_client._journal.records import Kind, MarkSent, Row, SetOutcome
from dintero_claims_client._journal.store import JournalStore


@pytest.fixture
def path(tmp_path):
    """Return where a journal goes."""
    return tmp_path / "claims.journal"


@pytest.fixture
def make_rows(make_request):
    """Return a maker of so many claims, every third of which has no ref."""

    def make(count):
        return [
            make_request(f"order-{number}" if number % 3 else None, customer_id=f"customer-{number}")
            for number in range(count)
        ]

    return make


async def _run(client, rows, path, **settings):
    async with Journal.open(path) as journal:
        return [one async for one in client.claim_many(rows, journal=journal, **settings)]


def _committed(path, table):
    """Return how many records of a kind another process sees in the journal."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - of this file


async def test_the_intent_is_on_disk_before_the_request_leaves(engine, server, make_client, make_rows, path):
    """When the server sees a claim, another process sees in the journal that it was about to be sent."""
    client = await make_client(engine)
    seen = []

    def look(incoming):
        server.on_claim.append(look)
        seen.append(_committed(path, "claim"))
        return server.commit(incoming)

    server.on_claim.append(look)
    await _run(client, make_rows(20), path, concurrency=4)
    assert len(seen) == 20
    assert all(count >= number for number, count in enumerate(seen, 1))


async def test_the_outcome_is_on_disk_before_it_is_given(server, make_client, make_rows, path):
    """When an outcome comes out of the batch, another process sees it in the journal."""
    client = await make_client()
    async with Journal.open(path) as journal:
        given = 0
        async for _ in client.claim_many(make_rows(20), journal=journal, concurrency=4):
            given += 1
            assert _committed(path, "outcome") >= given


async def test_again_nothing_is_sent(server, make_client, make_rows, path):
    """The same rows with the same journal give the same outcomes again, and send nothing."""
    client = await make_client()
    rows = make_rows(30)
    server.on_claim.append(error_answer(422, "the customer is unknown", "NO CUSTOMER"))
    rows[7].discounts = []
    first = {one.row: one for one in await _run(client, rows, path)}
    sent = len(server.posts)
    again = {one.row: one for one in await _run(client, rows, path)}
    assert len(server.posts) == sent
    assert set(first) == set(again) == set(range(30))
    for row, one in again.items():
        assert one.replayed
        assert (type(one), one.ref, one.request) == (type(first[row]), first[row].ref, rows[row])
        if isinstance(one, Claimed):
            assert one.claim == first[row].claim
        else:
            assert (type(one.error), str(one.error)) == (type(first[row].error), str(first[row].error))
    errors = {type(one.error): one.error for one in again.values() if isinstance(one, Rejected)}
    assert (errors[APIStatusError].status, errors[APIStatusError].code) == (422, "NO CUSTOMER")
    assert errors[InvalidClaimError].field == "discounts"


async def test_what_was_under_way_is_settled(server, make_client, make_rows, path):
    """Rows that were sent when the batch was cut off are claimed once, with the refs that they had."""
    client = await make_client()
    rows = make_rows(12)
    server.gate.clear()
    run = asyncio.create_task(_run(client, rows, path, concurrency=6))
    await server.until(lambda: server.held == 6)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    # Half of what was on its way arrives all the same.
    server.on_claim.extend([server.commit, RESET] * 3)
    server.gate.set()
    await server.until(lambda: not server.on_claim)
    arrived = {claim["ref"] for claim in server.claims}
    assert len(arrived) == 3
    async with JournalReader(path) as journal:
        sent = [record for record in journal.records(0, 100) if record.sent]
    assert len(sent) == 6
    outcomes = {one.row: one for one in await _run(client, rows, path, concurrency=6)}
    assert {type(one) for one in outcomes.values()} == {Claimed}
    assert {one.claim.id for one in outcomes.values()} == {claim["id"] for claim in server.claims}
    assert all(outcomes[record.row.number].recovered == (record.row.ref in arrived) for record in sent)
    assert [outcomes[record.row.number].ref for record in sent] == [record.row.ref for record in sent]
    assert len(server.claims) == 12


class JournalReader:
    """Looks into a journal that nobody has open."""

    def __init__(self, path):
        self._path = path

    async def __aenter__(self):
        self._store = JournalStore.open_for_reading(self._path)
        return self._store

    async def __aexit__(self, *_):
        self._store.close()


async def test_a_conflict_with_oneself_is_no_refusal(server, make_client, make_rows, path):
    """A row that was claimed before the power failed, and of which the journal lost the record, is taken."""
    client = await make_client()
    rows = make_rows(6)
    await _run(client, rows[:3], path)
    # Sent, and then the power took the last words of the journal with it.
    claims = [await client.claim(row) for row in rows[3:] if row.ref]
    outcomes = await _run(client, rows, path)
    assert [type(one) for one in outcomes] == [Claimed] * 6
    assert {claim.id for claim in claims} <= {one.claim.id for one in outcomes}


@pytest.mark.parametrize("if_exists", ["raise", "return", None])
async def test_a_conflict_with_what_was_claimed_elsewhere(server, make_client, make_rows, path, if_exists):
    """In a journal a ref that the same claim has is that claim, unless a refusal is asked for."""
    client = await make_client()
    rows = make_rows(3)
    claim = await client.claim(rows[1])
    outcomes = {one.row: one for one in await _run(client, rows, path, if_exists=if_exists)}
    if if_exists == "raise":
        assert isinstance(outcomes[1].error, RefConflictError)
    else:
        assert (outcomes[1].claim.id, outcomes[1].recovered) == (claim.id, True)


async def test_a_conflict_with_another_claim(server, make_client, make_rows, make_request, path):
    """A ref that another claim has is a conflict."""
    client = await make_client()
    await client.claim(make_request("order-1", customer_id="somebody else"))
    outcomes = {one.row: one for one in await _run(client, make_rows(3), path)}
    assert isinstance(outcomes[1].error, RefConflictError)


async def test_two_copies_of_a_journal_that_go_on_differently(
    server, make_client, make_rows, make_request, path
):
    """Copies of a journal that are given different next rows make two claims of them, each its customer's."""
    client = await make_client()
    await _run(client, make_rows(1), path)
    copy = path.with_name("copy.journal")
    shutil.copy(path, copy)
    outcomes = []
    for place, customer in ((path, "one"), (copy, "other")):
        rows = [*make_rows(1), make_request(None, customer_id=customer)]
        outcomes += [one for one in await _run(client, rows, place) if one.row == 1]
    assert [one.claim.customer_id for one in outcomes] == ["one", "other"]
    assert len(server.claims) == 3


async def test_only_the_file_without_its_log(server, make_client, make_rows, path):
    """A journal of which only the main file was saved during a run knows that it was used."""
    client = await make_client()
    saved = path.with_name("saved.journal")
    async with Journal.open(path) as journal:
        batch = client.claim_many(make_rows(6), journal=journal, concurrency=1)
        await anext(batch)
        shutil.copy(path, saved)
        await batch.aclose()
    async with JournalReader(saved) as journal:
        assert journal.was_used
    outcomes = await _run(client, make_rows(6), saved)
    assert {type(one) for one in outcomes} == {Claimed}
    assert len(server.claims) == 6


@pytest.mark.parametrize("trouble", ["token endpoint", "secret"])
async def test_trouble_with_tokens_refuses_nothing(
    server, make_client, make_rows, path, monkeypatch, trouble
):
    """Rows that get no token for a while are claimed afterwards, and none is called refused."""
    monkeypatch.setattr("dintero_claims_client._batch_run.SHORTEST_PAUSE", 0.001)
    monkeypatch.setattr("dintero_claims_client._batch_run.LONGEST_PAUSE", 0.01)
    monkeypatch.setattr("dintero_claims_client._tokens._FAILURE_DELAYS", (0.001,))
    monkeypatch.setattr("dintero_claims_client._tokens.MIN_INTERVAL", 0.001)
    fails = 2

    def secret():
        nonlocal fails
        fails -= 1
        if fails >= 0 and trouble == "secret":
            raise OSError("the file is away")
        return SECRET

    if trouble == "token endpoint":
        server.on_token.extend([error_answer(503)] * 30)
    client = await make_client(retry=RetryPolicy(max_attempts=1), timeout=0.05, client_secret=secret)
    outcomes = await _run(client, make_rows(10), path, concurrency=3)
    assert {type(one) for one in outcomes} == {Claimed}
    assert len(server.claims) == 10


async def test_an_unknown_row_is_settled_by_the_next_run(server, make_client, make_rows, path, monkeypatch):
    """A row that ended as unknown is asked for again when the batch is run again."""
    monkeypatch.setattr("dintero_claims_client._batch_run.SHORTEST_PAUSE", 0.001)
    client = await make_client(retry=RetryPolicy(max_attempts=1))
    rows = make_rows(40)

    def poisoned(incoming):
        server.on_claim.append(poisoned)
        return RESET if incoming.json["customer_id"] == "customer-1" else server.commit(incoming)

    server.on_claim.extend([poisoned] * 8)
    first = {one.row: one for one in await _run(client, rows, path, concurrency=2)}
    assert [row for row, one in first.items() if isinstance(one, Unknown)] == [1]
    server.on_claim.clear()
    again = {one.row: one for one in await _run(client, rows, path)}
    assert [row for row, one in again.items() if not one.replayed] == [1]
    assert isinstance(again[1], Claimed)
    assert len(server.claims) == 40


async def test_resuming_needs_no_source(server, make_client, make_rows, path):
    """`resume` claims and settles what the journal has, and gives only that."""
    client = await make_client()
    rows = make_rows(12)
    server.gate.clear()
    run = asyncio.create_task(_run(client, rows, path, concurrency=6))
    await server.until(lambda: server.held == 6)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    server.gate.set()
    async with Journal.open(path) as journal:
        outcomes = [one async for one in client.resume(journal)]
        assert sorted(one.row for one in outcomes) == [0, 1, 2, 3, 4, 5]
        assert {type(one) for one in outcomes} == {Claimed}
        assert [one async for one in client.resume(journal)] == []
        counts = await journal.counts()
    assert (counts.rows, counts.taken) == (6, 6)
    assert outcomes[0].request.customer_id == f"customer-{outcomes[0].row}"


@pytest.mark.parametrize("change", ["another claim", "fewer rows", "a row between"])
async def test_another_input(server, make_client, make_rows, make_request, path, change):
    """Rows that are not those of the journal are refused, and none of them is sent."""
    client = await make_client()
    rows = make_rows(9)
    await _run(client, rows, path)
    sent = len(server.posts)
    match change:
        case "another claim":
            rows[4] = make_request("order-4", customer_id="somebody else")
        case "fewer rows":
            del rows[5:]
        case _:
            rows.insert(4, make_request("order-new", customer_id="new"))
    with pytest.raises(JournalError, match="another input"):
        await _run(client, rows, path)
    assert len(server.posts) == sent


async def test_more_rows_go_on(server, make_client, make_rows, path):
    """A source that has grown goes on where the journal ends."""
    client = await make_client()
    await _run(client, make_rows(5), path)
    outcomes = await _run(client, make_rows(8), path)
    assert sorted(one.row for one in outcomes if not one.replayed) == [5, 6, 7]


async def test_another_account(server, make_client, make_rows, path):
    """A journal of one account is not used for another, and both are named."""
    await _run(await make_client(), make_rows(2), path)
    other = await make_client(account_id="T87654321")
    with pytest.raises(JournalError, match=r"T12345678.*T87654321"):
        await _run(other, make_rows(2), path)
    assert len(server.posts) == 2


async def test_two_batches_on_one_journal(server, make_client, make_rows, path):
    """A journal has one batch at a time, and afterwards another."""
    client = await make_client()
    async with Journal.open(path) as journal:
        first = client.claim_many(make_rows(5), journal=journal, concurrency=1)
        await anext(first)
        with pytest.raises(JournalError, match="in use"):
            await anext(client.claim_many(make_rows(5), journal=journal))
        await first.aclose()
        assert len([one async for one in client.claim_many(make_rows(5), journal=journal)]) == 5


async def test_a_journal_that_is_not_open(make_client, make_rows, path):
    """A journal that was not entered, or was left, says so."""
    client = await make_client()
    journal = Journal.open(path)
    for _ in range(2):
        with pytest.raises(JournalError, match="not open"):
            await anext(client.claim_many(make_rows(1), journal=journal))
        async with journal:
            pass


async def test_refs_are_minted_although_the_client_makes_none(server, make_client, make_rows, path):
    """In a journal each row has a ref, because only that can be found again."""
    client = await make_client(generate_refs=False)
    outcomes = await _run(client, make_rows(6), path)
    assert all(one.claim.ref == one.ref is not None for one in outcomes)


@pytest.mark.parametrize("when", ["intent", "outcome"])
async def test_a_disk_that_fails(server, make_client, make_rows, path, monkeypatch, when):
    """When the journal cannot be written nothing more is sent, and what is known is told."""
    client = await make_client()
    write = JournalStore.write
    count = 0

    def fail(self, operations):
        nonlocal count
        is_outcome = any(isinstance(one, SetOutcome) for one in operations)
        count += is_outcome == (when == "outcome")
        if count > 3:
            # As it is after a failure: nothing is written any more.
            raise JournalWriteError("the disk is full")
        write(self, operations)

    monkeypatch.setattr(JournalStore, "write", fail)
    rows = iter(make_rows(500))
    outcomes = []

    async def go_through():
        async with Journal.open(path) as journal:
            async for one in client.claim_many(rows, journal=journal, concurrency=3):
                outcomes.append(one)

    with pytest.raises(JournalWriteError, match="the disk is full"):
        await go_through()
    taken = [one for one in outcomes if isinstance(one, Claimed)]
    assert {one.claim.id for one in taken} == {claim["id"] for claim in server.claims}
    assert {type(one.error) for one in outcomes if not isinstance(one, Claimed)} <= {JournalWriteError}
    assert len(outcomes) + len(list(rows)) == 500
    monkeypatch.setattr(JournalStore, "write", write)
    assert {type(one) for one in await _run(client, make_rows(60), path)} == {Claimed}
    assert len(server.claims) == 60


@pytest.fixture
def fail_to_write(monkeypatch):
    """Return a function that makes all that a journal is to write from now on fail with this."""

    def fail_with(error):
        write = JournalStore.write

        def fail(store, operations):
            if operations:
                raise error
            write(store, operations)

        monkeypatch.setattr(JournalStore, "write", fail)

    return fail_with


async def test_a_journal_that_fails_in_no_way_that_is_known(
    server, make_client, make_rows, path, fail_to_write
):
    """Whatever keeps an intent from the disk, it counts as not written, and is told; nothing is sent."""
    client = await make_client()
    fail_to_write(MemoryError())
    with pytest.raises(JournalWriteError, match="not written: MemoryError") as raised:
        await asyncio.wait_for(_run(client, make_rows(20), path, concurrency=4, rate=4), 10)
    assert isinstance(raised.value.__cause__, MemoryError)
    assert server.posts == []


@pytest.mark.parametrize("how", ["resume", "again"])
async def test_a_row_that_was_sent_before_is_not_refused_by_a_disk_that_fails(
    server, make_client, make_rows, path, fail_to_write, how
):
    """Where the intent to settle a row cannot be written, what became of it is unknown: it may be taken."""
    client = await make_client()
    server.gate.clear()
    async with Journal.open(path) as journal:
        running = asyncio.create_task(_told(client.claim_many(make_rows(3), journal=journal)))
        await server.until(lambda: server.held == 3)
        running.cancel()
        await asyncio.wait([running])
    server.gate.set()
    async with Journal.open(path) as journal:
        batch = (
            client.resume(journal) if how == "resume" else client.claim_many(make_rows(3), journal=journal)
        )
        fail_to_write(JournalWriteError("the disk is full"))
        outcomes, error = [], None
        try:
            async for one in batch:
                outcomes.append(one)
        except JournalWriteError as raised:
            error = raised
        assert "disk is full" in str(error)
    assert [type(one) for one in outcomes] == [Unknown] * len(outcomes)
    assert outcomes


@pytest.mark.parametrize("settings", [{"ordered": True, "concurrency": 2}, {"rate": 3.0, "concurrency": 50}])
async def test_a_journal_that_is_closed_under_a_batch(server, make_client, make_rows, path, settings):
    """The batch ends with that, after it has told all that was under way, and the row that was in hand."""
    client = await make_client()
    server.gate.clear()
    journal = await Journal.open(path).__aenter__()
    outcomes = []

    async def go_through():
        async for one in client.claim_many(make_rows(20), journal=journal, **settings):
            outcomes.append(one)

    running = asyncio.create_task(go_through())
    await server.until(lambda: server.held >= 2)
    await journal.aclose()
    server.gate.set()
    with pytest.raises(JournalError, match=r"not open|closed"):
        await asyncio.wait_for(running, 10)
    assert sorted(one.row for one in outcomes) == list(range(len(outcomes)))
    assert {one.ref for one in outcomes if isinstance(one, Claimed)} == {one["ref"] for one in server.claims}


async def _told(batch):
    return [one async for one in batch]


async def test_a_batch_that_is_left_begins_no_row_that_is_being_written(
    server, make_client, make_rows, path, monkeypatch
):
    """Rows whose intents get to the disk after the batch was left are not sent, and are known as sent."""
    client = await make_client()
    write, begun, go_on = JournalStore.write, threading.Event(), threading.Event()

    def wait(self, operations):
        if operations:
            begun.set()
            assert go_on.wait(10)
        write(self, operations)

    async with Journal.open(path) as journal:
        batch = client.claim_many(make_rows(5), journal=journal)
        monkeypatch.setattr(JournalStore, "write", wait)
        first = asyncio.create_task(anext(batch))
        await asyncio.to_thread(begun.wait, 10)
        await batch.aclose()
        go_on.set()
        with pytest.raises(StopAsyncIteration):
            await first
        # What is asked for now comes after what is being written.
        assert (await journal.counts()).in_flight == 5
    assert server.posts == []


async def test_the_answer_is_kept_as_it_came(server, make_client, make_rows, path):
    """The journal has the server's own words, unless they are nested so deep that not all could read them."""
    client = await make_client()
    odd, deep = (
        b'\xef\xbb\xbf {"id": "odd", "new": 1.0e2 }\n',
        b'{"id": "deep", "new":' + b"[" * 101 + b"]" * 101 + b"}",
    )
    for answer in (odd, deep):
        server.on_claim.append(server.commit_then(Answer(200, answer)))
    first = await _run(client, make_rows(2), path, ordered=True)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        kept = [data for (data,) in connection.execute("SELECT data FROM outcome ORDER BY number")]
    assert kept[0] == odd
    assert kept[1] != deep
    assert json.loads(kept[1]) == json.loads(deep)
    assert [one.claim for one in await _run(client, make_rows(2), path, ordered=True)] == [
        one.claim for one in first
    ]


async def test_refused_rows_can_be_claimed_again(server, make_client, make_rows, path):
    """What the server refused is claimed again when that is asked for, under the same ref."""
    client = await make_client()
    server.on_claim.extend([error_answer(422)] * 4)
    first = await _run(client, make_rows(4), path)
    async with Journal.open(path) as journal:
        assert await journal.requeue_refused() == 4
        outcomes = [one async for one in client.resume(journal)]
    assert {type(one) for one in outcomes} == {Claimed}
    assert sorted(one.ref for one in outcomes) == sorted(one.ref for one in first)


async def test_purging(server, make_client, make_rows, path):
    """After a purge the file has no customer any more, and the same rows are still known as claimed."""
    client = await make_client()
    await _run(client, make_rows(30), path)
    sent = len(server.posts)
    assert b"customer-17" in path.read_bytes()
    async with Journal.open(path) as journal:
        assert await journal.purge() == 30
    assert b"customer-" not in path.read_bytes()
    again = await _run(client, make_rows(30), path)
    assert all(isinstance(one, Claimed) and one.replayed for one in again)
    assert {one.claim.id for one in again} == {claim["id"] for claim in server.claims}
    assert len(server.posts) == sent


async def test_the_file_is_its_owners(server, make_client, make_rows, path):
    """The journal, and what SQLite puts beside it, is readable by its owner only."""
    client = await make_client()
    async with Journal.open(path) as journal:
        await anext(client.claim_many(make_rows(5), journal=journal))
        files = [file for file in path.parent.iterdir() if file.name != f"{path.name}.lock"]
        assert len(files) >= 2
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_a_claim_that_could_not_be_read_stays_so(server, make_client, make_rows, path, monkeypatch):
    """A claim that is known to be taken and could not be read is given again without a claim."""
    monkeypatch.setattr("dintero_claims_client._search.GATHERING_SECONDS", 0.001)
    client = await make_client(timeout=0.3)

    def lose(incoming):
        server.commit(incoming)
        server.claims[-1]["id"] = ""
        return RESET

    server.on_claim.append(lose)
    (first,) = await _run(client, make_rows(1), path)
    (again,) = await _run(client, make_rows(1), path)
    assert (first.claim, first.replayed, again.claim, again.replayed) == (None, False, None, True)


def test_every_kind_has_its_outcome():
    """The kinds of a journal are those of outcomes, with broken rules apart from refusals."""
    assert {kind.value for kind in Kind} == {"taken", "refused", "rejected", "unknown"}


async def _cut_off(client, server, rows, path):
    """Leave a batch with rows under way, of which the server has taken none."""
    server.gate.clear()
    run = asyncio.create_task(_run(client, rows, path, concurrency=len(rows)))
    await server.until(lambda: server.held == len(rows))
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    server.on_claim.extend([RESET] * len(rows))
    server.gate.set()
    await server.until(lambda: not server.on_claim)


async def test_what_was_sent_before_is_not_called_refused_for_want_of_an_answer(
    server, make_client, make_rows, path, monkeypatch
):
    """A row that an earlier run sent is unknown while the credentials are refused, and settled later."""
    monkeypatch.setattr("dintero_claims_client._batch_run.SHORTEST_PAUSE", 0.001)
    rows = make_rows(3)
    await _cut_off(await make_client(), server, rows, path)
    client = await make_client(retry=RetryPolicy(max_attempts=1))
    server.on_token.extend([error_answer(401)] * 100)
    outcomes = []

    async def go_through():
        async with Journal.open(path) as journal:
            async for one in client.resume(journal):
                outcomes.append(one)

    with pytest.raises(AuthenticationError):
        await go_through()
    assert [type(one) for one in outcomes] == [Unknown] * 3
    server.on_token.clear()
    assert {type(one) for one in await _run(await make_client(), rows, path)} == {Claimed}


async def test_rights_that_are_gone_settle_nothing(server, make_client, make_rows, path, monkeypatch):
    """A row that an earlier run sent stays unknown when neither claiming nor reading is allowed any more."""
    monkeypatch.setattr("dintero_claims_client._batch_run.SHORTEST_PAUSE", 0.001)
    client = await make_client(retry=RetryPolicy(max_attempts=1))
    rows = make_rows(3)
    await _cut_off(client, server, rows, path)
    server.on_claim.extend([error_answer(403)] * 100)
    server.on_read.extend([error_answer(403)] * 100)
    assert {type(one) for one in await _run(client, rows, path)} == {Unknown}
    server.on_claim.clear()
    server.on_read.clear()
    assert {type(one) for one in await _run(client, rows, path)} == {Claimed}


async def test_a_journal_that_was_read_from_an_input(server, make_client, make_rows, path):
    """A caller's rows are not mixed with those of an input, which is claimed only when it is whole."""
    client = await make_client()
    store = JournalStore.open(path)
    store.begin_input({"name": "claims.jsonl"})
    store.close()
    async with Journal.open(path) as journal:
        with pytest.raises(JournalError, match=r"claims\.jsonl: resume it"):
            await anext(client.claim_many(make_rows(1), journal=journal))
        with pytest.raises(JournalError, match="not read to its end"):
            await anext(client.resume(journal))
    assert server.posts == []


async def test_a_row_without_a_claim_is_never_left_open(
    make_client, make_rows, make_request, path, monkeypatch
):
    """A row that breaks a rule is written down together with that, and is not in the way of resuming."""
    client = await make_client()
    write, groups = JournalStore.write, []

    def follow(self, operations):
        if operations:
            groups.append([type(operation) for operation in operations])
        write(self, operations)

    monkeypatch.setattr(JournalStore, "write", follow)
    await _run(client, [make_request(discounts=[])], path)
    assert groups == [[Row, SetOutcome]]
    async with Journal.open(path) as journal:
        assert [one async for one in client.resume(journal)] == []
        assert (await journal.counts()).rejected == 1


async def test_a_refused_row_that_is_claimed_again_is_in_flight(server, make_client, make_rows, path):
    """While a refused row is claimed again the journal has it as under way, and not as waiting."""
    client = await make_client()
    server.on_claim.append(error_answer(422))
    await _run(client, make_rows(1), path)
    async with Journal.open(path) as journal:
        await journal.requeue_refused()
        assert (await journal.counts()).pending == 1
        server.gate.clear()
        run = asyncio.create_task(anext(client.resume(journal)))
        await server.until(lambda: server.held)
        assert (await journal.counts()).in_flight == 1
        server.gate.set()
        assert isinstance(await run, Claimed)


async def test_what_was_not_sent_is_pending(server, make_client, make_rows, path, monkeypatch):
    """Rows of which nothing was sent, for want of a token, are pending in the journal, and not in flight."""
    monkeypatch.setattr("dintero_claims_client._batch_run.SHORTEST_PAUSE", 0.001)
    client = await make_client(retry=RetryPolicy(max_attempts=1))
    server.on_token.extend([error_answer(401)] * 100)
    async with Journal.open(path) as journal:
        with pytest.raises(AuthenticationError):
            [one async for one in client.claim_many(make_rows(20), journal=journal, concurrency=4)]
        counts = await journal.counts()
    assert (counts.in_flight, counts.unknown, counts.pending) == (0, 0, counts.rows)
    assert server.posts == []


async def test_a_journal_after_a_loop_that_was_left(server, make_client, make_rows, path):
    """A journal is free for the next batch when the loop of the one before was left."""
    client = await make_client()
    async with Journal.open(path) as journal:
        async for _ in client.claim_many(make_rows(50), journal=journal, concurrency=5):
            break
        outcomes = [one async for one in client.claim_many(make_rows(50), journal=journal)]
    assert {type(one) for one in outcomes} == {Claimed}
    assert len(server.claims) == 50


async def test_a_journal_knows_whether_it_has_all_rows(server, make_client, make_rows, path):
    """The rows of a source that was left are not all in its journal, and a resume does not make them so."""
    client = await make_client()
    async with Journal.open(path) as journal:
        async with client.claim_many(make_rows(50), journal=journal, concurrency=5) as batch:
            await anext(batch)
        async for _ in client.resume(journal):
            pass
        assert not await journal.run(lambda store: store.has_all_rows)
        async for _ in client.claim_many(make_rows(50), journal=journal):
            pass
        assert await journal.run(lambda store: store.has_all_rows)
    assert len(server.claims) == 50


class _Width:
    def __init__(self, width):
        self.width = width


async def test_what_waits_is_written_together(path, monkeypatch):
    """Writes wait for one another until they are a share of what may be under way, and then are one write."""
    monkeypatch.setattr("dintero_claims_client.journal.GATHERING_SECONDS", 1000.0)
    write, groups = JournalStore.write, []
    monkeypatch.setattr(
        JournalStore, "write", lambda self, given: (groups.append(len(given)), write(self, given))
    )
    async with Journal.open(path) as journal:
        batch = _Width(80)
        await journal.acquire(batch, "T12345678")
        groups.clear()
        writes = [_write(journal, _journal_row(number)) for number in range(9)]
        await journal.counts()
        assert (groups, [one.done() for one in writes]) == ([], [False] * 9)
        await asyncio.gather(_write(journal, _journal_row(9)), *writes)
        assert groups == [10]
        batch.width = 7
        await _write(journal, MarkSent(3))
        assert groups == [10, 1]


@pytest.mark.parametrize(("width", "sizes"), [(80, [125, 125, 50]), (800, [200, 100])])
async def test_not_all_is_written_together(path, monkeypatch, width, sizes):
    """What waits is cut up, in its order, so that some rows are claimed while others are written down."""
    write, groups = JournalStore.write, []
    monkeypatch.setattr(
        JournalStore, "write", lambda self, given: (groups.append(len(given)), write(self, given))
    )
    written = []
    async with Journal.open(path) as journal:
        await journal.acquire(_Width(width), "T12345678")
        groups.clear()
        for number in range(300):
            journal.write(lambda error, number=number: written.append(number), _journal_row(number))
        await _write(journal, MarkSent(299))
    assert (groups[: len(sizes) - 1], sum(groups)) == (sizes[:-1], 301)
    assert written == list(range(300))


async def test_closing_answers_all_that_waits(path):
    """A journal that is closed by its owner has written all that waited, however many writes that takes."""
    written = []
    async with Journal.open(path) as journal:
        for number in range(300):
            journal.write(written.append, _journal_row(number))
    assert written == [None] * 300
    async with Journal.open(path) as journal:
        assert (await journal.counts()).rows == 300


async def test_a_closed_journal_answers_every_write(path):
    """Each write to a journal that is closed is told so, also where they are more than one group."""
    errors = []
    journal = Journal.open(path)
    async with journal:
        pass
    for number in range(300):
        journal.write(errors.append, _journal_row(number))
    await asyncio.wait_for(journal._flush(), 10)
    assert {type(error) for error in errors} == {JournalError}
    assert len(errors) == 300


async def test_what_waits_is_written_after_a_moment(path, monkeypatch):
    """A write for which no others come is written all the same."""
    monkeypatch.setattr("dintero_claims_client.journal.GATHERING_SECONDS", 0.001)
    async with Journal.open(path) as journal:
        await journal.acquire(_Width(80), "T12345678")
        await _write(journal, _journal_row(0))
        await _write(journal, MarkSent(0))
        assert (await journal.counts()).in_flight == 1


def _write(journal, operation):
    """Return what is done with the error, if any, when the journal has written this."""
    written = asyncio.get_running_loop().create_future()
    journal.write(written.set_result, operation)
    return written


def _journal_row(number):
    return Row(number, f"order-{number}", False, b"digest", b"{}")


async def test_a_refusal_of_a_row_that_was_never_sent_is_believed(
    server, make_client, make_rows, path, monkeypatch
):
    """A refusal of a row of a new journal is what it says: no list is read for it, however long it is."""
    client = await make_client()
    monkeypatch.setattr(server, "_page", lambda incoming: json_answer([{"id": str(len(server.reads))}]))
    server.on_claim.extend([error_answer(422), server.commit, error_answer(422)])
    outcomes = await _run(client, make_rows(3), path, concurrency=1)
    assert [type(one) for one in outcomes] == [Rejected, Claimed, Rejected]
    assert server.reads == []


async def test_an_old_copy_of_a_journal_believes_no_refusal(server, make_client, make_rows, path):
    """A row that an old copy of a journal does not know is looked for when it is refused: it may be taken."""
    client = await make_client()
    rows = make_rows(2)
    await _run(client, rows[:1], path)
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    await _run(client, rows, path)
    server.on_claim.append(error_answer(422))
    first, second = await _run(client, rows, copy)
    assert (first.replayed, type(second), second.recovered) == (True, Claimed, True)
    server.on_claim.append(error_answer(422))
    *_, third = await _run(client, [*rows, *make_rows(5)[4:]], copy)
    assert isinstance(third, Rejected)


async def test_others_go_on_while_a_row_is_looked_for(server, make_client, make_rows, path, monkeypatch):
    """A row that is looked for, however long the list is, keeps no other from its place."""
    client = await make_client()
    rows = make_rows(12)
    await _run(client, rows[:1], path)
    page = server._page

    def long_list(incoming):
        # Until all the others are claimed.
        done = len(server.claims) == 11
        return page(incoming) if done else json_answer([{"id": str(len(server.reads))}])

    def refuse(incoming):
        server.on_claim.extend([server.commit] * 20)
        return error_answer(422)

    server.on_claim.append(refuse)
    monkeypatch.setattr(server, "_page", long_list)
    outcomes = await _run(client, rows, path, concurrency=2)
    assert Counter(type(one) for one in outcomes) == {Claimed: 11, Rejected: 1}


async def test_a_row_in_doubt_is_looked_for_as_long_as_it_takes(
    server, make_client, make_rows, path, monkeypatch
):
    """A list that takes longer than one call to go through is gone through for a row that may be taken."""
    rows = make_rows(1)
    await _cut_off(await make_client(), server, rows, path)
    client = await make_client(timeout=0.2)
    server.on_claim.extend([error_answer(422)] * 100)
    page = server._page

    def slow(incoming):
        # As a list of a thousand pages, each of which takes a moment.
        return json_answer([{"id": str(len(server.reads))}]) if len(server.reads) < 1000 else page(incoming)

    monkeypatch.setattr(server, "_page", slow)
    (outcome,) = await _run(client, rows, path)
    assert isinstance(outcome.error, APIStatusError)
    assert len(server.reads) >= 1000


async def test_a_long_list_that_lags_behind_is_read_again(server, make_client, make_rows, path, monkeypatch):
    """A row in doubt that the whole list does not show at first is found, also where that takes long."""
    rows = make_rows(1)
    client = await make_client(timeout=0.2)
    server.gate.clear()
    run = asyncio.create_task(_run(client, rows, path))
    await server.until(lambda: server.held == 1)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    server.gate.set()
    await server.until(lambda: server.claims)
    server.on_claim.extend([error_answer(422)] * 100)
    page = server._page

    def lagging(incoming):
        number = len(server.reads)
        return (
            json_answer([{"id": str(number)}] if number < 1000 else []) if number <= 1000 else page(incoming)
        )

    monkeypatch.setattr(server, "_page", lagging)
    (outcome,) = await _run(client, rows, path)
    assert (type(outcome), outcome.recovered) == (Claimed, True)
