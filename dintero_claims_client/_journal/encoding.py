"""How records become columns, each with a checksum over all of them, and back.

SQLite notices a page that makes no sense, but not a changed byte in a value, which may be an amount.
"""

from __future__ import annotations

import zlib
from typing import Any

from .records import Kind, Outcome, Reject, Row

Columns = tuple[Any, ...]
"""As `connect` gives them; the last is the checksum."""


class DamagedError(Exception):
    """A record is not what was written; the message says which."""


def row_columns(row: Row) -> Columns:
    """Return the columns of the table `claim`."""
    ref = _ref_column(row.ref)
    minted = int(row.minted)
    crc = _crc((row.number, ref, minted, row.digest, row.line), row.body)
    return row.number, ref, minted, row.digest, row.body, row.line, crc


def check_row(columns: Columns) -> None:
    """Raise if these are not the columns of one row as they were written."""
    number, ref, minted, digest, body, line, crc = columns
    if crc != _crc((number, ref, minted, digest, line), body):
        raise DamagedError(f"row {number} does not match its checksum")


def read_row(columns: Columns) -> Row:
    """Return the row that these columns are of."""
    check_row(columns)
    number, ref, minted, digest, body, line, _ = columns
    return Row(number, _read_ref(ref), bool(minted), digest, body, line)


def outcome_columns(number: int, outcome: Outcome) -> Columns:
    """Return the columns of the table `outcome`."""
    kind, data, recovered = outcome.kind.value, outcome.data, int(outcome.recovered)
    return number, kind, data, recovered, _crc((number, kind, recovered), data)


def check_outcome(columns: Columns) -> None:
    """Raise if these are not the columns of one outcome as they were written."""
    number, kind, data, recovered, crc = columns
    if crc != _crc((number, kind, recovered), data):
        raise DamagedError(f"the outcome of row {number} does not match its checksum")


def read_outcome(columns: Columns) -> Outcome:
    """Return the outcome that these columns are of."""
    check_outcome(columns)
    _, kind, data, recovered, _ = columns
    return Outcome(read_kind(kind), data, bool(recovered))


def read_kind(name: str) -> Kind:
    """Return the kind of this name; of which no changed bit makes the name of another kind."""
    kind = _KINDS.get(name)
    if kind is None:
        raise DamagedError("an outcome is of no kind that there is")
    return kind


_KINDS = {kind.value: kind for kind in Kind}


def sent_columns(number: int, *, under_way: bool) -> Columns:
    """Return the columns of the table `sent`."""
    return number, int(under_way), _crc((number, int(under_way)))


def check_sent(columns: Columns) -> None:
    """Raise if these are not the columns of one mark as they were written."""
    number, under_way, crc = columns
    if crc != _crc((number, under_way)):
        raise DamagedError(f"the mark that row {number} was sent does not match its checksum")


def repetition_columns(number: int, original: int) -> Columns:
    """Return the columns of the table `repetition`."""
    return number, original, _crc((number, original))


def check_repetition(columns: Columns) -> None:
    """Raise if these are not the columns of one repetition as they were written."""
    number, original, crc = columns
    if crc != _crc((number, original)):
        raise DamagedError(f"what row {number} repeats does not match its checksum")


def reject_columns(reject: Reject) -> Columns:
    """Return the columns of the table `reject`."""
    ref = _ref_column(reject.ref)
    return reject.line, ref, reject.data, _crc((reject.line, ref), reject.data)


def read_reject(columns: Columns) -> Reject:
    """Return the reject that these columns are of."""
    line, ref, data, crc = columns
    if crc != _crc((line, ref), data):
        raise DamagedError(f"the reject of line {line} does not match its checksum")
    return Reject(line, data, _read_ref(ref))


def fact_columns(key: str, value: bytes) -> Columns:
    """Return the columns of the table `fact`."""
    return key, value, _crc((key,), value)


def read_fact(columns: Columns) -> tuple[str, bytes]:
    """Return the fact that these columns are of."""
    key, value, crc = columns
    if crc != _crc((key,), value):
        raise DamagedError("a fact about the journal does not match its checksum")
    return key, value


def _ref_column(ref: str | None) -> bytes | None:
    # Python's strings hold lone surrogates, which a rejected claim may have; SQLite's text does not.
    return None if ref is None else ref.encode("utf-8", "surrogatepass")


def _read_ref(column: bytes | None) -> str | None:
    return None if column is None else column.decode("utf-8", "surrogatepass")


def _crc(values: Columns, data: object = b"") -> int:
    # Of numbers, bytes, None and ASCII, repr gives the same in every version of Python.
    head = zlib.crc32(repr(values).encode())
    # A damaged record may hold a value of any type in place of bytes.
    return zlib.crc32(data if isinstance(data, bytes) else repr(data).encode(), head)
