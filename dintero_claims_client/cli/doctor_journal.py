"""Whether a journal is free, whose it is, and what is left in it."""

from __future__ import annotations

import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

from dintero_claims_client._journal.lock import is_held
from dintero_claims_client._journal.store import JournalStore
from dintero_claims_client.cli import exit_codes
from dintero_claims_client.cli.doctor_report import Check
from dintero_claims_client.cli.journal_path import MORE_ELSEWHERE, meant_journal, resume_command
from dintero_claims_client.errors import JournalError


def check_journal(path: Path | None, account_id: str | None) -> Check:
    """Look at a journal, also beside a process that works with it; nothing is written to it."""
    if path is None:
        return Check("journal", "none was named; --journal PATH looks at one", "skipped")
    try:
        with closing(JournalStore.open_for_reading(path)) as store:
            counts, owner, whole = store.counts(), store.account_id, store.has_all_rows
            is_of_program = store.input is None
        held = is_held(path.resolve())
    except (JournalError, sqlite3.Error) as error:
        return Check("journal", str(error), "failed", _advice(path), exit_codes.USAGE)
    left = counts.pending + counts.in_flight + counts.unknown
    said = (
        f"{path} is of {'no account yet' if owner is None else f'account {owner}'}, and {left:,} of its "
        f"{counts.rows:,} rows have no final outcome"
    )
    if held:
        return Check(
            "journal",
            f"{said}; another process works with it now",
            "warning",
            "a second one is refused; wait until the other ends, or end it; to see how far it is: "
            f"dintero-claims batch status {shlex.quote(str(path))}",
        )
    if account_id is not None and owner not in (None, account_id):
        return Check(
            "journal",
            f"{said}; the settings are for {account_id}",
            "failed",
            f"to go on with it, give --account-id {owner}, or set $DINTERO_ACCOUNT_ID, with its credentials",
            exit_codes.USAGE,
        )
    more = f"; {MORE_ELSEWHERE}" if is_of_program and not whole else ""
    if left or not (whole or is_of_program):
        half = "" if whole or is_of_program else "; its input was not read to its end, and will be read again"
        return Check(
            "journal", f"{said}{half}; it can be resumed{more}", advice=f"to go on: {resume_command(path)}"
        )
    return Check("journal", f"{said}; there is nothing to resume{more}")


def _advice(path: Path) -> str | None:
    question = meant_journal(path)
    if path.exists() or question is not None:
        return question
    return "check the path; by default batch run names the journal as its input, with .journal at the end"
