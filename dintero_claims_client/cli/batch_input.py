"""The input of a batch: its format, and the claims in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Literal

from dintero_claims_client.cli.batch_csv import FIELDS, read_csv
from dintero_claims_client.cli.batch_jsonl import read_jsonl
from dintero_claims_client.cli.batch_rows import BadRow, InputClaim
from dintero_claims_client.cli.exit_codes import UsageError

__all__ = ["BadRow", "InputClaim", "InputFormat", "choose_format", "read_claims"]

_CSV_ENDINGS = frozenset({".csv", ".tsv"})

# A tab is hard to type in most shells.
_ESCAPED_TAB = r"\t"


@dataclass(frozen=True, slots=True)
class InputFormat:
    """How to read the input. `mapping` is from columns to fields; a header tells the delimiter if None."""

    kind: Literal["jsonl", "csv"]
    mapping: Mapping[str, str]
    delimiter: str | None


def choose_format(
    name: str, *, kind: str | None, mapping: Sequence[str], delimiter: str | None
) -> InputFormat:
    """Return the format that is asked for, or else that of the file's name; raises `UsageError`."""
    match kind or ("csv" if Path(name).suffix.lower() in _CSV_ENDINGS else "jsonl"):
        case "csv":
            return InputFormat("csv", _mapping(mapping), _delimiter(delimiter))
        case "jsonl":
            if mapping or delimiter is not None:
                raise UsageError("columns and a delimiter are for CSV, and the input is read as JSON lines")
            return InputFormat("jsonl", MappingProxyType({}), None)
        case other:
            raise UsageError(f"{other!r} is no format; jsonl and csv are")


def read_claims(
    stream: BinaryIO,
    format: InputFormat,  # noqa: A002 - as the options call it
    *,
    may_be_cut: bool = False,
) -> Iterator[InputClaim | BadRow]:
    """Give each claim, and each row that makes none, in bounded memory whatever the input is.

    `may_be_cut` is for a pipe, which may end where its writer did.

    In the order of their first lines; the rows of a claim that is not made come together. A CSV is read to
    its end first. Raises, when it is iterated over, `UsageError` for a CSV whose header cannot be used,
    `CommandError` where the rows of a CSV cannot be put aside, and what the stream raises.
    """
    if format.kind == "csv":
        return read_csv(stream, format.mapping, format.delimiter, may_be_cut=may_be_cut)
    return read_jsonl(stream)


def _mapping(pairs: Sequence[str]) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    for pair in pairs:
        # No field has a "=" in its name; a column may.
        column, _, field = pair.rpartition("=")
        if not column:
            raise UsageError(f"{pair!r} maps nothing; write COLUMN=FIELD")
        if field not in FIELDS:
            raise UsageError(f"{field!r} is no field to map a column to; there are {', '.join(FIELDS)}")
        if column in fields:
            raise UsageError(f"the column {column!r} is mapped twice")
        if field in fields.values():
            raise UsageError(f"two columns are mapped to {field}")
        fields[column] = field
    return MappingProxyType(fields)


def _delimiter(given: str | None) -> str | None:
    delimiter = "\t" if given == _ESCAPED_TAB else given
    if delimiter is None:
        return None
    # What may be in a number or a date would tear it apart.
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter.isalnum() or delimiter in '"\r\n\0-+:. ':
        raise UsageError(f"{given!r} is no delimiter; it must be one character, such as , or ; or \\t")
    return delimiter
