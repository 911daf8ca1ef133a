"""Where a journal can be, who can read it, and who can use it at the same time."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import pytest
from support.journals import all_records, claimed, execute, read, record_of

from dintero_claims_client import JournalError
from dintero_claims_client._journal import JournalStore, files, lock

NOBODY = 65534

OPEN = """
import sys
from pathlib import Path
from dintero_claims_client._journal import JournalStore
from dintero_claims_client import JournalError
try:
    store = JournalStore.open(Path(sys.argv[1]))
except JournalError as error:
    print(error)
else:
    print("open", flush=True)
    sys.stdin.read()
    store.close()
"""


def _open_in_another_process(path):
    return subprocess.run(
        [sys.executable, "-c", OPEN, path], input="", capture_output=True, text=True, check=True
    ).stdout.strip()


def _modes(path):
    return {
        file.name.removeprefix(path.name): stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()
    }


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_the_owner_can_read_it(path, umask):
    """All files are readable by their owner only, whatever the umask, while it is open and after."""
    before = os.umask(umask)
    try:
        store = JournalStore.open(path)
        store.write(claimed(0))
        assert _modes(path) == dict.fromkeys(("", "-wal", "-shm", ".lock"), 0o600)
        with closing(JournalStore.open_for_reading(path)):
            pass
        store.close()
        with closing(JournalStore.open_for_reading(path)):
            pass
        assert set(_modes(path).values()) == {0o600}
    finally:
        os.umask(before)


def test_nobody_can_read_it_even_for_a_moment(path, monkeypatch):
    """The files are made readable by their owner only, and not changed to that afterwards."""
    modes = []
    monkeypatch.setattr(
        os, "fchmod", lambda descriptor, _: modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
    )
    before = os.umask(0)
    JournalStore.open(path).close()
    os.umask(before)
    assert modes == [0o600, 0o600]


def test_files_that_others_can_read_are_tightened(path, store):
    """What somebody made readable is not any more, once the journal is opened again."""
    store.write(claimed(0))
    with closing(JournalStore.open_for_reading(path)):
        store.close()
        for file in path.parent.iterdir():
            file.chmod(0o666)
        assert set(_modes(path)) == {"", "-wal", "-shm", ".lock"}
        with closing(JournalStore.open(path)):
            assert set(_modes(path).values()) == {0o600}


def test_a_file_that_cannot_be_tightened(path, store, monkeypatch):
    """A journal that others can read, and that is not ours to change, is refused."""
    store.close()
    path.chmod(0o644)

    def fail(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.chmod", fail)
    with pytest.raises(JournalError, match="kept from others"):
        JournalStore.open(path)


def test_closing_leaves_one_file(path, store):
    """After closing, the log is in the file, and only the empty lock is beside it."""
    store.write(claimed(0))
    store.close()
    assert _modes(path).keys() == {"", ".lock"}
    assert (path.parent / "batch.journal.lock").stat().st_size == 0
    assert read(path) == [record_of(0)]


def test_closing_beside_a_reader(path, store):
    """Also while a reader has the file open, closing leaves all in one file, so that it can be copied."""
    store.write(claimed(0))
    with closing(JournalStore.open_for_reading(path)):
        store.close()
        assert files.wal_path(path).stat().st_size == 0
        copy = path.with_name("copy")
        copy.write_bytes(path.read_bytes())
    assert read(copy) == [record_of(0)]


def test_there_is_no_journal(path):
    """Where no file is, or an empty one, there is no journal to resume or read, and none is made."""
    for _ in range(2):
        with pytest.raises(JournalError, match="there is no journal at"):
            JournalStore.open(path, create=False)
        with pytest.raises(JournalError, match="there is no journal at"):
            JournalStore.open_for_reading(path)
        assert [file.name for file in path.parent.iterdir() if file != path] == []
        path.touch()
    assert path.stat().st_size == 0


def test_an_empty_file_is_a_new_journal(path):
    """A file that was made and never written to, as by a crash, becomes a journal."""
    path.touch()
    with closing(JournalStore.open(path)) as store:
        store.write(claimed(0))
    assert read(path) == [record_of(0)]


def test_a_file_whose_making_was_cut_short(path):
    """An SQLite file with nothing in it, as a crash at the right moment leaves it, becomes a journal."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    assert path.stat().st_size > 0
    with pytest.raises(JournalError, match="there is no journal at"):
        JournalStore.open(path, create=False)
    with pytest.raises(JournalError, match="there is no journal at"):
        JournalStore.open_for_reading(path)
    with closing(JournalStore.open(path)) as store:
        store.write(claimed(0))
    assert read(path) == [record_of(0)]


@pytest.mark.parametrize("is_there", [True, False], ids=["empty", "gone"])
def test_a_log_without_its_file(path, store, is_there):
    """A log whose file is empty or gone is refused and kept, since SQLite would delete it."""
    store.write(claimed(0))
    log = files.wal_path(path)
    content = log.read_bytes()
    store.close()
    path.unlink()
    log.write_bytes(content)
    if is_there:
        path.touch()
    for use in (
        JournalStore.open,
        lambda path: JournalStore.open(path, create=False),
        JournalStore.open_for_reading,
    ):
        with pytest.raises(JournalError, match="damaged"):
            use(path)
    assert log.read_bytes() == content


@pytest.mark.parametrize(
    "content", [b"xy", b"customer-1;100\n" * 100, b"\0" * 8192, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_garbage(path, content):
    """A file that is no SQLite file is refused and left as it is."""
    path.write_bytes(content)
    for use in (JournalStore.open, JournalStore.open_for_reading):
        with pytest.raises(JournalError, match="is not a journal"):
            use(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA user_version = 1",
        "PRAGMA application_id = 1",
        "CREATE TABLE claim (number INTEGER PRIMARY KEY)",
    ],
)
def test_an_sqlite_file_of_another_program(path, statement):
    """An SQLite file that is no journal is refused and left as it is."""
    execute(path, statement)
    content = path.read_bytes()
    for use in (JournalStore.open, JournalStore.open_for_reading):
        with pytest.raises(JournalError, match="another program"):
            use(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("use", [JournalStore.open, JournalStore.open_for_reading])
def test_places_where_no_journal_can_be(tmp_path, use):
    """A directory, a device, a missing parent, a loop of links: each is refused, and the reason named."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, reason in {
        "": "not a file",
        "pipe": "not a file",
        "/dev/null": "not a file",
        "missing/journal": "no such directory",
        "loop": "loop",
        "file/journal": "directory",
        "n" * 300: "name too long",
        "nul\0": "null",
    }.items():
        with pytest.raises(JournalError, match=f"(?i){reason}"):
            use(tmp_path / name)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "loop", "pipe"]


def test_a_lock_that_cannot_be(path):
    """Where the lock's name is taken by something else, the journal is refused."""
    (path.parent / "batch.journal.lock").mkdir()
    with pytest.raises(JournalError, match="cannot be locked"):
        JournalStore.open(path)
    assert not path.exists()


@pytest.fixture
def forbidden(path, store):
    """Return a journal whose file and directory may not be used: by root, who may all, as somebody else."""
    store.close()
    is_root = os.geteuid() == 0
    changes = {path: 0, path.parent: 0o500}
    if is_root:
        changes = {parent: stat.S_IMODE(parent.stat().st_mode) | 0o011 for parent in list(path.parents)[:-1]}
    modes = {changed: stat.S_IMODE(changed.stat().st_mode) for changed in changes}
    for changed, mode in changes.items():
        changed.chmod(mode)
    if is_root:
        os.seteuid(NOBODY)
    yield path
    if is_root:
        os.seteuid(0)
    for changed, mode in modes.items():
        changed.chmod(mode)


def test_a_file_that_may_not_be_read(forbidden):
    """A journal that the user may not read is refused; one that may not be made, too."""
    for use in (JournalStore.open, JournalStore.open_for_reading):
        with pytest.raises(JournalError, match=r"unable to open|cannot be"):
            use(forbidden)
    with pytest.raises(JournalError, match="Permission denied"):
        JournalStore.open(forbidden.parent / "other")


def test_a_file_that_may_only_be_read(path, store, monkeypatch):
    """A journal that cannot be written is refused at once, and not at the first claim."""
    store.close()
    monkeypatch.setattr(
        "dintero_claims_client._journal.store.connect", lambda path, mode: lock.connect(path, mode="ro")
    )
    with pytest.raises(JournalError, match="readonly"):
        JournalStore.open(path)


def test_a_second_opening_is_refused(path, store):
    """While a journal is open, neither this process nor another one can open it, also by another name."""
    link = path.parent / "link"
    link.symlink_to(path)
    for _ in range(2):
        for name in (path, link):
            with pytest.raises(JournalError, match="is in use by another process"):
                JournalStore.open(name)
            assert "is in use by another process" in _open_in_another_process(name)
    store.write(claimed(0))
    store.close()
    assert _open_in_another_process(path) == "open"
    assert read(link) == [record_of(0)]


def test_a_journal_with_two_names(path, store):
    """A journal that has a second name, which would have a lock of its own, is refused by either."""
    store.write(claimed(0))
    store.close()
    link = path.parent / "link"
    link.hardlink_to(path)
    for name in (path, link):
        for use in (JournalStore.open, JournalStore.open_for_reading):
            with pytest.raises(JournalError, match="another name"):
                use(name)
    link.unlink()
    assert read(path) == [record_of(0)]


def test_reading_does_not_open_the_lock(path, store):
    """A reader in the same process that comes and goes leaves the journal locked."""
    with closing(JournalStore.open_for_reading(path)):
        pass
    assert "is in use by another process" in _open_in_another_process(path)


def test_a_killed_process_leaves_no_lock(path):
    """A journal whose process was killed can be opened and read at once; its lock's file stays."""
    with subprocess.Popen(
        [sys.executable, "-c", OPEN, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(JournalError, match="is in use by another process"):
            JournalStore.open(path)
        process.kill()
    with closing(JournalStore.open_for_reading(path)):
        pass
    with closing(JournalStore.open(path)):
        pass
    assert lock.lock_path(path).exists()


def test_a_refused_opening_locks_nothing(path):
    """An opening that fails after it took the lock gives it back."""
    path.write_bytes(b"garbage")
    with pytest.raises(JournalError, match="not a journal"):
        JournalStore.open(path)
    path.unlink()
    JournalStore.open(path).close()


def test_making_a_lock_drops_none(path, monkeypatch):
    """Nobody else in the process takes a lock while its file is made, since that drops all locks on it."""
    made = []

    def make(name):
        made.append((name, lock._making.locked()))
        files.make(name)

    monkeypatch.setattr(lock, "make", make)
    JournalStore.open(path).close()
    assert made == [(lock.lock_path(path), True)]


def test_settings(store):
    """Every commit is synced, deleted data is overwritten, and the disk's errors are errors."""
    values = {
        name: store._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("synchronous", "journal_mode", "secure_delete", "fullfsync", "mmap_size")
    }
    assert values == {
        "synchronous": 2, "journal_mode": "wal", "secure_delete": 1, "fullfsync": 1, "mmap_size": 0
    }  # fmt: skip


def test_a_file_system_without_shared_memory(path, monkeypatch):
    """Where SQLite cannot keep a write-ahead log, the journal is refused."""

    class Connection(sqlite3.Connection):
        def execute(self, statement, *parameters):
            return super().execute(statement.replace("= WAL", "= DELETE"), *parameters)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, factory=Connection, **k))
    with pytest.raises(JournalError, match="file system"):
        JournalStore.open(path)


def test_reading_beside_the_process_that_writes(path, store):
    """A reader sees what is committed, the account and the input, and follows what is written later."""
    store.write(claimed(0))
    with closing(JournalStore.open_for_reading(path)) as reader:
        assert all_records(reader) == [record_of(0)]
        store.write(claimed(1))
        store.bind_account("T12345678")
        assert all_records(reader) == [record_of(0), record_of(1)]
        assert reader.counts() == store.counts()
        assert (reader.account_id, reader.journal_id) == ("T12345678", store.journal_id)
        assert reader.ref_for(5, b"") == store.ref_for(5, b"")
        store.close()
        assert all_records(reader) == [record_of(0), record_of(1)]
    assert read(path) == [record_of(0), record_of(1)]


def test_counting_beside_the_process_that_writes(path, store):
    """Counts are of one moment, also when something is written while they are taken."""
    store.write(claimed(0))
    expected = store.counts()
    with closing(JournalStore.open_for_reading(path)) as reader:
        statements = []

        def write(statement):
            statements.append(statement)
            # The first one that reads fixes the moment.
            if "max(number)" in statement:
                store.write(claimed(1))

        reader._connection.set_trace_callback(write)
        assert reader.counts() == expected
        reader._connection.set_trace_callback(None)
        assert len(all_records(reader)) == 2
        assert len([statement for statement in statements if "SELECT" in statement]) > 4


def test_a_reader_writes_nothing(path, store):
    """A journal that was opened for reading cannot be changed in any way."""
    store.write(claimed(0))
    store.close()
    content = path.read_bytes()
    with closing(JournalStore.open_for_reading(path)) as reader:
        for use in (
            lambda: reader.write(claimed(1)),
            lambda: reader.bind_account("T12345678"),
            reader.purge,
            reader.requeue_refused,
        ):
            with pytest.raises(JournalError, match="opened for reading"):
                use()
    assert path.read_bytes() == content


def test_a_reader_keeps_nobody_from_closing(path, store):
    """Closing beside a reader in the middle of its reading waits for nobody for ever, and loses nothing."""
    store._connection.execute("PRAGMA busy_timeout = 0")
    store.write(claimed(0))
    with closing(JournalStore.open_for_reading(path)) as reader:
        reader._connection.execute("BEGIN")
        assert all_records(reader) == [record_of(0)]
        store.write(claimed(1))
        store.close()
        assert all_records(reader) == [record_of(0)]
    assert read(path) == [record_of(0), record_of(1)]
