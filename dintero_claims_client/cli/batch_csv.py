"""Claims from a CSV: what its columns mean, and what a row says of a claim."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from dintero_claims_client._validation import shape
from dintero_claims_client.cli import output
from dintero_claims_client.cli.batch_csv_rows import RowPart, RowParts
from dintero_claims_client.cli.batch_rows import (
    HOLDS_NUL,
    ROW_MAX,
    TOO_LONG,
    BadRow,
    Flaw,
    InputClaim,
    broken_rule,
    checked_claim,
    excerpt,
)
from dintero_claims_client.cli.batch_staging import StagedRow, Staging
from dintero_claims_client.cli.exit_codes import CommandError, UsageError
from dintero_claims_client.errors import InvalidClaimError

FIELDS = (
    "purchase_at",
    "customer_id",
    "ref",
    "type",
    "discounts.id",
    "discounts.refs.id",
    "discounts.refs.amount",
    "discounts.refs.usage",
)
_OF_A_CLAIM = ("purchase_at", "customer_id")
_REQUIRED = (*_OF_A_CLAIM, "discounts.id")

_DELIMITERS = ",;\t"
"""Those that a header may tell; the first of those that split it into as many columns."""

# A line that spreadsheets write before the header.
_DELIMITER_LINE = re.compile(rb"sep=([,;\t|])\r?\n")

# No sign but minus, no separators, no digits of other scripts; as many as are ever too many.
_INTEGER = re.compile(r"-?[0-9]{1,400}")

_SHOWN = 500
"""Characters of columns' names."""

_UNCLOSED = Flaw("has a quote that is not closed")
_CUT = Flaw("has no line end, and the input may have been cut off in it")


def read_csv(
    stream: BinaryIO, mapping: Mapping[str, str], delimiter: str | None, *, may_be_cut: bool
) -> Iterator[InputClaim | BadRow]:
    """Give the claims, in the order of their first rows, once all rows are read.

    `may_be_cut` where a last row without a line end is not taken at its word: an amount may lack digits.
    Raises `UsageError` for a header that cannot be used, and `CommandError` where rows cannot be put aside.
    """
    # The module's own limit is lower than that of a row, which holds anyway; it is not lowered.
    csv.field_size_limit(max(csv.field_size_limit(), ROW_MAX))
    rows = RowParts(stream, delimiter or _DELIMITERS)
    header, delimiter = _header(rows, delimiter)
    rows.expect(delimiter)
    reader = _RowReader(header, mapping, delimiter, may_be_cut=may_be_cut)
    if unused := reader.unused_columns(header):
        names = output.printable(", ".join(unused))
        output.write_note(f"columns that are not used: {names[:_SHOWN]}{'…' if len(names) > _SHOWN else ''}")
    try:
        with Staging() as staging:
            _stage(rows, reader, staging)
            yield from staging.claims()
    except sqlite3.Error as error:
        raise CommandError(f"the rows cannot be put aside on disk: {error}") from None


def _header(rows: RowParts, delimiter: str | None) -> tuple[list[str], str]:
    """Return the columns' names, and the delimiter."""
    row = _first_row(rows)
    if row is not None and (found := _DELIMITER_LINE.fullmatch(row.content)):
        if delimiter is None:
            delimiter = str(found[1], "ascii")
        rows.expect(delimiter)
        row = _first_row(rows)
    if row is None:
        raise UsageError("the input has no header")
    if b"\0" in row.content:
        raise UsageError(f"line {row.line}: the header {HOLDS_NUL.reason}")
    readable: dict[str, list[str]] = {}
    why = ""
    for candidate in delimiter or _DELIMITERS:
        cells = _cells(row, candidate)
        if isinstance(cells, Flaw):
            why = cells.reason
        else:
            readable[candidate] = cells
    if not readable:
        raise UsageError(f"line {row.line}: the header {why}")
    best = max(readable, key=lambda candidate: len(readable[candidate]))
    return readable[best], best


def _first_row(rows: RowParts) -> RowPart | None:
    return next((row for row in rows if not _is_blank(row)), None)


def _is_blank(row: RowPart) -> bool:
    return row.ended and not row.content.strip()


def _cells(row: RowPart, delimiter: str) -> list[str] | Flaw:
    if row.unclosed:
        return _UNCLOSED
    if len(row.content) > ROW_MAX:
        return Flaw(TOO_LONG)
    if b"\0" in row.content:
        return Flaw("holds a NUL byte")
    try:
        # One text, so that it cannot become two rows.
        (cells,) = csv.reader([row.content.decode()], delimiter=delimiter, strict=True)
    except UnicodeDecodeError:
        return Flaw("is not UTF-8")
    except csv.Error as error:
        # The rest of some of its messages is advice to programmers.
        return Flaw(f"is not CSV: {str(error).partition(' - ')[0]}")
    return cells


def _stage(rows: RowParts, reader: _RowReader, staging: Staging) -> None:
    before: int | None = None
    for row in rows:
        if _is_blank(row):
            continue
        cells = reader.cells(row)
        if not isinstance(cells, Flaw):
            if before is not None and reader.goes_on(cells):
                staging.bring_down(before, Flaw(f"line {row.line} has cells empty, and may go on with it"))
            before = row.line
            staging.add(row.line, excerpt(row.content), *reader.read(cells))
            continue
        loose = reader.loose_cells(row)
        if before is not None and reader.goes_on(loose):
            staging.bring_down(before, Flaw(f"line {row.line} cannot be read, and may go on with it"))
        before = None
        staging.suspect(row.line, loose)
        last, rest = row, b""
        for last in _parts(row, rows):
            # Which claim it is of is not known; it may be of any whose ref stands in it.
            fragments, rest = reader.fragments(rest + last.content)
            staging.suspect(row.line, fragments)
        staging.add(row.line, excerpt(row.content), StagedRow(), _with_end(cells, row, last))


def _parts(row: RowPart, rows: RowParts) -> Iterator[RowPart]:
    """Give all parts of the row that a part begins."""
    yield row
    while not row.ended:
        row = next(rows)
        yield row


def _with_end(flaw: Flaw, row: RowPart, last: RowPart) -> Flaw:
    if last.unclosed:
        flaw = _UNCLOSED
    if last.last_line == row.line:
        return flaw
    return Flaw(f"{flaw.reason}; it goes on to line {last.last_line}")


class _RowReader:
    """Knows which column gives which field."""

    def __init__(
        self, header: Sequence[str], mapping: Mapping[str, str], delimiter: str, *, may_be_cut: bool
    ) -> None:
        self._may_be_cut = may_be_cut
        self._columns = _columns(header, mapping)
        self._width = len(header)
        self._delimiter = delimiter
        # What cannot be in a cell that is not quoted.
        self._fragment = re.compile(rb'[^"\r\n\0' + re.escape(delimiter.encode()) + rb"]+")

    def cells(self, row: RowPart) -> list[str] | Flaw:
        """Return the cells of a row, as many as the header has."""
        if self._may_be_cut and row.ended and not row.unclosed and not row.content.endswith(b"\n"):
            return _CUT
        cells = _cells(row, self._delimiter)
        if isinstance(cells, Flaw) or len(cells) == self._width:
            return cells
        return Flaw(f"has {len(cells)} cells, and the header {self._width}")

    def loose_cells(self, row: RowPart) -> Sequence[str]:
        """Return the cells of a row that is bad, as far as there are any."""
        try:
            (cells,) = csv.reader(
                [row.content.decode(errors="backslashreplace")], delimiter=self._delimiter, strict=False
            )
        except csv.Error:
            return ()
        return cells

    def fragments(self, content: bytes) -> tuple[Iterator[str], bytes]:
        """Return what may be a cell in a row that is not one, and what may go on in its next part."""
        found = (
            text
            for match in self._fragment.finditer(content)
            for whole in (match[0].decode(errors="backslashreplace"),)
            for text in {whole, whole.strip()}
        )
        # Longer than a ref can be, a fragment need not get.
        end = content[-ROW_MAX:]
        rest = max(end.rfind(byte) for byte in (b'"', b"\n", b"\r", b"\0", self._delimiter.encode()))
        return found, end[rest + 1 :]

    def unused_columns(self, header: Sequence[str]) -> list[str]:
        """Return the columns that give no field, by their names."""
        used = set(self._columns.values())
        return [name for column, name in enumerate(header) if name.strip() and column not in used]

    def goes_on(self, cells: Sequence[str]) -> bool:
        """Say whether a row may be one more of the claim before it, as where cells are merged.

        Of one that cannot be read these are the cells that can be made out.
        """
        if "ref" not in self._columns or (len(cells) >= self._width and not any(map(str.strip, cells))):
            return False
        known = {name: cells[column].strip() for name, column in self._columns.items() if column < len(cells)}
        return not known.get("ref") and (not cells or any(known.get(name) == "" for name in _OF_A_CLAIM))

    def read(self, cells: Sequence[str]) -> tuple[StagedRow, Flaw | None]:
        """Return what a row says of a claim; of one with a flaw only whose it is."""
        texts = {field: cells[column] for field, column in self._columns.items() if cells[column]}
        ref = texts.get("ref")
        try:
            return _staged(texts), None
        except InvalidClaimError as error:
            # By the names that columns are mapped to.
            field = error.field.replace("[0]", "")
            return StagedRow(ref), broken_rule(InvalidClaimError(field, error.rule, error.shape))


def _columns(header: Sequence[str], mapping: Mapping[str, str]) -> Mapping[str, int]:
    """Return the number of the column that gives a field, by the field."""
    given = {field: column for column, field in mapping.items()}
    named = {field: field for field in FIELDS if field in header and field not in mapping}
    by_field = named | given
    for field, column in by_field.items():
        if column not in header:
            raise UsageError(f"the header has no column {column!r}, which is mapped to {field}")
        if header.count(column) > 1:
            raise UsageError(f"the header has the column {column!r} more than once")
    for field in _REQUIRED:
        if field not in by_field:
            raise UsageError(f"no column gives {field}; say which one does with --map COLUMN={field}")
    for column in header:
        field = column.strip().casefold()
        if column not in by_field.values() and field in FIELDS and field not in by_field:
            raise UsageError(
                f"the column {column!r} is not used; say with --map {column}={field} that it is that field, "
                "or give it another name"
            )
    return {field: header.index(column) for field, column in by_field.items()}


def _staged(texts: Mapping[str, str]) -> StagedRow:
    """Return a row that alone would make a claim; raises `InvalidClaimError` for any other."""
    if "discounts.id" not in texts:
        raise InvalidClaimError("discounts.id", "must be given", shape(None))
    item: dict[str, Any] = {}
    if "discounts.refs.id" in texts:
        item["id"] = texts["discounts.refs.id"]
    for name in ("amount", "usage"):
        if (text := texts.get(f"discounts.refs.{name}")) is not None:
            item[name] = _integer(f"discounts.refs.{name}", text)
    shared = {name: texts[name] for name in ("purchase_at", "customer_id", "ref", "type") if name in texts}
    discount = texts["discounts.id"]
    checked_claim({**shared, "discounts": [{"id": discount, "refs": [item]}]})
    return StagedRow(
        **shared,
        discount=discount,
        item=json.dumps(item, ensure_ascii=False, separators=(",", ":")) if item else None,
    )


def _integer(field: str, text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise InvalidClaimError(field, "must be an integer, in digits only", shape(text))
    return int(text)
