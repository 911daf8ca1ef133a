"""An input that is read wholly into the journal before anything is sent."""

import json
import tracemalloc
from contextlib import closing

import pytest
from support.journals import all_records, claimed, read, refused, row, taken

from dintero_claims_client import JournalError
from dintero_claims_client._journal import (
    Counts,
    JournalStore,
    Kind,
    MarkSent,
    Outcome,
    Reject,
    SetOutcome,
)

SOURCE = {"file": "claims.csv"}


def _conflicting(lines):
    return json.dumps({"lines": list(lines)}).encode()


def _read_in(store, rows, rejects=(), facts=None):
    store.begin_input(SOURCE)
    store.add_input(rows, rejects)
    store.finish_input(facts or {}, conflicting=_conflicting)


def test_an_input(store, path):
    """Rows and rejects come back after reopening, with what is known of the input."""
    rejects = [Reject(3, b'{"why":"utf-8"}'), Reject(7, b"{}")]
    store.begin_input(SOURCE)
    assert (store.input, store.is_input_complete) == (SOURCE, False)
    store.add_input([row(0), row(1)], rejects[:1])
    store.add_input([row(2)], rejects[1:])
    store.finish_input({"digest": "abc", "file": "renamed.csv"}, conflicting=_conflicting)
    store.close()
    with closing(JournalStore.open(path)) as store:
        assert [record.row for record in all_records(store)] == [row(0), row(1), row(2)]
        assert store.rejects(0, 10) == rejects
        assert store.rejects(4, 10) == store.rejects(7, 1) == rejects[1:]
        assert store.rejects(0, 1) == rejects[:1]
        assert (store.input, store.is_input_complete) == ({"file": "renamed.csv", "digest": "abc"}, True)
        assert store.counts().rejects == 2
        store.write(claimed(0)[1:])


def test_a_reading_that_was_cut_short(store, path):
    """A reading that was not finished is begun anew, and what it got is forgotten, also on the disk."""
    store.begin_input({"file": "first.csv"})
    store.add_input([row(0, body=b"forgotten"), row(1), row(2)], [Reject(1, b"forgotten")])
    store.write([SetOutcome(0, Outcome(Kind.REJECTED, b"forgotten"))])
    store.close()
    store = JournalStore.open(path)
    assert not store.is_input_complete
    _read_in(store, [row(0)])
    assert [record.row for record in all_records(store)] == [row(0)]
    assert (store.input, store.rejects(0, 10), store.counts().rejected) == (SOURCE, [], 0)
    store.close()
    assert b"forgotten" not in path.read_bytes()
    assert [record.row for record in read(path)] == [row(0)]


def test_nothing_is_sent_before_the_input_is_complete(store):
    """A row is not sent before it is known whether another one contradicts it."""
    store.begin_input(SOURCE)
    store.add_input([row(0)], [])
    with pytest.raises(JournalError, match="before the input is complete"):
        store.write([MarkSent(0)])


def test_an_input_is_read_once(store):
    """A complete input is not read again, nor added to."""
    _read_in(store, [row(0)])
    with pytest.raises(JournalError, match="has its input already"):
        store.begin_input(SOURCE)
    with pytest.raises(JournalError, match="no input that is being read"):
        store.add_input([row(1)], [])
    with pytest.raises(JournalError, match="no input that is being read"):
        store.finish_input({}, conflicting=_conflicting)
    assert [record.row for record in all_records(store)] == [row(0)]


def test_an_input_that_was_not_begun(store):
    """Without an input there is nothing to add to or to finish, and rows that came one by one stay."""
    with pytest.raises(JournalError, match="no input that is being read"):
        store.add_input([row(0)], [])
    with pytest.raises(JournalError, match="no input that is being read"):
        store.finish_input({}, conflicting=_conflicting)
    store.write(claimed(0))
    with pytest.raises(JournalError, match="come from no input"):
        store.begin_input(SOURCE)
    assert len(all_records(store)) == 1


def test_rows_that_repeat_a_row(store):
    """Rows with the ref and digest of an earlier one are its repetitions: not sent, and with its outcome."""
    same = {"ref": "order-1", "digest": b"d"}
    _read_in(store, [row(0), row(1, **same), row(2, **same), row(3), row(4, **same)])
    assert [record.duplicate_of for record in all_records(store)] == [None, None, 1, None, 1]
    assert [record.row.number for record in store.unsettled(0, 10)] == [0, 1, 3]
    counts = dict.fromkeys(("in_flight", "taken", "refused", "rejected", "unknown", "rejects"), 0)
    assert store.counts() == Counts(rows=5, pending=3, duplicates=2, **counts)
    store.write([MarkSent(1), SetOutcome(1, taken(1))])
    assert [record.outcome for record in all_records(store)] == [None, taken(1), taken(1), None, taken(1)]
    assert [record.sent for record in all_records(store)] == [False, True, False, False, False]
    assert store.counts() == Counts(rows=5, pending=2, duplicates=2, **counts | {"taken": 1})


@pytest.mark.parametrize("operation", [MarkSent(1), SetOutcome(1, taken(1))])
def test_a_repetition_is_not_claimed(store, operation):
    """A row that repeats another can neither be sent nor get an outcome of its own."""
    _read_in(store, [row(0), row(1, ref="order-0", digest=row(0).digest)])
    with pytest.raises(JournalError, match="repeats another"):
        store.write([operation])


def test_rows_that_contradict_one_another(store):
    """Of rows with one ref that differ none is sent: all are rejected, and say which lines they are."""
    rows = [
        row(0),
        row(1, ref="a", digest=b"1"),
        row(2, ref="a", digest=b"2"),
        row(3, ref="b", digest=b"1"),
        row(4, ref="a", digest=b"1"),
        row(5, ref="b", digest=b"1"),
        row(6, ref="c", line=None),
        row(7, ref="c", digest=b"x"),
        row(8, ref="c", line=None),
    ]
    _read_in(store, rows)
    rejected = {
        record.row.number: json.loads(record.outcome.data)["lines"]
        for record in all_records(store)
        if record.outcome is not None
    }
    assert rejected == {1: [2, 3, 5], 2: [2, 3, 5], 4: [2, 3, 5], 6: [8], 7: [8], 8: [8]}
    assert {r.outcome.kind for r in all_records(store) if r.outcome} == {Kind.REJECTED}
    assert [record.row.number for record in store.unsettled(0, 10)] == [0, 3]
    assert [r.row.number for r in all_records(store) if r.duplicate_of is not None] == [5]


def test_a_line_that_is_no_claim_contradicts_the_rows_of_its_ref(store):
    """Rows whose ref is also in a line that is no claim are rejected, all of them, and name that line too."""
    rows = [row(0, ref="a", digest=b"1"), row(1, ref="b"), row(2, ref="a", digest=b"1"), row(3, ref="c")]
    store.begin_input(SOURCE)
    store.add_input(
        rows, [Reject(50, b"{}", "a"), Reject(51, b"{}", "c"), Reject(52, b"{}"), Reject(53, b"{}", "x")]
    )
    store.finish_input({}, conflicting=_conflicting)
    rejected = {
        record.row.number: json.loads(record.outcome.data)["lines"]
        for record in all_records(store)
        if record.outcome is not None
    }
    assert rejected == {0: [50, 1, 3], 2: [50, 1, 3], 3: [51, 4]}
    assert [record.row.number for record in store.unsettled(0, 10)] == [1]


def test_only_own_refs_are_compared(store):
    """Rows without an own ref repeat and contradict nothing; refs differ by any character."""
    minted = {"ref": "minted", "minted": True}
    none = {"ref": None}
    _read_in(
        store,
        [
            row(0, **none), row(1, **none), row(2, **minted), row(3, **minted), row(4, ref="minted"),
            row(5, ref="A"), row(6, ref="a"), row(7, ref="a "), row(8, ref=""), row(9, ref="a\0"),
        ],
    )  # fmt: skip
    assert [record.row.number for record in store.unsettled(0, 20)] == list(range(10))


def test_a_row_that_has_its_outcome_keeps_it(store):
    """A row that was rejected while reading stays rejected for its own reason."""
    own = Outcome(Kind.REJECTED, b'{"field":"amount"}')
    store.begin_input(SOURCE)
    store.add_input([row(0, ref="a"), row(1, ref="a")], [])
    store.write([SetOutcome(0, own)])
    store.finish_input({}, conflicting=_conflicting)
    assert [record.outcome for record in all_records(store)] == [
        own, Outcome(Kind.REJECTED, b'{"lines": [1, 2]}')
    ]  # fmt: skip


def test_finishing_is_all_or_nothing(store, path):
    """Finishing that fails halfway leaves the reading unfinished, with nothing marked."""
    store.begin_input(SOURCE)
    store.add_input(
        [row(0, ref="a"), row(1, ref="a", digest=row(0).digest), row(2, ref="b"), row(3, ref="b")], []
    )

    def fail(_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.finish_input({}, conflicting=fail)
    store.close()
    with closing(JournalStore.open(path)) as store:
        assert not store.is_input_complete
        assert store.counts().pending == 4
        _read_in(store, [row(0)])


@pytest.mark.parametrize("differ", [False, True], ids=["the same", "different"])
def test_many_rows_of_one_ref_take_little_memory(store, differ):
    """Finding repetitions and contradictions among many rows keeps none of them in memory."""
    size = 20_000
    store.begin_input(SOURCE)
    for first in range(0, size, 1000):
        rows = [row(n, ref="a", digest=b"d", body=b"x" * 100) for n in range(first, first + 1000)]
        store.add_input(rows, [])
    store.add_input([row(size, ref="a", digest=b"other" if differ else b"d")], [])
    tracemalloc.start()
    store.finish_input({}, conflicting=lambda lines: b"%d" % len(lines))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Bodies alone would be 2 MB, and the rows more.
    assert peak < 1_500_000
    counts = store.counts()
    assert (counts.duplicates, counts.rejected) == ((0, size + 1) if differ else (size, 0))
    if differ:
        assert {r.outcome.data for r in store.records(size - 5, 10)} == {b"20001"}


def test_repetitions_of_a_refused_row_follow_it(store):
    """When a refused row is pending again, so are those that repeat it."""
    _read_in(store, [row(0), row(1, ref="order-0", digest=row(0).digest)])
    store.write([MarkSent(0), SetOutcome(0, refused(0))])
    assert store.requeue_refused() == (1, 0)
    assert [record.outcome for record in all_records(store)] == [None, None]
