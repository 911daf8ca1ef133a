"""What is written to a journal, and what it then says."""

from contextlib import ExitStack, closing

import pytest
from support.journals import UNKNOWN, all_records, claimed, record_of, refused, row, taken

from dintero_claims_client import JournalError
from dintero_claims_client._journal import (
    Counts,
    JournalStore,
    Kind,
    MarkSent,
    MarkUnsent,
    Outcome,
    Record,
    SetOutcome,
    encoding,
)

COUNTS = dict.fromkeys(
    ("rows", "pending", "in_flight", "taken", "refused", "rejected", "unknown", "duplicates", "rejects"), 0
)


@pytest.fixture
def reopen():
    """Return what closes a journal and opens it again, until the test is over."""
    with ExitStack() as opened:

        def reopen(store, path):
            store.close()
            return opened.enter_context(closing(JournalStore.open(path)))

        yield reopen


def test_what_is_written_is_there_after_reopening(store, path, reopen):
    """Every row, mark and outcome comes back as it was written."""
    rejected = Outcome(Kind.REJECTED, b'{"field":"ref"}')
    recovered = Outcome(Kind.TAKEN, b"{}", recovered=True)
    rows = [
        row(0),
        row(1, ref=None, minted=True, body=None, line=None),
        row(2, ref="\ud800 \0 æøå", digest=b"", body=b""),
        row(3),
        row(4),
        row(5),
    ]
    store.write([*rows, MarkUnsent(1), MarkSent(0), MarkUnsent(3), MarkUnsent(0)])
    store.write([MarkSent(0)])
    store.write([SetOutcome(2, rejected), SetOutcome(4, recovered), SetOutcome(5, UNKNOWN)])
    expected = [
        Record(rows[0], sent=True, outcome=None),
        Record(rows[1], sent=False, outcome=None),
        Record(rows[2], sent=True, outcome=rejected),
        Record(rows[3], sent=False, outcome=None),
        Record(rows[4], sent=True, outcome=recovered),
        Record(rows[5], sent=True, outcome=UNKNOWN),
    ]
    assert all_records(store) == expected
    store = reopen(store, path)
    assert all_records(store) == expected
    assert store.records(2, 2) == expected[2:4]
    assert store.next_number() == 6
    assert store.counts() == Counts(
        **COUNTS | {"rows": 6, "pending": 2, "in_flight": 1, "taken": 1, "rejected": 1, "unknown": 1}
    )
    store.close()


def test_a_new_journal_is_empty(store):
    """A journal that was just made has no rows, has no input and was not used."""
    assert store.counts() == Counts(**COUNTS)
    assert (store.next_number(), all_records(store), store.rejects(0, 10)) == (0, [], [])
    assert (store.was_used, store.input, store.is_input_complete, store.account_id) == (
        False,
        None,
        True,
        None,
    )


def test_unsettled_are_those_without_a_final_outcome(store):
    """A row that is new, sent or unknown is unsettled; one that is taken, refused or rejected is not."""
    store.write([row(number) for number in range(7)])
    store.write([MarkSent(number) for number in range(1, 6)])
    store.write([SetOutcome(2, UNKNOWN), SetOutcome(3, taken(3)), SetOutcome(4, refused(4))])
    store.write([SetOutcome(6, Outcome(Kind.REJECTED, b"{}"))])
    assert [record.row.number for record in store.unsettled(0, 10)] == [0, 1, 2, 5]
    assert [record.row.number for record in store.unsettled(1, 2)] == [1, 2]
    assert store.unsettled(0, 10) == [r for r in all_records(store) if r.row.number in (0, 1, 2, 5)]


def test_an_unknown_outcome_is_settled(store):
    """A final outcome takes the place of an unknown one, also in the same write."""
    store.write([row(0), MarkSent(0), SetOutcome(0, UNKNOWN)])
    store.write([SetOutcome(0, UNKNOWN)])
    store.write([MarkSent(0), SetOutcome(0, UNKNOWN), SetOutcome(0, taken(0))])
    assert all_records(store) == [record_of(0)]


@pytest.mark.parametrize(
    "other",
    [
        UNKNOWN,
        refused(0),
        taken(1),
        Outcome(Kind.TAKEN, taken(0).data, recovered=True),
        Outcome(Kind.REFUSED, taken(0).data),
    ],
    ids=["unknown", "refused", "another claim", "recovered", "the same data"],
)
def test_a_final_outcome_stays(store, path, other, reopen):
    """A final outcome is not overwritten: the same again changes nothing, and another one is refused."""
    store.write(claimed(0))
    store.write([SetOutcome(0, taken(0))])
    with pytest.raises(JournalError, match="has another outcome"):
        store.write([row(1), SetOutcome(0, other)])
    assert all_records(store) == [record_of(0)]
    assert all_records(reopen(store, path)) == [record_of(0)]


def test_what_has_its_outcome_is_not_sent_again(store):
    """A row with a final outcome cannot be marked as sent, so it cannot be claimed twice."""
    store.write([*claimed(0), row(1), MarkSent(1), SetOutcome(1, UNKNOWN)])
    store.write([MarkSent(1)])
    with pytest.raises(JournalError, match="settled"):
        store.write([MarkSent(0)])


@pytest.mark.parametrize("first", [1, 3, -1])
def test_rows_have_no_gaps(store, first):
    """A row whose number is not the next is refused, since a gap means that a row was lost."""
    store.write([row(0), row(1)])
    with pytest.raises(JournalError, match="the next is row 2"):
        store.write([row(first)])
    assert store.next_number() == 2


@pytest.mark.parametrize("operation", [MarkSent(1), MarkSent(-1), SetOutcome(1, taken(1))])
def test_nothing_is_known_of_a_row_that_is_not_there(store, operation):
    """Neither a mark nor an outcome can be about a row that the journal does not have."""
    with pytest.raises(JournalError, match="there is no row"):
        store.write([row(0), operation])
    assert all_records(store) == []


def test_a_group_is_written_whole_or_not_at_all(store, path, reopen):
    """What is refused takes all of its group with it, and nothing is written after it."""
    store.write(claimed(0))
    with pytest.raises(JournalError):
        store.write([*claimed(1), SetOutcome(0, refused(0))])
    with pytest.raises(JournalError, match="not written any more"):
        store.write(claimed(1))
    store = reopen(store, path)
    assert all_records(store) == [record_of(0)]
    store.write(claimed(1))
    store.write([])
    assert all_records(store) == [record_of(0), record_of(1)]
    store.close()


def test_resuming_is_noticed(store, path, reopen):
    """A journal was used when there was an intent to send something before it was opened."""
    store = reopen(store, path)
    assert not store.was_used
    store.write([row(0)])
    assert not store.was_used
    store = reopen(store, path)
    assert store.was_used


def test_a_row_without_a_mark_may_have_been_sent(store, path, reopen):
    """A row that no input has is its own intent, until it is marked as not sent."""
    store.write([row(0), row(1), MarkUnsent(1)])
    store = reopen(store, path)
    assert [record.sent for record in all_records(store)] == [True, False]
    assert (store.counts().in_flight, store.counts().pending) == (1, 1)


def test_resuming_an_input_is_noticed(store, path, reopen):
    """A journal that has an input was used when something of it was marked as sent."""
    store.begin_input({"file": "claims.csv"})
    store.add_input([row(0), row(1)], [])
    store.finish_input({}, conflicting=lambda _: b"{}")
    store = reopen(store, path)
    assert not store.was_used
    assert [record.sent for record in all_records(store)] == [False, False]
    store.write([MarkSent(0)])
    assert not store.was_used
    store = reopen(store, path)
    assert store.was_used
    assert [record.sent for record in all_records(store)] == [True, False]
    assert (store.counts().in_flight, store.counts().pending) == (1, 1)


def test_the_last_rows_of_a_source_may_be_missing(store):
    """A journal whose source is at its end has all rows when as many are there as that had."""
    assert not store.has_all_rows
    store.write([row(0)])
    store.finish_source(2)
    assert not store.has_all_rows
    store.write([row(1)])
    assert store.has_all_rows


def test_rows_of_an_input_are_all_there(store):
    """To a journal with an input no row is added that the input does not have."""
    store.begin_input({"file": "claims.csv"})
    store.finish_input({}, conflicting=lambda _: b"{}")
    with pytest.raises(JournalError, match="its rows are those of its input"):
        store.write([row(0)])


def test_one_account(store, path, reopen):
    """A journal stays with the account that it was first used for."""
    store.bind_account("T12345678")
    store.bind_account("T12345678")
    store = reopen(store, path)
    assert store.account_id == "T12345678"
    with pytest.raises(JournalError, match=r"T12345678.*T87654321"):
        store.bind_account("T87654321")
    store.write(claimed(0))
    store.close()


def test_a_minted_ref_is_always_the_same(store, path, tmp_path, reopen):
    """The ref of a row follows from the journal, the number and the claim, and differs for any other."""
    refs = [store.ref_for(number, b"claim") for number in range(3)]
    assert store.ref_for(0, b"another claim") not in refs
    store = reopen(store, path)
    assert refs == [store.ref_for(number, b"claim") for number in range(3)]
    other = JournalStore.open(tmp_path / "other")
    assert len({*refs, other.ref_for(0, b"claim"), other.ref_for(1, b"claim")}) == 5
    other.close()
    store.close()


def test_a_digest_cannot_be_guessed_without_the_journal(store, path, tmp_path, reopen):
    """The digest of a claim is the same in one journal, and another in each other journal."""
    digest = store.digest(b"{}")
    assert (len(digest), digest == store.digest(b"{ }")) == (16, False)
    store = reopen(store, path)
    assert store.digest(b"{}") == digest
    other = JournalStore.open(tmp_path / "other")
    assert other.digest(b"{}") != digest
    other.close()
    store.close()


def test_checksums_are_those_of_every_version():
    """The checksum of a record does not change, or journals of earlier versions would seem damaged."""
    columns = encoding.row_columns(row(7, ref="æ\u200b\U0001fae9\ud800"))
    assert columns[-1] == 1142100903
    assert encoding.outcome_columns(7, taken(7))[-1] == 2177819796
    assert encoding.sent_columns(7, under_way=True)[-1] == 528124886
    assert encoding.fact_columns("input", b"{}")[-1] == 3175716411


def test_an_outcome_of_no_kind():
    """A kind that this library does not know is an error, and not an outcome that is passed over."""
    with pytest.raises(encoding.DamagedError, match="kind"):
        encoding.read_kind("lost")


def test_requeued_rows_are_pending(store, path, reopen):
    """A refused row is pending again with its ref and body, and is not known as one that was sent."""
    store.write([operation for number in range(3) for operation in claimed(number)[:2]])
    store.write([row(3), SetOutcome(0, taken(0)), SetOutcome(1, refused(1)), SetOutcome(3, refused(3))])
    assert store.requeue_refused() == (2, 0)
    store = reopen(store, path)
    assert [record.row.number for record in store.unsettled(0, 10)] == [1, 2, 3]
    assert store.records(1, 1) == [Record(row(1), sent=False, outcome=None)]
    assert store.records(3, 1) == [Record(row(3), sent=False, outcome=None)]
    assert store.counts() == Counts(**COUNTS | {"rows": 4, "pending": 2, "in_flight": 1, "taken": 1})
    store.write([MarkSent(1)])
    assert store.counts() == Counts(**COUNTS | {"rows": 4, "pending": 1, "in_flight": 2, "taken": 1})
    store.write([SetOutcome(1, taken(1))])
    assert store.requeue_refused() == (0, 0)
    store.close()


def test_what_was_not_sent_after_all_is_pending(store, path, reopen):
    """A row that was to be sent, and was not, is pending again; one that has its outcome keeps it."""
    store.write([*claimed(0)[:2], *claimed(1)[:2], SetOutcome(1, taken(1))])
    store.write([MarkUnsent(0), MarkUnsent(1)])
    store = reopen(store, path)
    assert store.counts() == Counts(**COUNTS | {"rows": 2, "pending": 1, "taken": 1})
    assert [record.row.number for record in store.unsettled(0, 10)] == [0]
    store.write([MarkSent(0)])
    assert store.records(0, 1)[0].sent
    store.close()


def test_a_purged_row_is_not_requeued(store):
    """A refused row without its body cannot be sent, stays refused, and is counted."""
    store.write([*claimed(0)[:2], SetOutcome(0, refused(0))])
    store.purge()
    store.write([*claimed(1)[:2], SetOutcome(1, refused(1))])
    assert store.requeue_refused() == (1, 1)
    assert [record.outcome is None for record in all_records(store)] == [False, True]


def test_more_rows_than_a_batch_are_requeued(store):
    """Requeueing reaches every refused row, however many there are."""
    store.write([operation for number in range(2500) for operation in claimed(number)[:2]])
    store.write([SetOutcome(number, refused(number)) for number in range(0, 2500, 2)])
    store.write([SetOutcome(number, taken(number)) for number in range(1, 2500, 2)])
    assert store.requeue_refused() == (1250, 0)
    assert [record.row.number for record in store.unsettled(0, 2500)] == list(range(0, 2500, 2))


def test_a_closed_journal_says_so(store):
    """After closing, every method raises an error of this library, and closing again does nothing."""
    store.write(claimed(0))
    store.close()
    store.close()
    for use in (
        lambda: store.write(claimed(1)),
        lambda: store.records(0, 1),
        lambda: store.unsettled(0, 1),
        lambda: store.rejects(0, 1),
        store.counts,
        store.next_number,
        store.purge,
        store.requeue_refused,
        lambda: store.account_id,
        lambda: store.input,
        lambda: store.bind_account("T12345678"),
    ):
        with pytest.raises(JournalError, match="closed"):
            use()


def test_no_error_shows_what_a_row_holds(store):
    """What is refused is told by the row's number, not by its contents."""
    with pytest.raises(JournalError) as caught:
        store.write([row(9, ref="personal", body=b"personal")])
    assert "personal" not in str(caught.value)
    assert "person" not in repr(record_of(0))
