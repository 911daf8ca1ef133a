"""The journal's file: what was written is on disk, and what is read is what was written."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Self

from ..errors import JournalError, JournalWriteError
from . import erasing, repetitions, schema
from .bulk import add_all
from .check import check_all, check_counted, check_structure
from .connection import connect, explained
from .encoding import (
    Columns,
    DamagedError,
    check_repetition,
    check_sent,
    fact_columns,
    outcome_columns,
    read_fact,
    read_kind,
    read_outcome,
    read_reject,
    read_row,
    reject_columns,
    row_columns,
    sent_columns,
)
from .files import check_wal, locate, prepare, require
from .lock import hold, is_held
from .records import Counts, Kind, MarkSent, Operation, Outcome, Record, Reject, Row, SetOutcome
from .statements import (
    ADD_OUTCOME,
    ADD_REJECT,
    ADD_ROW,
    ADD_SENT,
    COUNT_MARKS,
    IS_ANY_BEGUN,
    IS_UNSETTLED,
    RECORDS,
    UNMARK_SENT,
)

_DIGEST_SIZE = 16


class JournalStore:
    """One journal. For one thread at a time, in one process at a time; readers may be more.

    After a write that failed nothing more is written: what is in memory and what is on disk may differ.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, lock: sqlite3.Connection | None, *, rows: int
    ) -> None:
        """Not to be called: see `open` and `open_for_reading`."""
        self._path = path
        self._connection = connection
        self._lock = lock
        self._rows = rows
        self._failure: str | None = None
        facts = self._facts()
        try:
            self.journal_id = uuid.UUID(bytes=facts["journal_id"])
            self._keyed_hash = blake2b(digest_size=_DIGEST_SIZE, key=facts["digest_key"])
        except KeyError as error:
            raise DamagedError(f"its {error.args[0]} is gone") from error
        (has_sent,) = connection.execute("SELECT EXISTS (SELECT 1 FROM sent)").fetchone()
        self.was_used = bool(has_sent) or "used" in facts
        self._is_used = self.was_used
        self._has_input = "input" in facts
        self._may_send = False

    @classmethod
    def open(cls, path: Path, *, create: bool = True) -> Self:
        """Open the journal for the one process that works with it; all of it is checked."""
        path = locate(path)
        if not create:
            require(path)
        with ExitStack() as opened, explained(path):
            lock = opened.enter_context(closing(hold(path)))
            prepare(path)
            if (damage := check_wal(path)) is not None:
                raise DamagedError(damage)
            connection = opened.enter_context(closing(connect(path, mode="rw")))
            version = schema.check(connection, path, may_be_new=create)
            _set_up(connection, path)
            schema.upgrade(connection, version)
            # A log that begins anew has no frames left in it that a transaction cut short has written.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            facts = _read_facts(connection)
            rows = check_all(connection, least=int(facts.get("input_rows", b"0")))
            store = cls(path, connection, lock, rows=rows)
            opened.pop_all()
        return store

    @classmethod
    def open_for_reading(cls, path: Path) -> Self:
        """Open the journal beside the process that may be working with it; what is read is checked."""
        path = locate(path)
        require(path)
        with ExitStack() as opened, explained(path):
            # A log that is being written looks like anything.
            if not is_held(path) and (damage := check_wal(path)) is not None and not is_held(path):
                raise DamagedError(damage)
            connection = opened.enter_context(closing(connect(path, mode="ro")))
            if schema.check(connection, path, may_be_new=False) < len(schema.MIGRATIONS):
                raise JournalError(f"the journal {path} is of an older version: resume it once")
            check_structure(connection)
            store = cls(path, connection, None, rows=0)
            opened.pop_all()
        return store

    def close(self) -> None:
        """Close the file, and leave no log beside it; may be called again."""
        if self._lock is not None:
            # A reader keeps SQLite from doing so by itself. On a full disk the log stays, and is as good.
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._connection.close()
        if self._lock is not None:
            self._lock.close()

    # What is written.

    def write(self, operations: Sequence[Operation]) -> None:
        """Do all of these or none; they are on disk when this returns.

        A final outcome stays: the same again changes nothing, and any other fails.
        """
        rows: list[Columns] = []
        sent: list[Columns] = []
        unsent: list[Columns] = []
        outcomes: list[Columns] = []
        for operation in operations:
            if isinstance(operation, SetOutcome):
                outcomes.append(outcome_columns(operation.number, operation.outcome))
            elif isinstance(operation, Row):
                rows.append(row_columns(operation))
            elif isinstance(operation, MarkSent):
                sent.append(sent_columns(operation.number, under_way=True))
            else:
                unsent.append(sent_columns(operation.number, under_way=False))
        if not operations:
            return
        is_first = bool(sent or rows) and not self._is_used
        with self._transaction() as connection:
            if is_first:
                self._set_facts(used=b"1")
            if rows and self._has_input:
                raise self._refused("its rows are those of its input")
            self._add_rows(rows)
            if sent:
                # Not asked again: what is complete stays so.
                self._may_send = self._may_send or self.is_input_complete
                if not self._may_send:
                    raise self._refused("nothing can be sent before the input is complete")
                self._check_numbers(sent)
                if add_all(connection, ADD_SENT, sent) != len(sent):
                    raise self._refused("a row that is settled, or repeats another, cannot be sent")
            if unsent:
                self._check_numbers(unsent)
                add_all(connection, UNMARK_SENT, unsent)
            if outcomes:
                self._check_numbers(outcomes)
                if add_all(connection, ADD_OUTCOME, outcomes) != len(outcomes):
                    raise self._refused("a row that has another outcome, or repeats another row, gets none")
        if is_first:
            self._is_used = True
            # Into the file itself: whoever copies that alone must not take it for one that was not used.
            with explained(self._path, writing=True):
                self._connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()

    def _add_rows(self, rows: Sequence[Columns]) -> None:
        # Without gaps, so that a row that is gone is noticed.
        for expected, row in enumerate(rows, self._rows):
            if row[0] != expected:
                raise self._refused(f"row {row[0]} cannot be added: the next is row {expected}")
        add_all(self._connection, ADD_ROW, rows)
        self._rows += len(rows)

    def _check_numbers(self, all_columns: Sequence[Columns]) -> None:
        for columns in all_columns:
            if not 0 <= columns[0] < self._rows:
                raise self._refused(f"there is no row {columns[0]}")

    def bind_account(self, account_id: str) -> None:
        """Make this the account of the journal; raise if it has another."""
        bound = self.account_id
        if bound is None:
            with self._transaction():
                self._set_facts(account_id=account_id.encode())
        elif bound != account_id:
            raise self._refused(f"it is of the account {bound}, and not of {account_id}")

    def begin_input(self, source: Mapping[str, str]) -> None:
        """Begin to read an input; what an earlier reading got that was cut short is forgotten."""
        if self.input is None and self._rows:
            raise self._refused("it has rows that come from no input")
        if self.input is not None and self.is_input_complete:
            raise self._refused("it has its input already")
        with self._transaction() as connection:
            for table in ("claim", "outcome", "reject"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a name from above
            self._set_facts(input=json.dumps(dict(source)).encode())
            self._rows, self._has_input = 0, True

    def add_input(self, rows: Sequence[Row], rejects: Sequence[Reject]) -> None:
        """Add what was read of the input."""
        if self.is_input_complete:
            raise self._refused("it has no input that is being read")
        with self._transaction() as connection:
            self._add_rows([row_columns(row) for row in rows])
            add_all(connection, ADD_REJECT, [reject_columns(reject) for reject in rejects])

    def finish_input(
        self, facts: Mapping[str, str], *, conflicting: Callable[[Sequence[int]], bytes]
    ) -> None:
        """Complete the input: rows that repeat a row are found, and those that contradict one another.

        `conflicting` is given the lines of rows that have one ref and differ, and returns the data of their
        outcomes.
        """
        source = self.input
        if source is None or self.is_input_complete:
            raise self._refused("it has no input that is being read")
        with self._transaction() as connection:
            repetitions.mark(connection, conflicting)
            self._set_facts(
                input=json.dumps({**source, **facts}).encode(), input_rows=str(self._rows).encode()
            )

    def finish_source(self, rows: int) -> None:
        """Note that there are so many rows and no more, where they come one by one; the last may yet come."""
        with self._transaction():
            self._set_facts(source_rows=str(rows).encode())

    def requeue_refused(self) -> tuple[int, int]:
        """Make refused rows pending again; return how many, and how many cannot be since they were purged."""
        with self._transaction() as connection:
            return erasing.forget_refusals(connection)

    def purge(self) -> int:
        """Erase what settled rows and rejects hold of persons, from the disk too; return of how many rows."""
        with self._transaction() as connection:
            erased = erasing.erase(connection)
        with explained(self._path, writing=True):
            self._connection.execute("VACUUM")
            busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise self._refused("it is being read, and the disk may hold what was erased: purge again")
        return erased

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection, None, None]:
        if self._lock is None:
            raise self._refused("it was opened for reading")
        if self._failure is not None:
            raise JournalWriteError(f"the journal {self._path} is not written any more: {self._failure}")
        try:
            with explained(self._path, writing=True):
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
        except BaseException as error:
            self._failure = str(error)
            with suppress(sqlite3.Error):
                self._connection.rollback()
            raise

    def _refused(self, reason: str) -> JournalError:
        return JournalError(f"the journal {self._path}: {reason}")

    def _set_facts(self, **facts: bytes) -> None:
        self._connection.executemany(schema.ADD_FACT, [fact_columns(*fact) for fact in facts.items()])

    # What is read.

    @property
    def account_id(self) -> str | None:
        """The account that the journal is bound to."""
        account_id = self._facts().get("account_id")
        return None if account_id is None else account_id.decode()

    @property
    def input(self) -> Mapping[str, str] | None:
        """What is known of the input that the rows come from; None where they come one by one."""
        source = self._facts().get("input")
        return None if source is None else json.loads(source)

    @property
    def is_input_complete(self) -> bool:
        """Whether all rows of the input are here; also where there is none."""
        facts = self._facts()
        return "input" not in facts or "input_rows" in facts

    @property
    def has_all_rows(self) -> bool:
        """Whether no row is missing: of the input, or of the source that they came from one by one."""
        facts = self._facts()
        if "input" in facts:
            return "input_rows" in facts
        return "source_rows" in facts and self.next_number() >= int(facts["source_rows"])

    def digest(self, body: bytes) -> bytes:
        """Return what tells this claim from others; with a key, since personal data can be guessed."""
        # Begun once, because the key takes as long as many a body.
        hashed = self._keyed_hash.copy()
        hashed.update(body)
        return hashed.digest()

    def ref_for(self, number: int, claim: bytes) -> str:
        """Return the ref of a row without one: the same also when a record of having sent it was lost.

        It follows from the claim too: two copies of a journal that go on with different rows must not give
        them one ref.
        """
        return str(uuid.uuid5(self.journal_id, f"{number}/{self.digest(claim).hex()}"))

    def next_number(self) -> int:
        """Return how many rows there are."""
        with explained(self._path):
            (last,) = self._connection.execute("SELECT max(number) FROM claim").fetchone()
        return 0 if last is None else last + 1

    def records(self, first: int, limit: int) -> list[Record]:
        """Return the rows from this number on, at most as many, and what became of each."""
        return self._records(f"{RECORDS} WHERE c.number >= ? ORDER BY c.number LIMIT ?", first, limit)

    def unsettled(self, first: int, limit: int) -> list[Record]:
        """Return such rows from this number on that have no final outcome and repeat no other."""
        return self._records(
            f"{RECORDS} WHERE c.number >= ? AND {IS_UNSETTLED} ORDER BY c.number LIMIT ?", first, limit
        )

    def rejects(self, first_line: int, limit: int) -> list[Reject]:
        """Return what could not be read, from this line on, at most as many."""
        with explained(self._path):
            found = self._connection.execute(
                "SELECT * FROM reject WHERE line >= ? ORDER BY line LIMIT ?", (first_line, limit)
            )
            return [read_reject(columns) for columns in found]

    def counts(self) -> Counts:
        """Count the rows by what became of them."""
        with explained(self._path):
            # One transaction, so that the numbers are of one moment.
            self._connection.execute("BEGIN")
            try:
                return self._count()
            finally:
                with suppress(sqlite3.Error):
                    self._connection.rollback()

    def _count(self) -> Counts:
        def count(what: str) -> int:
            found = self._connection.execute(f"SELECT count(*) FROM {what}")  # noqa: S608 - from below
            return int(found.fetchone()[0])

        if self._lock is None:
            check_counted(self._connection)
        kinds = dict.fromkeys(Kind, 0)
        for kind, number in self._connection.execute("SELECT kind, count(*) FROM outcome GROUP BY kind"):
            kinds[read_kind(kind)] = number
        rows, duplicates = self.next_number(), count("repetition")
        still_open = rows - duplicates - sum(kinds.values())
        marked, unmarked = (
            self._connection.execute(COUNT_MARKS, (under_way,)).fetchone()[0] for under_way in (1, 0)
        )
        (is_any_begun,) = self._connection.execute(f"SELECT {IS_ANY_BEGUN}").fetchone()
        in_flight = still_open - unmarked if is_any_begun else marked
        return Counts(
            rows=rows,
            pending=still_open - in_flight,
            in_flight=in_flight,
            taken=kinds[Kind.TAKEN],
            refused=kinds[Kind.REFUSED],
            rejected=kinds[Kind.REJECTED],
            unknown=kinds[Kind.UNKNOWN],
            duplicates=duplicates,
            rejects=count("reject"),
        )

    def _records(self, statement: str, *parameters: int) -> list[Record]:
        with explained(self._path):
            return [_read_record(columns) for columns in self._connection.execute(statement, parameters)]

    def _facts(self) -> dict[str, bytes]:
        with explained(self._path):
            return _read_facts(self._connection)


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise JournalError(
            f"the journal {path} is on a file system that cannot hold it, such as one of a network"
        )
    for pragma in (
        # Every commit is on disk, and not only in the order of the disk.
        "synchronous = FULL",
        # On macOS a sync alone leaves data in the drive.
        "fullfsync = ON",
        # What is deleted is overwritten.
        "secure_delete = ON",
        # An error of the disk is to be an error, and no signal.
        "mmap_size = 0",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    # A file that cannot be written is refused now, and not at the first claim.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    connection.execute("ROLLBACK")


def _read_facts(connection: sqlite3.Connection) -> dict[str, bytes]:
    return dict(read_fact(columns) for columns in connection.execute("SELECT * FROM fact"))


def _read_record(columns: Columns) -> Record:
    row = read_row(columns[:7])
    sent, repetition, outcome, is_any_begun = columns[7:10], columns[10:13], columns[13:-1], columns[-1]
    if sent[0] is not None:
        check_sent(sent)
    if repetition[0] is not None:
        check_repetition(repetition)
    known: Outcome | None = None if outcome[0] is None else read_outcome(outcome)
    return Record(row, bool(is_any_begun if sent[0] is None else sent[1]), known, repetition[1])
