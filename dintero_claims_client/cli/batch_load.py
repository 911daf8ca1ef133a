"""Reading the input of a batch wholly into its journal, before anything is claimed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import sys
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from dintero_claims_client._journal.records import Kind, Reject, Row
from dintero_claims_client._journal.store import JournalStore
from dintero_claims_client._validation import encode_body, without_null
from dintero_claims_client.cli import output
from dintero_claims_client.cli.batch_export import ERASED
from dintero_claims_client.cli.batch_input import BadRow, InputClaim, InputFormat, read_claims
from dintero_claims_client.cli.exit_codes import CommandError, UsageError
from dintero_claims_client.cli.journal_path import ENDING, SQLITE_HEADER, resume_command
from dintero_claims_client.errors import InvalidClaimError, JournalError
from dintero_claims_client.outcomes import error_from_json, error_to_json

STDIN = "-"

REJECTS = ".rejects.jsonl"
"""What the file of rejected rows is called, after the journal."""

_AT_ONCE = 1000
"""Rows in one transaction."""

_EVERY = 100_000
"""Rows between two lines that say how far reading is."""


class Rejects(NamedTuple):
    """How many rows are rejected, and which one is the first."""

    number: int
    first: Mapping[str, Any] | None


def check_input(name: str) -> None:
    """Raise `UsageError` for an input that cannot be read or is a journal, before anything is made."""
    if is_pipe(name):
        # What is read of it now would be missing later.
        return
    with open_input(name) as raw:
        header = raw.read(len(SQLITE_HEADER))
    if header == SQLITE_HEADER:
        raise UsageError(
            f"{name}: is a journal, and no input; to go on with it: {resume_command(Path(name))}"
        )


def load(store: JournalStore, path: Path, name: str, input_format: InputFormat) -> None:
    """Read an input into the journal at a path that has none, or a part of one.

    A journal that has it already is left as it is, if it is the same. Raises `UsageError` where the input
    cannot be read or is another one, and `JournalError`.
    """
    known = store.input
    facts = _facts(name, input_format)
    if known is not None and store.is_input_complete:
        _check_same(known, facts, name, path)
        return
    if known is not None and known["name"] == STDIN:
        raise UsageError(
            f"the journal {path} holds a part of what came from a pipe; "
            f"to claim that part: {resume_command(path, ['--partial'])}"
        )
    _read(store, name, input_format, facts)


def load_again(store: JournalStore, path: Path, *, partial: bool) -> None:
    """Read an input that was not read to its end, where that can be done; else raises `UsageError`.

    `partial` takes what came from a pipe for the whole.
    """
    known = store.input
    if known is None and not store.next_number():
        raise UsageError("the journal has no input yet; to read one: dintero-claims batch run INPUT")
    if known is None or store.is_input_complete:
        return
    if known["name"] != STDIN:
        # From the beginning: nothing of it was claimed.
        _read(store, known["name"], _format(known), known)
    elif partial and not store.next_number():
        raise UsageError("the input came from a pipe, and none of it came")
    elif partial:
        store.finish_input({"partial": "yes"}, conflicting=_conflicting)
    else:
        raise UsageError(
            "the input came from a pipe and is not complete; nothing of it was claimed. To claim the "
            f"{store.next_number():,} rows that came: {resume_command(path, ['--partial'])}"
        )


def write_rejects(store: JournalStore, path: Path) -> Rejects:
    """Write the rows that are not claimed, each with its line and the reason."""
    rejects = _rejects(store)
    first = next(rejects, None)
    if first is None:
        if path.is_file():
            path.unlink()
        return Rejects(0, None)
    if first["reason"] == ERASED and path.is_file():
        # What was written before the purge says more.
        return Rejects(1 + sum(1 for _ in rejects), first)
    count = 0
    with replacing(path) as file:
        for reject in chain([first], rejects):
            file.write(f"{json.dumps(reject)}\n")
            count += 1
    return Rejects(count, first)


@contextmanager
def replacing(path: Path) -> Generator[TextIO, None, None]:
    """Give a file to write that takes the place of another when it is whole; for its owner only.

    What is no file, a pipe or a device, is written to as it is.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        try:
            with path.open("w", encoding="utf-8") as file:
                yield file
        except OSError as error:
            raise CommandError(f"{path}: cannot be written: {error.strerror}") from None
        return
    descriptor, temporary = _beside(path)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink()
        if isinstance(error, OSError):
            raise CommandError(f"{path}: cannot be written: {error.strerror}") from None
        raise


def check_replaceable(path: Path, journal: Path, *others: str | Path) -> None:
    """Raise `UsageError` where no such file can be written, or what is there is needed."""
    mine = [f"{journal}{ending}" for ending in ("", "-wal", "-shm", ".lock", REJECTS)]
    if path.resolve() in {Path(name).resolve() for name in (*mine, *others)}:
        raise UsageError(f"{path}: cannot be written: the batch needs what is there")
    if path.exists() and not path.is_file() and not path.is_dir():
        return
    descriptor, temporary = _beside(path)
    os.close(descriptor)
    temporary.unlink()


def _beside(path: Path) -> tuple[int, Path]:
    if path.is_dir():
        raise UsageError(f"{path}: cannot be written: it is a directory")
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from None
    return descriptor, Path(temporary)


def _rejects(store: JournalStore) -> Iterator[Mapping[str, Any]]:
    line = 0
    while rejects := store.rejects(line, _AT_ONCE):
        yield from ({"line": reject.line, "reason": ERASED, **json.loads(reject.data)} for reject in rejects)
        line = rejects[-1].line + 1
    number = 0
    while records := store.records(number, _AT_ONCE):
        for record in records:
            outcome = record.outcome
            if outcome is not None and outcome.kind is Kind.REJECTED and outcome.data:
                error = error_from_json(outcome.data)
                body = record.row.body
                yield {
                    "line": record.row.line,
                    "reason": str(error),
                    "row": None if body is None else body.decode(),
                }
        number = records[-1].row.number + 1


def _read(store: JournalStore, name: str, input_format: InputFormat, facts: Mapping[str, str]) -> None:
    may_be_cut = facts["name"] == STDIN or is_pipe(name)
    with open_input(name) as raw:
        digest = _Digesting(raw)
        store.begin_input({key: value for key, value in facts.items() if key != "sha256"})
        rows: list[Row] = []
        rejects: list[Reject] = []
        number = 0
        try:
            for given in read_claims(io.BufferedReader(digest), input_format, may_be_cut=may_be_cut):
                if isinstance(given, BadRow):
                    rejects.append(Reject(given.line, _reject_data(given), given.ref))
                else:
                    rows.append(_row(store, number, given))
                    number += 1
                if len(rows) + len(rejects) == _AT_ONCE:
                    store.add_input(rows, rejects)
                    rows, rejects = [], []
                    if not number % _EVERY:
                        output.write_note(f"{number:,} rows read")
        except KeyboardInterrupt:
            # A pipe gives a row only once.
            with suppress(JournalError):
                store.add_input(rows, rejects)
            raise
        store.add_input(rows, rejects)
        store.finish_input({"sha256": digest.hexdigest()}, conflicting=_conflicting)


def _row(store: JournalStore, number: int, given: InputClaim) -> Row:
    body: dict[str, Any] = without_null(given.request.to_dict())
    minted = "ref" not in body
    if minted:
        body["ref"] = store.ref_for(number, encode_body(body))
    content = encode_body(body)
    return Row(number, body["ref"], minted, store.digest(content), content, given.line)


@contextmanager
def open_input(name: str) -> Generator[io.RawIOBase, None, None]:
    """Open the input; raises `UsageError` for one that cannot be."""
    if name == STDIN and sys.stdin is None:
        raise UsageError(f"{name}: cannot be read: stdin is closed")
    try:
        raw = open(  # noqa: SIM115 - stdin is a number
            sys.stdin.fileno() if name == STDIN else name, "rb", buffering=0, closefd=name != STDIN
        )
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror or type(error).__name__}") from None
    with raw:
        try:
            yield raw
        except OSError as error:
            raise UsageError(f"{name}: cannot be read: {error.strerror or type(error).__name__}") from None


class _Digesting(io.RawIOBase):
    """Passes on what is read, and computes its digest."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - as in io
        count = self._raw.readinto(buffer)
        self._digest.update(memoryview(buffer)[: count or 0])
        return count

    def hexdigest(self) -> str:
        # What is behind the last row belongs to the input too.
        while self._raw_read():
            pass
        return self._digest.hexdigest()

    def _raw_read(self) -> int | None:
        return self.readinto(bytearray(65_536))


def _check_same(known: Mapping[str, str], facts: Mapping[str, str], name: str, path: Path) -> None:
    if is_pipe(name) or known["name"] == STDIN:
        raise UsageError(f"the journal {path} has its input; to go on: {resume_command(path)}")
    next_step = (
        f"To go on with what was read: {resume_command(path)}. To claim this input: give it a journal of its "
        "own with --journal"
    )
    for fact in ("format", "mapping", "delimiter"):
        if known[fact] != facts[fact]:
            raise UsageError(
                f"the journal {path} is of another input: its {fact} was {known[fact]!r}, and is "
                f"{facts[fact]!r}. {next_step}"
            )
    with open_input(name) as raw:
        digest = _Digesting(raw).hexdigest()
    if known["sha256"] != digest:
        raise UsageError(
            f"the journal {path} is of another input: {name} is not what was read into it. {next_step}"
        )


def _facts(name: str, input_format: InputFormat) -> Mapping[str, str]:
    return {
        "name": STDIN if is_pipe(name) else str(Path(name).resolve()),
        "format": input_format.kind,
        "mapping": json.dumps(dict(input_format.mapping), sort_keys=True),
        "delimiter": input_format.delimiter or "",
    }


def _format(facts: Mapping[str, str]) -> InputFormat:
    return InputFormat(
        "csv" if facts["format"] == "csv" else "jsonl",
        json.loads(facts["mapping"]),
        facts["delimiter"] or None,
    )


def _conflicting(lines: Sequence[int]) -> bytes:
    """Return the reason why rows are rejected that have one ref and are not the same claim."""
    shown = ", ".join(map(str, lines[:10])) + (", …" if len(lines) > 10 else "")
    return error_to_json(
        InvalidClaimError("ref", "must be of one claim only", f"different claims with it in lines {shown}")
    )


def _reject_data(bad: BadRow) -> bytes:
    facts = {"reason": bad.reason, "field": bad.field, "rule": bad.rule, "row": bad.text}
    return json.dumps({name: value for name, value in facts.items() if value is not None}).encode()


def is_pipe(name: str) -> bool:
    """Say whether an input is read only once: stdin, or a pipe that has a name, as `<(command)` has."""
    if name == STDIN:
        return True
    try:
        mode = Path(name).stat().st_mode
    except (OSError, ValueError):
        # Opening it says why.
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def default_journal(name: str) -> Path:
    """Return where the journal of an input goes: beside it; that of a pipe goes to the working directory."""
    if is_pipe(name):
        return Path(f"claims-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}{ENDING}")
    path = Path(name)
    return path.with_name(f"{path.name}{ENDING}")
