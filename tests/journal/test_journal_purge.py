"""Erasing what a journal holds of persons, from the disk too."""

from contextlib import closing

import pytest
from support.journals import UNKNOWN, all_records, claimed, refused, row, taken

from dintero_claims_client import JournalError
from dintero_claims_client._journal import (
    JournalStore,
    Kind,
    MarkSent,
    Outcome,
    Record,
    Reject,
    SetOutcome,
    erasing,
)


def _bytes_on_disk(path):
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def _filled(path, rows):
    journal = JournalStore.open(path)
    journal.begin_input({"file": "claims.csv"})
    copies = [row(n, ref=f"order-{n - rows}", digest=row(n - rows).digest) for n in range(rows, 2 * rows)]
    journal.add_input(
        [row(n) for n in range(rows)] + copies, [Reject(99, b'{"person":"unread"}', "of-a-line")]
    )
    journal.finish_input({}, conflicting=lambda lines: b"{}")
    journal.write([MarkSent(n) for n in range(rows)])
    return journal


def test_what_is_settled_is_erased_from_the_disk(path):
    """Of settled rows nothing of a person is left in any file, also while the journal stays open."""
    rows = 2500
    with closing(_filled(path, rows)) as journal:
        journal.write([SetOutcome(n, taken(n) if n % 2 else refused(n)) for n in range(rows)])
        on_disk = _bytes_on_disk(path)
        assert all(what in on_disk for what in (b"body-002499", b"data-002499", b"unread", b"body-004999"))
        (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
        assert journal.purge() == 2 * rows
        assert path.stat().st_size < pages * 4096 * 3 / 4
        on_disk = _bytes_on_disk(path)
        for what in (b"body-", b"data-", b"unread", b"person"):
            assert what not in on_disk
        assert journal.rejects(0, 10) == [Reject(99, b"{}", "of-a-line")]
        expected = [
            Outcome(Kind.TAKEN, b'{"id": "claim-%06d"}' % n) if n % 2 else Outcome(Kind.REFUSED, b"{}")
            for n in range(rows)
        ]
        records = all_records(journal)
        assert [record.outcome for record in records] == expected * 2
        assert [record.row for record in records[:rows]] == [row(n, body=None) for n in range(rows)]
        assert journal.purge() == 0
    with closing(JournalStore.open(path)) as journal:
        assert all_records(journal) == records


def test_what_is_unsettled_keeps_all(path):
    """Rows that are pending, sent or unknown keep everything, and so do those that repeat them."""
    with closing(_filled(path, 4)) as journal:
        journal.write([SetOutcome(1, UNKNOWN), SetOutcome(2, Outcome(Kind.REJECTED, b'{"person":"data-2"}'))])
        before = all_records(journal)
        assert journal.purge() == 2
        after = all_records(journal)
        assert [n for n in range(8) if before[n] != after[n]] == [2, 6]
        assert after[2] == Record(row(2, body=None), sent=True, outcome=Outcome(Kind.REJECTED, b"{}"))
        journal.write([SetOutcome(0, taken(0))])
        assert journal.purge() == 2
        assert all_records(journal)[0].outcome.data == b'{"id": "claim-000000"}'


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b'{"id":"a","ref":"b"}', b'{"id": "a"}'),
        (b'{"id":["a"]}', b"{}"),
        (b'{"ref":"b"}', b"{}"),
        (b'["id"]', b"{}"),
        (b"\xff", b"{}"),
        (b"{}", b"{}"),
    ],
)
def test_only_the_id_of_a_claim_is_kept(path, data, kept):
    """Of a taken claim its id stays, and whether it was recovered; of data in no known form nothing does."""
    with closing(JournalStore.open(path)) as journal:
        journal.write([*claimed(0)[:2], SetOutcome(0, Outcome(Kind.TAKEN, data, recovered=True))])
        assert journal.purge() == 1
        assert all_records(journal)[0].outcome == Outcome(Kind.TAKEN, kept, recovered=True)


def test_a_row_without_a_body_is_erased_too(path):
    """A row that never could be encoded has its reasons erased; what repeats it has none of its own."""
    with closing(JournalStore.open(path)) as journal:
        journal.begin_input({})
        journal.add_input([row(n, ref="order", digest=b"", body=None) for n in range(2)], [])
        journal.finish_input({}, conflicting=lambda lines: b"{}")
        journal.write([SetOutcome(0, Outcome(Kind.REJECTED, b'{"person":"x"}'))])
        assert journal.purge() == 1
        assert all_records(journal)[1].outcome == Outcome(Kind.REJECTED, b"{}")
        assert journal.purge() == 0


def test_purging_beside_a_reader(path):
    """Where a reader keeps old pages in use, purging says that it was not complete, and is when repeated."""
    with closing(_filled(path, 5)) as journal:
        journal.write([SetOutcome(n, taken(n)) for n in range(5)])
        journal._connection.execute("PRAGMA busy_timeout = 0")
        with closing(JournalStore.open_for_reading(path)) as reader:
            reader._connection.execute("BEGIN")
            all_records(reader)
            with pytest.raises(JournalError, match="purge again"):
                journal.purge()
        assert journal.purge() == 0
        assert b"person" not in _bytes_on_disk(path)


def test_a_purge_that_was_cut_short(path):
    """A purge that ended between the change and the cleaning of the file is completed by the next."""
    with closing(_filled(path, 5)) as journal:
        journal.write([SetOutcome(n, taken(n)) for n in range(5)])
        with journal._transaction() as connection:
            assert erasing.erase(connection) == 10
    with closing(JournalStore.open(path)) as journal:
        assert all(record.row.body is None for record in all_records(journal))
        assert journal.purge() == 0
        assert b"person" not in _bytes_on_disk(path)
