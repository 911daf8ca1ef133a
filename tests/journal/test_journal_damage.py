"""A journal whose file was damaged: it is refused, or says exactly what was written."""

import random
import sqlite3
from contextlib import closing

import pytest
from support.journals import UNKNOWN, all_records, claimed, execute, read, refused, row

from dintero_claims_client import JournalError
from dintero_claims_client._journal import JournalStore, MarkSent, Reject, SetOutcome, schema

ROWS = 40
LEAF = 13


@pytest.fixture
def filled(path):
    """Return the path of a closed journal that has something in every table, and pages of every kind."""
    with closing(JournalStore.open(path)) as store:
        store.bind_account("T12345678")
        store.begin_input({"file": "claims.csv"})
        rows = [row(number) for number in range(ROWS)]
        rows += [row(ROWS, ref="order-1", digest=rows[1].digest), row(ROWS + 1, body=b"b" * 20_000)]
        store.add_input(rows, [Reject(90, b'{"why":"utf-8"}', "order-90"), Reject(91, b"{}")])
        store.finish_input({"digest": "abc"}, conflicting=lambda lines: b"{}")
        for number in range(10):
            store.write(claimed(number)[1:])
        store.write([MarkSent(10), SetOutcome(10, refused(10)), MarkSent(11), SetOutcome(11, UNKNOWN)])
        store.write([MarkSent(12)])
    return path


def _everything(store):
    return (
        all_records(store),
        store.unsettled(0, 1000),
        store.rejects(0, 100),
        store.counts(),
        store.input,
        store.account_id,
        store.ref_for(0, b""),
        store.digest(b""),
        store.is_input_complete,
    )


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("UPDATE claim SET number = 99 WHERE number = 41", "row 99"),
        ("UPDATE claim SET ref = CAST('order-x' AS BLOB) WHERE number = 3", "row 3"),
        ("UPDATE claim SET ref = NULL WHERE number = 3", "row 3"),
        ("UPDATE claim SET minted = 1 WHERE number = 3", "row 3"),
        ("UPDATE claim SET digest = x'00' WHERE number = 3", "row 3"),
        ("UPDATE claim SET body = x'7b7d' WHERE number = 3", "row 3"),
        ("UPDATE claim SET body = 7 WHERE number = 3", "row 3"),
        ("UPDATE claim SET body = NULL WHERE number = 3", "row 3"),
        ("UPDATE claim SET body = CAST(x'ff706572736f6e' AS TEXT) WHERE number = 3", "row 3"),
        ("UPDATE claim SET line = 5 WHERE number = 3", "row 3"),
        ("UPDATE claim SET crc = crc + 1 WHERE number = 3", "row 3"),
        ("UPDATE outcome SET kind = 'refused' WHERE number = 4", "outcome of row 4"),
        ("UPDATE outcome SET data = x'7b7d' WHERE number = 4", "outcome of row 4"),
        ("UPDATE outcome SET recovered = 1 WHERE number = 4", "outcome of row 4"),
        ("UPDATE outcome SET kind = CAST(kind AS BLOB) WHERE number = 11", "outcome of row 11"),
        ("UPDATE outcome SET data = CAST(data AS TEXT) WHERE number = 4", "outcome of row 4"),
        ("UPDATE claim SET ref = 'order-3' WHERE number = 3", "row 3"),
        ("UPDATE outcome SET number = 12 WHERE number = 4", "outcome of row 12"),
        ("UPDATE sent SET number = 20 WHERE number = 12", "row 20 was sent"),
        ("UPDATE sent SET under_way = 0 WHERE number = 12", "row 12 was sent"),
        ("UPDATE repetition SET original = 2", "row 40 repeats"),
        ("UPDATE repetition SET number = 41", "row 41 repeats"),
        ("UPDATE reject SET data = x'7b7d' WHERE line = 90", "line 90"),
        ("UPDATE reject SET line = 80 WHERE line = 90", "line 80"),
        ("UPDATE fact SET value = CAST('P1' AS BLOB) WHERE key = 'account_id'", "fact"),
        ("UPDATE fact SET key = 'account' WHERE key = 'account_id'", "fact"),
        ("DELETE FROM fact WHERE key = 'journal_id'", "journal_id is gone"),
        ("DELETE FROM fact WHERE key = 'digest_key'", "digest_key is gone"),
        ("DELETE FROM claim WHERE number = 7", "numbered from 0 to 41"),
        ("DELETE FROM claim WHERE number = 0", "numbered from 1 to 41"),
        ("DELETE FROM claim WHERE number >= 41", "read in with 42"),
        ("DELETE FROM claim", "read in with 42"),
        ("DROP TABLE sent", "tables"),
        ("CREATE INDEX by_ref ON claim (ref)", "tables"),
        ("ALTER TABLE outcome ADD COLUMN more", "tables"),
        ("PRAGMA user_version = 0", "version"),
    ],
)
def test_a_change_to_any_value_is_found(filled, change, where):
    """A record that was changed, moved or taken away is found on opening, and named."""
    execute(filled, change)
    with pytest.raises(JournalError, match=f"is damaged: .*{where}") as caught:
        JournalStore.open(filled)
    assert "person" not in str(caught.value)
    # Nothing stays open or locked.
    with pytest.raises(JournalError, match="is damaged"):
        JournalStore.open(filled)


@pytest.mark.parametrize("change", [MarkSent(0), SetOutcome(0, UNKNOWN)], ids=["sent", "outcome"])
def test_what_is_known_of_a_row_that_is_gone(path, change):
    """A mark or an outcome whose row is gone shows that a row was lost at the end."""
    with closing(JournalStore.open(path)) as store:
        store.write([row(0), change])
    execute(path, "DELETE FROM claim")
    with pytest.raises(JournalError, match="there is no row 0"):
        JournalStore.open(path)


@pytest.mark.parametrize("change", ["UPDATE {} SET number = number", "VACUUM"])
def test_the_tests_own_changes_are_not_what_is_found(filled, change):
    """A file that was written by another SQLite, with the same in it, is no damaged one."""
    before = read(filled)
    for table in ("claim", "sent", "outcome", "repetition"):
        execute(filled, change.format(table))
    assert read(filled) == before


@pytest.mark.parametrize(
    ("change", "use"),
    [
        ("UPDATE claim SET body = x'7b7d' WHERE number = 3", lambda reader: reader.records(0, 10)),
        ("UPDATE sent SET under_way = 0 WHERE number = 3", lambda reader: reader.records(0, 10)),
        ("UPDATE outcome SET data = x'7b7d' WHERE number = 3", lambda reader: reader.records(0, 10)),
        ("UPDATE sent SET under_way = 0 WHERE number = 3", lambda reader: reader.counts()),
        ("UPDATE outcome SET kind = 'refused' WHERE number = 3", lambda reader: reader.counts()),
        ("UPDATE repetition SET original = 2", lambda reader: reader.records(0, 100)),
        ("UPDATE reject SET data = x'00' WHERE line = 90", lambda reader: reader.rejects(0, 100)),
        ("UPDATE fact SET value = x'00' WHERE key = 'account_id'", lambda reader: reader.account_id),
    ],
)
def test_a_reader_checks_what_it_reads(filled, change, use):
    """A reader, which does not check everything on opening, raises for a damaged record that it comes to."""
    with closing(JournalStore.open_for_reading(filled)) as reader:
        use(reader)
        # Behind its back, so that opening could not find it.
        execute(filled, change)
        with pytest.raises(JournalError, match="is damaged"):
            use(reader)


@pytest.mark.parametrize("seed", range(4))
def test_a_byte_changed_anywhere_in_the_file(filled, seed):
    """Whatever bit of the file is changed, the journal is refused, or holds exactly what was written."""
    chance = random.Random(seed)
    with closing(JournalStore.open(filled)) as store:
        expected = _everything(store)
    content = filled.read_bytes()
    outcomes = set()
    for _ in range(60):
        at = chance.choice([chance.randrange(len(content)), chance.randrange(100)])
        changed = bytearray(content)
        changed[at] ^= 1 << chance.randrange(8)
        for open_it in (JournalStore.open_for_reading, JournalStore.open):
            filled.write_bytes(changed)
            try:
                with closing(open_it(filled)) as store:
                    assert _everything(store) == expected, at
            except JournalError:
                outcomes.add("refused")
            else:
                outcomes.add("whole")
            for suffix in ("-wal", "-shm"):
                filled.with_name(filled.name + suffix).unlink(missing_ok=True)
    assert outcomes == {"refused", "whole"}


@pytest.mark.parametrize("size", [1000, 4096, 8192, 20_000, -4096, -1])
def test_a_file_that_was_cut_short(filled, size):
    """A file of which the end is missing is refused."""
    content = filled.read_bytes()
    filled.write_bytes(content[:size])
    with pytest.raises(JournalError, match="damaged"):
        JournalStore.open(filled)


@pytest.mark.parametrize("byte", [0xC5, 0x00, 0x22, 0x78])
def test_a_table_whose_definition_was_damaged(filled, byte):
    """A byte changed in the names or definitions of tables is refused, also where it leaves no text."""
    content = filled.read_bytes()
    for place in (b"outcomeoutcome", b"CREATE TABLE outcome", b"EATE TABLE outcome", b"kind TEXT, data BLOB"):
        at = content.index(place)
        filled.write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
        for use in (JournalStore.open_for_reading, JournalStore.open):
            with pytest.raises(JournalError):
                use(filled)


def test_a_page_that_was_lost(filled):
    """A page of zeros is refused, whichever it is."""
    content = filled.read_bytes()
    for at in range(0, len(content), 4096):
        filled.write_bytes(content[:at] + bytes(4096) + content[at + 4096 :])
        with pytest.raises(JournalError):
            JournalStore.open(filled)
        with pytest.raises(JournalError), closing(JournalStore.open_for_reading(filled)) as reader:
            _everything(reader)


def test_a_record_that_a_page_does_not_show(filled):
    """A page that says that it holds one record less is refused, also by a reader."""
    content = filled.read_bytes()
    pages = [at for at in range(4096, len(content), 4096) if content[at] == LEAF and content[at + 4]]
    assert len(pages) > 5
    for at in pages:
        filled.write_bytes(content[: at + 4] + bytes([content[at + 4] - 1]) + content[at + 5 :])
        for use in (JournalStore.open_for_reading, JournalStore.open):
            with pytest.raises(JournalError, match="damaged"):
                use(filled)


def test_damage_that_comes_while_it_is_open(filled):
    """Damage that is met later raises an error of this library too, for reading as for writing."""
    with closing(JournalStore.open(filled)) as store:
        size = filled.stat().st_size
        with filled.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        store._connection.execute("PRAGMA shrink_memory")
        with pytest.raises(JournalError):
            all_records(store)
        with pytest.raises(JournalError):
            store.write(claimed(ROWS + 2))


def test_a_journal_of_a_later_version(filled):
    """A journal that a later version of this library made is refused with both versions, and kept."""
    execute(filled, "PRAGMA user_version = 2")
    content = filled.read_bytes()
    for use in (JournalStore.open, JournalStore.open_for_reading):
        with pytest.raises(JournalError, match="has version 2; this library knows versions up to 1"):
            use(filled)
    assert filled.read_bytes() == content


def _to_2(connection):
    connection.execute("ALTER TABLE fact ADD COLUMN more")
    connection.execute("CREATE TABLE other (number INTEGER PRIMARY KEY)")
    connection.execute("ALTER TABLE fact DROP COLUMN more")


def test_a_journal_of_an_earlier_version(filled, monkeypatch):
    """A journal of an earlier version is brought to the newest, with all that it holds."""
    before = read(filled)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, _to_2))
    with pytest.raises(JournalError, match="older version"):
        JournalStore.open_for_reading(filled)
    assert read(filled) == before
    with closing(sqlite3.connect(filled)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("SELECT count(*) FROM other").fetchone() == (0,)
    with closing(JournalStore.open_for_reading(filled)) as reader:
        assert all_records(reader) == before


def test_a_migration_that_is_cut_short(filled, monkeypatch):
    """A migration that fails leaves the journal as it was."""
    before = read(filled)

    def fail(connection):
        _to_2(connection)
        connection.execute("SELECT no_such_function()")

    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, fail))
        with pytest.raises(JournalError, match="no_such_function"):
            JournalStore.open(filled)
    assert read(filled) == before


def test_released_versions_do_not_change():
    """The tables of version 1 are those that journals in the field have."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.MIGRATIONS[0](connection)
        tables = connection.execute("SELECT sql FROM sqlite_master ORDER BY name")
        assert [sql for (sql,) in tables] == [
            "CREATE TABLE claim (number INTEGER PRIMARY KEY, ref BLOB, minted INTEGER, digest BLOB,"
            " body BLOB, line INTEGER, crc INTEGER)",
            "CREATE TABLE fact (key TEXT PRIMARY KEY, value BLOB, crc INTEGER) WITHOUT ROWID",
            "CREATE TABLE outcome (number INTEGER PRIMARY KEY, kind TEXT, data BLOB, recovered INTEGER,"
            " crc INTEGER)",
            "CREATE TABLE reject (line INTEGER PRIMARY KEY, ref BLOB, data BLOB, crc INTEGER)",
            "CREATE TABLE repetition (number INTEGER PRIMARY KEY, original INTEGER, crc INTEGER)",
            "CREATE TABLE sent (number INTEGER PRIMARY KEY, under_way INTEGER, crc INTEGER)",
        ]
        assert connection.execute("PRAGMA application_id").fetchone() == (0x44436C6A,)
