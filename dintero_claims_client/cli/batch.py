"""The commands of `dintero-claims batch`."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from dintero_claims_client import ClaimsClient
from dintero_claims_client._journal.records import Counts
from dintero_claims_client._journal.store import JournalStore
from dintero_claims_client.cli import exit_codes, output
from dintero_claims_client.cli.arguments import as_arguments
from dintero_claims_client.cli.batch_claiming import STOPPING, BatchClaiming
from dintero_claims_client.cli.batch_export import exported
from dintero_claims_client.cli.batch_input import InputFormat
from dintero_claims_client.cli.batch_load import (
    REJECTS,
    STDIN,
    check_input,
    check_replaceable,
    default_journal,
    is_pipe,
    load,
    load_again,
    replacing,
    write_rejects,
)
from dintero_claims_client.cli.batch_options import Claiming
from dintero_claims_client.cli.batch_progress import Summary, counted
from dintero_claims_client.cli.connection import Connection
from dintero_claims_client.cli.journal_path import MORE_ELSEWHERE, note_advice, resume_command
from dintero_claims_client.errors import ClaimsError, JournalError


def run(
    name: str,
    journal: str | None,
    input_format: InputFormat,
    claiming: Claiming,
    connection: Connection,
    *,
    as_json: bool,
) -> int:
    """Read an input into a journal, and claim its rows."""
    client = _client(claiming, connection)
    check_input(name)
    path = default_journal(name) if journal is None else Path(journal)
    options = _options(claiming, connection)
    if journal is None and is_pipe(name):
        output.write_note(f"the journal is {path}")
    with _opened(path, create=True) as store:
        with _interruptible(path, store, options):
            load(store, path, name, input_format)
        return _claim(client, store, path, claiming, options, as_json=as_json)


def dry_run(name: str, input_format: InputFormat, *, as_json: bool) -> int:
    """Check an input as a run would, and claim nothing."""
    check_input(name)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "journal")
        with _opened(path, create=True) as store, _interruptible():
            load(store, path, name, input_format)
            counts = store.counts()
            place = Path(f"{'stdin' if is_pipe(name) else name}{REJECTS}")
            rejected, first = write_rejects(store, place)
    valid = counts.rows - counts.duplicates - counts.rejected
    if as_json:
        output.write_json(
            {
                "valid": valid,
                "rejected": rejected,
                "repeated": counts.duplicates,
                "rejects_file": str(place) if rejected else None,
            }
        )
    else:
        _explain_nothing(counts, first, input_format.kind)
        if rejected:
            output.write_note(f"the rejected rows are in {place}")
        output.write_line(
            f"{_number(valid, 'claim is', 'claims are')} valid, "
            f"{_number(rejected, 'row is', 'rows are')} rejected, "
            f"{_number(counts.duplicates, 'repeats', 'repeat')} another; nothing was sent"
        )
    return exit_codes.FAILED if rejected else exit_codes.DONE


def resume(journal: str, claiming: Claiming, connection: Connection, *, partial: bool, as_json: bool) -> int:
    """Claim, or settle, what a journal has without an outcome."""
    client = _client(claiming, connection)
    path = Path(journal)
    options = _options(claiming, connection)
    with _opened(path) as store:
        with _interruptible(path, store, options):
            load_again(store, path, partial=partial)
        return _claim(client, store, path, claiming, options, as_json=as_json)


def retry_refused(journal: str, claiming: Claiming, connection: Connection, *, as_json: bool) -> int:
    """Claim again what the server refused."""
    client = _client(claiming, connection)
    path = Path(journal)
    with _opened(path) as store:
        requeued, purged = store.requeue_refused()
        output.write_note(f"{_number(requeued, 'refused row is', 'refused rows are')} claimed again")
        if purged:
            output.write_note(
                f"{_number(purged, 'other cannot be: it was', 'others cannot be: they were')} purged"
            )
        return _claim(client, store, path, claiming, _options(claiming, connection), as_json=as_json)


def status(journal: str, *, as_json: bool) -> int:
    """Show how far a batch is, also while it runs."""
    path = Path(journal)
    with _opened(path, reading=True) as store:
        counts, known, whole = store.counts(), store.input, store.has_all_rows
        account = store.account_id
    left = counts.pending + counts.in_flight + counts.unknown
    facts = {
        "journal": str(path),
        "account": account,
        "input": None if known is None else known["name"],
        "input_complete": whole,
        **counted(counts),
        "resume": resume_command(path) if left or not (whole or known is None) else None,
    }
    if as_json:
        output.write_json(facts)
    else:
        output.write_rows([(name.replace("_", " "), _cell(value)) for name, value in facts.items()])
    if known is None and not whole:
        output.write_note(MORE_ELSEWHERE)
    return exit_codes.DONE


def export(journal: str, out: str) -> int:
    """Write what became of each row."""
    path = Path(journal)
    with _opened(path, reading=True) as store:
        if out != STDIN:
            check_replaceable(Path(out), path, *_input_of(store))
        count = _export(store, out)
    if out != STDIN:
        output.write_line(f"{_number(count, 'row is', 'rows are')} in {out}")
    return exit_codes.DONE


def purge(journal: str) -> int:
    """Erase the personal data of what is settled."""
    path = Path(journal)
    with _opened(path) as store:
        count = store.purge()
        counts = store.counts()
    output.write_line(f"{_number(count, 'row was', 'rows were')} purged; their refs and outcomes stay")
    if left := counts.pending + counts.in_flight + counts.unknown:
        output.write_note(f"{_number(left, 'row stays', 'rows stay')} whole, without a final outcome")
    return exit_codes.DONE


def _input_of(store: JournalStore) -> list[str]:
    """Return the file that the rows come from, if there is one."""
    known = store.input
    return [] if known is None or known["name"] == STDIN else [known["name"]]


def _export(store: JournalStore, out: str) -> int:
    count = 0
    if out == STDIN:
        for row in exported(store):
            output.write_json(row)
            count += 1
        return count
    with replacing(Path(out)) as file:
        for row in exported(store):
            file.write(f"{json.dumps(row)}\n")
            count += 1
    return count


@contextmanager
def _opened(
    path: Path, *, create: bool = False, reading: bool = False
) -> Generator[JournalStore, None, None]:
    try:
        store = JournalStore.open_for_reading(path) if reading else JournalStore.open(path, create=create)
        with closing(store):
            yield store
    except JournalError as error:
        note_advice(error, path)
        raise


@contextmanager
def _interruptible(
    journal: Path | None = None, store: JournalStore | None = None, options: Sequence[str] = ()
) -> Generator[None, None, None]:
    """Let SIGTERM end what Ctrl-C ends: reading, which is begun anew on resuming."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in STOPPING if one is not signal.SIGINT}
    try:
        yield
    except KeyboardInterrupt:
        if journal is None or store is None:
            raise
        half = "" if store.is_input_complete else "the input was not read to its end, and "
        raise exit_codes.Interrupted(
            f"interrupted; {half}this run claimed nothing; to go on: {resume_command(journal, options)}"
        ) from None
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _client(claiming: Claiming, connection: Connection) -> ClaimsClient:
    """Return a client that may claim; raises before anything is read or sent where it may not."""
    client = connection.client(max_connections=claiming.concurrency)
    connection.check_may_claim(live=claiming.live)
    return client


def _options(claiming: Claiming, connection: Connection) -> list[str]:
    """Return the options that another command goes on with."""
    return as_arguments({**claiming.options(), **connection.options()})


def _claim(
    client: ClaimsClient,
    store: JournalStore,
    path: Path,
    options: Claiming,
    given: Sequence[str],
    *,
    as_json: bool,
) -> int:
    place = Path(f"{path}{REJECTS}")
    rejected, first = write_rejects(store, place)
    if not as_json:
        _explain_nothing(store.counts(), first, (store.input or {}).get("format"))
    out = options.out_file
    if out is not None:
        # Said now, and not when everything is claimed.
        check_replaceable(out, path, *_input_of(store))
    began = time.monotonic()
    claiming = BatchClaiming(client, store, path, options)
    failure: exit_codes.CommandError | BrokenPipeError | None = None
    try:
        asyncio.run(claiming.run())
    except ClaimsError as error:
        failure = exit_codes.BatchStopped(error)
    except (exit_codes.CommandError, BrokenPipeError) as error:
        failure = error
    if out is not None:
        try:
            _export(store, str(out))
        except exit_codes.CommandError as error:
            failure, out = failure or error, None
    summary = Summary(
        journal=path,
        counts=store.counts(),
        seconds=time.monotonic() - began,
        done=claiming.done,
        interrupted=claiming.interrupted,
        rejects=place if rejected else None,
        out=None if out is None else str(out),
        failure=failure.exit_code if isinstance(failure, exit_codes.CommandError) else None,
        options=given,
    )
    _write_summary(summary, as_json=as_json, is_stdout_taken=options.is_out_stdout)
    if not store.has_all_rows and store.input is None:
        output.write_note(MORE_ELSEWHERE)
    if failure is not None:
        raise failure
    return summary.exit_code


def _write_summary(summary: Summary, *, as_json: bool, is_stdout_taken: bool) -> None:
    if is_stdout_taken:
        output.write_note(json.dumps(summary.to_dict()) if as_json else summary.conclusion())
    elif as_json:
        output.write_json(summary.to_dict())
    else:
        output.write_rows(summary.rows())
        output.write_line(summary.conclusion())
    if summary.resume is not None:
        output.write_note(f"to go on: {summary.resume}")


def _explain_nothing(counts: Counts, first: Mapping[str, Any] | None, kind: str | None) -> None:
    """Say why there is nothing to claim, if there never was."""
    if counts.rows - counts.duplicates - counts.rejected:
        return
    if first is None:
        output.write_note("the input has no claims in it")
        return
    hint = "; JSON lines hold one claim a line, each without a line break in it" if kind == "jsonl" else ""
    reason = output.printable(str(first["reason"]))
    output.write_note(f"every row is rejected; the first, in line {first['line']}: {reason}{hint}")


def _number(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case _:
            return str(value)
