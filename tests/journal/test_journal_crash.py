"""A process that is killed while it writes, and a disk that is full."""

import random
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from support.journals import UNKNOWN, all_records, claimed, read, record_of, row, taken

from dintero_claims_client import JournalError, JournalWriteError
from dintero_claims_client._journal import JournalStore, Kind, MarkSent, Outcome, Record, SetOutcome

GROUP = 7

# Groups of new rows, each with the outcomes of the group before; says each group that is on disk.
WRITER = """
import os, sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from support.journals import row, taken
from dintero_claims_client._journal import JournalStore, MarkSent, SetOutcome
size = int(sys.argv[3])
store = JournalStore.open(Path(sys.argv[1]))
group = store.next_number() // size
while True:
    numbers = range(group * size, (group + 1) * size)
    operations = [operation for n in numbers for operation in (row(n), MarkSent(n))]
    store.write(operations + [SetOutcome(n - size, taken(n - size)) for n in numbers if group])
    group += 1
    os.write(1, b"%d\\n" % group)
"""

# Writes until it cannot, says how many writes returned, and tries once more with room.
FILLER = """
import resource, sys
from contextlib import closing
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from support.journals import UNKNOWN, row, taken
from dintero_claims_client import JournalWriteError
from dintero_claims_client._journal import JournalStore, MarkSent, MarkUnsent, SetOutcome
path, step, rows = Path(sys.argv[1]), sys.argv[3], 3000
store = JournalStore.open(path)
store.write([row(n) for n in range(rows)])
if step == "intent":
    store.write([MarkUnsent(n) for n in range(rows)])
store.close()
store = JournalStore.open(path)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 3 * 4096, hard))
written = 0
try:
    for n in range(rows):
        store.write([MarkSent(n) if step == "intent" else SetOutcome(n, taken(n))])
        written += 1
except JournalWriteError as error:
    print(written, error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
try:
    store.write([SetOutcome(rows - 1, UNKNOWN)])
except JournalWriteError as error:
    print(error)
print(len(store.records(0, rows)))
if sys.argv[4] == "close on a full disk":
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
if sys.argv[4] != "exit":
    store.close()
"""


def _run(script, *arguments):
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    ).stdout.splitlines()


@pytest.fixture
def tests(request):
    """Return where `support` is."""
    return request.config.rootpath / "tests"


def test_a_process_that_is_killed_again_and_again(path, tests):
    """After each kill all is there that a write returned for, in whole groups, and the next goes on."""
    chance = random.Random(1)
    groups = 0
    for _ in range(20):
        command = [sys.executable, "-c", WRITER, path, tests, str(GROUP)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            for _ in range(chance.randint(1, 40)):
                reported = process.stdout.readline()
            process.kill()
            reported = [reported, *process.stdout.readlines()]
        least = max(int(line) for line in reported if line.endswith(b"\n"))
        assert least > groups
        with closing(JournalStore.open_for_reading(path)) as reader:
            seen = all_records(reader)
        records = read(path)
        assert seen == records
        groups = len(records) // GROUP
        assert least <= groups <= least + 1
        with_outcome = (groups - 1) * GROUP
        assert records == [
            record_of(n) if n < with_outcome else Record(row(n), sent=True, outcome=None)
            for n in range(groups * GROUP)
        ]


@pytest.mark.parametrize("end", ["close", "close on a full disk", "exit"])
@pytest.mark.parametrize("step", ["intent", "outcome"])
def test_a_disk_that_is_full(path, tests, step, end):
    """What was written stays, what could not be is not there by half, and nothing is written after it."""
    first, second, rows = _run(FILLER, path, tests, step, end)
    written = int(first.partition(" ")[0])
    assert 0 < written < 3000
    assert "cannot be written" in first
    assert "is not written any more" in second
    assert rows == "3000"
    with closing(JournalStore.open(path)) as store:
        assert [r.row.number for r in all_records(store) if (r.outcome if step == "outcome" else r.sent)] == [
            *range(written)
        ]
        step_of = MarkSent if step == "intent" else lambda n: SetOutcome(n, taken(n))
        store.write([step_of(n) for n in range(written, 3000)])
        assert [r.row.number for r in all_records(store) if (r.outcome if step == "outcome" else r.sent)] == [
            *range(3000)
        ]


def test_a_file_that_may_not_grow(store, path):
    """Where there is no room for a page more, each kind of write fails whole, and those after it too."""
    store.write([row(n) for n in range(500)])
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    before = all_records(store)
    large = Outcome(Kind.TAKEN, b"x" * 50_000)
    with pytest.raises(
        JournalWriteError, match=r"batch\.journal cannot be written: database or disk is full"
    ):
        store.write([MarkSent(0), row(500, body=b"x" * 50_000), SetOutcome(1, large)])
    for use in (
        lambda: store.write([MarkSent(0)]),
        lambda: store.bind_account("T12345678"),
        store.purge,
        store.requeue_refused,
    ):
        with pytest.raises(JournalWriteError, match=r"not written any more: .* disk is full"):
            use()
    assert all_records(store) == before
    assert store.next_number() == 500
    store.close()
    with closing(JournalStore.open(path)) as again:
        assert all_records(again) == before
        again.write([row(500), MarkSent(0), SetOutcome(0, UNKNOWN)])


def test_a_disk_that_is_full_from_the_start(path, tests):
    """A journal that cannot be made raises, and is made once there is room."""
    script = """
import resource, sys
from pathlib import Path
from dintero_claims_client import JournalError
from dintero_claims_client._journal import JournalStore
for size in (0, 100, 4096, 8192, 20000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        JournalStore.open(Path(sys.argv[1]))
    except JournalError as error:
        print(size)
"""
    assert _run(script, path) == ["0", "100", "4096", "8192", "20000"]
    with closing(JournalStore.open(path)) as store:
        store.write(claimed(0))
    assert read(path) == [record_of(0)]


def test_a_write_that_meets_another_writer(path, store):
    """A write that another program keeps from the file fails as one, and not as an error of SQLite."""
    store.write(claimed(0))
    store._connection.execute("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalWriteError, match="locked"):
            store.write(claimed(1))
    with pytest.raises(JournalError, match="not written any more"):
        store.write(claimed(1))
    assert all_records(store) == [record_of(0)]
