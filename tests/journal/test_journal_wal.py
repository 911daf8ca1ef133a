"""A write-ahead log that is damaged, so that SQLite would drop transactions, or that was cut short."""

import io
import random
import struct
from contextlib import closing

import pytest
from support.journals import all_records, claimed, crashed, read, record_of, row, taken

from dintero_claims_client import JournalError
from dintero_claims_client._journal import JournalStore, MarkSent, SetOutcome, files, wal

TRANSACTIONS = 8
HEADER, FRAME_HEADER, PAGE = 32, 24, 4096
FRAME = FRAME_HEADER + PAGE


def _sums(data, sums, order):
    """Do as the format's description says, word by word."""
    first, second = sums
    for at in range(0, len(data), 8):
        one, other = struct.unpack_from(f"{order}2I", data, at)
        first = (first + one + second) % 2**32
        second = (second + other + first) % 2**32
    return first, second


class Log:
    """A write-ahead log, with the frames of each of its transactions."""

    def __init__(self, data):
        self.data = bytes(data)
        salts = self.data[16:24]
        self.transactions, frames = [], []
        for at in range(HEADER, len(self.data), FRAME):
            if self.data[at + 8 : at + 16] != salts:
                break
            frames.append(at)
            if struct.unpack_from(">I", self.data, at + 4)[0]:
                self.transactions.append(frames)
                frames = []

    @property
    def end(self):
        return self.transactions[-1][-1] + FRAME

    def flipped(self, at, bit=0):
        data = bytearray(self.data)
        data[at] ^= 1 << bit
        return bytes(data)

    def zeroed(self, start, size):
        return self.data[:start] + bytes(size) + self.data[start + size :]

    def in_other_order(self):
        """Return the same log as a machine of the other byte order writes it."""
        data = bytearray(self.data)
        magic = struct.unpack_from(">I", data)[0] ^ 1
        order = "<" if magic == 0x377F0682 else ">"
        struct.pack_into(">I", data, 0, magic)
        sums = _sums(data[:24], (0, 0), order)
        struct.pack_into(">2I", data, 24, *sums)
        for at in range(HEADER, self.end, FRAME):
            sums = _sums(data[at : at + 8] + data[at + FRAME_HEADER : at + FRAME], sums, order)
            struct.pack_into(">2I", data, at + 16, *sums)
        return bytes(data)


@pytest.fixture
def log(path, store):
    """Return the log of a killed process that wrote a claim in each transaction, large ones among them."""
    # Else the first of them would go from the log into the file.
    store._is_used = True
    for number in range(TRANSACTIONS):
        store.write([*claimed(number)[:2], SetOutcome(number, _outcome(number))])
    crashed(path, path.with_name("crashed"))
    return Log(files.wal_path(path.with_name("crashed")).read_bytes())


def _outcome(number):
    # Of one frame and of several.
    return taken(number) if number % 2 else type(taken(0))(taken(0).kind, b"x" * 9000)


@pytest.fixture
def opened(path, log):
    """Return what opens the journal with another log, and says how many transactions it then has."""
    database = path.with_name("crashed").read_bytes()
    count = 0

    def open_with(data):
        nonlocal count
        count += 1
        copy = path.with_name(f"copy-{count}")
        copy.write_bytes(database)
        files.wal_path(copy).write_bytes(data)
        try:
            records = read(copy)
        except JournalError:
            # Nothing was repaired, so that whoever can may still save it.
            assert (copy.read_bytes(), files.wal_path(copy).read_bytes()) == (database, data)
            with pytest.raises(JournalError, match="is damaged"):
                JournalStore.open_for_reading(copy)
            return None
        assert [(r.row, r.sent, r.outcome) for r in records] == [
            (row(number), True, _outcome(number)) for number in range(len(records))
        ]
        copy.unlink()
        return len(records)

    return open_with


def test_the_log_of_a_killed_process(log, opened):
    """Every transaction is there after a crash; and the tests' log has some of one frame and some of more."""
    assert len(log.transactions) == TRANSACTIONS
    assert {len(frames) > 3 for frames in log.transactions} == {True, False}
    assert opened(log.data) == TRANSACTIONS


def test_a_log_that_was_cut_short(log, opened):
    """Cut off at any length, the log opens with exactly the transactions that are whole in it."""
    chance = random.Random(1)
    frames = [at for transaction in log.transactions for at in transaction]
    lengths = {0, 1, 31, 32, 33, log.end, *frames, *(at + 23 for at in frames), *(at - 1 for at in frames)}
    lengths |= {chance.randrange(log.end) for _ in range(20)}
    for length in sorted(lengths):
        whole = sum(transaction[-1] + FRAME <= length for transaction in log.transactions)
        assert opened(log.data[:length]) == whole, length


def test_a_byte_changed_in_an_early_transaction(log, opened):
    """A changed byte in front of two later transactions is refused, wherever it is."""
    for transaction in log.transactions[:-2]:
        for at in transaction:
            for field in (0, 7, 8, 12, 16, 20, FRAME_HEADER, FRAME_HEADER + 2000, FRAME - 1):
                assert opened(log.flipped(at + field)) is None, at


def test_a_byte_changed_in_the_last_transaction_but_one(log, opened):
    """A changed byte that leaves it certain that the frame was a whole commit is refused."""
    commit = log.transactions[-2][-1]
    for field in (8, 12, 16, 20, 24, FRAME - 1):
        assert opened(log.flipped(commit + field)) is None, field


def test_a_byte_changed_anywhere(log, opened):
    """A log with a changed byte is refused, or opens without at most the last two transactions."""
    chance = random.Random(2)
    seen = set()
    for _ in range(150):
        seen.add(opened(log.flipped(chance.randrange(log.end), chance.randrange(8))))
    assert seen <= {None, TRANSACTIONS - 2, TRANSACTIONS - 1}
    assert None in seen


def test_a_byte_changed_in_the_header(log, opened):
    """A log whose header is damaged is refused, with one transaction in it as with many."""
    only = Log(log.data[: log.transactions[0][-1] + FRAME])
    for at in range(HEADER):
        assert opened(log.flipped(at)) is None
        assert opened(only.flipped(at)) is None


def test_a_header_that_was_never_written(log, opened):
    """A log of zeros, or of a part of a header, holds nothing that could be lost."""
    assert opened(bytes(FRAME * 3)) == 0
    assert opened(log.flipped(0)[:HEADER]) == 0
    assert opened(b"\xff" * 31) == 0


def test_a_block_that_was_lost(log, opened):
    """A block of zeros over an early transaction is refused, also when it spans several."""
    for transaction in log.transactions[:-3]:
        assert opened(log.zeroed(transaction[0], PAGE)) is None
    assert opened(log.zeroed(log.transactions[1][0], log.transactions[4][0] - log.transactions[1][0])) is None


def test_a_last_transaction_of_which_parts_were_not_written(log, opened):
    """Of the last transaction later parts may be on disk and earlier ones not: it opens without it."""
    shorter = Log(log.data[: log.transactions[-2][-1] + FRAME])
    last = shorter.transactions[-1]
    assert len(last) > 3
    for at in last:
        assert opened(shorter.zeroed(at, FRAME)) == TRANSACTIONS - 2
    # Also where only the page is missing, or only the sector that the frame begins in.
    assert opened(shorter.zeroed(last[0] + FRAME_HEADER, PAGE)) == TRANSACTIONS - 2
    assert opened(shorter.zeroed(last[0], 512)) == TRANSACTIONS - 2


def test_a_torn_last_frame(log, opened):
    """A last transaction of one commit frame, of which a part is missing, is dropped."""
    commit = log.transactions[-1][-1]
    assert opened(log.zeroed(commit + 512, PAGE - 512)) == TRANSACTIONS - 1


def test_frames_from_before_the_log_began_anew(path, opened):
    """Frames that are left behind a log that began anew are no damage, whatever they hold."""
    with closing(JournalStore.open(path.with_name("again"))) as store:
        for number in range(TRANSACTIONS):
            store.write([*claimed(number)[:2], SetOutcome(number, _outcome(number))])
        store._connection.execute("PRAGMA wal_checkpoint(RESTART)")
        for number in range(TRANSACTIONS, TRANSACTIONS + 3):
            store.write([*claimed(number)[:2], SetOutcome(number, _outcome(number))])
        again = crashed(path.with_name("again"), path.with_name("copy"))
    log = Log(files.wal_path(again).read_bytes())
    assert len(log.transactions) == 3
    assert len(log.data) > log.end + 2 * FRAME
    assert wal.find_damage(io.BytesIO(log.flipped(log.end + 5000))) is None
    for length in range(log.end, len(log.data), 1000):
        assert wal.find_damage(io.BytesIO(log.data[:length])) is None
    assert len(read(again)) == TRANSACTIONS + 3
    for transaction in log.transactions[:1]:
        assert wal.find_damage(io.BytesIO(log.flipped(transaction[0] + 2000))) is not None


def test_a_frame_that_was_not_written_over(log):
    """A frame of before the log began anew, in the middle of a torn last transaction, is no commit of it."""
    salts = log.data[16:24]
    last = log.transactions[-2]
    old = bytearray(log.data[log.transactions[0][-1] :][:FRAME])
    old[8:16] = bytes(byte ^ 1 for byte in salts)
    torn = log.data[: last[0]] + bytes(old) + log.data[last[0] + FRAME : last[-1] + FRAME]
    assert len(last) > 3
    assert wal.find_damage(io.BytesIO(torn)) is None


def test_both_byte_orders(log, opened):
    """A log of a machine of the other byte order opens, and damage to it is found."""
    other = Log(log.in_other_order())
    assert other.data != log.data
    assert opened(other.data) == TRANSACTIONS
    assert opened(other.flipped(other.transactions[2][0] + 1000)) is None


def test_damage_is_named():
    """What is damaged is told by the number of its frame."""
    assert wal.find_damage(io.BytesIO(b"")) is None
    assert wal.find_damage(io.BytesIO(bytes(HEADER) + b"x")) == "the header of its write-ahead log"


def test_the_damaged_frame_is_named(log):
    """The message says which frame it is, so that a copy can be looked at."""
    at = log.transactions[1][0]
    number = (at - HEADER) // FRAME
    assert wal.find_damage(io.BytesIO(log.flipped(at + 100))) == f"frame {number} of its write-ahead log"


def test_after_a_crash_the_log_begins_anew(path, log):
    """After a crash no frames of a cut transaction are left, since they look like later ones."""
    crash = path.with_name("crashed")
    torn = log.data[: log.transactions[-1][-1] + 100]
    files.wal_path(crash).write_bytes(torn)
    with closing(JournalStore.open(crash)) as store:
        assert files.wal_path(crash).stat().st_size == 0
        assert len(all_records(store)) == TRANSACTIONS - 1
        store.write([row(TRANSACTIONS - 1), MarkSent(TRANSACTIONS - 1)])
        again = Log(files.wal_path(crash).read_bytes())
        assert again.end == len(again.data)


def test_a_log_that_is_being_written_is_not_judged(path, store):
    """Beside the process that writes it, a reader leaves the log alone: it may be halfway through a write."""
    for number in range(4):
        store.write(claimed(number))
    log = files.wal_path(path)
    whole = Log(log.read_bytes())
    # Salts are not read again by those that have the log open.
    log.write_bytes(whole.flipped(whole.transactions[0][0] + 8))
    with closing(JournalStore.open_for_reading(path)) as reader:
        assert all_records(reader) == [record_of(number) for number in range(4)]
