"""A journal as the commands name it: what goes on with it, and which one a wrong path may have meant."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dintero_claims_client.errors import JournalError, JournalWriteError

ENDING = ".journal"
"""What the journal of a file is called, after the file."""

MORE_ELSEWHERE = (
    "its rows are those that a program has taken of its requests so far; claim_many with the same requests, "
    "and this journal, goes on with the rest"
)
"""What is said of a journal that `claim_many` has made, and whose requests were not at their end."""

SQLITE_HEADER = b"SQLite format 3\0"
"""How a journal begins, as every SQLite file does."""


def resume_command(journal: Path, options: Sequence[str] = ()) -> str:
    """Return the command that resumes a batch with these options, for a shell."""
    return shlex.join(("dintero-claims", "batch", "resume", str(journal), *options))


def meant_journal(path: Path) -> str | None:
    """Return a question for who named the input in place of its journal, or left the ending away."""
    if not path.name or _is_sqlite(path):
        return None
    meant = path.with_name(f"{path.name}{ENDING}")
    return f"did you mean {shlex.quote(str(meant))}?" if _is_sqlite(meant) else None


def note_advice(error: JournalError, path: Path) -> None:
    """Let an error of a journal say what to do next, which depends on its path."""
    if isinstance(error, JournalWriteError):
        return
    if (question := meant_journal(path)) is not None:
        error.add_note(f"nothing was sent; {question}")
    elif _is_file(path):
        doctor = f"dintero-claims doctor --journal {shlex.quote(str(path))}"
        error.add_note(f"nothing was sent; whose the journal is, and what is left in it: {doctor}")
    else:
        error.add_note(
            "nothing was sent; check the path: by default batch run names the journal as its input, with "
            f"{ENDING} at the end"
        )


def _is_file(path: Path) -> bool:
    with suppress(OSError):
        return path.is_file()
    # Whatever keeps from looking, such as a name that is too long.
    return False


def _is_sqlite(path: Path) -> bool:
    """Look at a file that this process has not open: closing it would drop the locks on a journal."""
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                return file.read(len(SQLITE_HEADER)) == SQLITE_HEADER
    return False
