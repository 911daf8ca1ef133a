"""What is written, and where: results to stdout, everything else to stderr; the only writer of both.

Texts come from servers and files, so what a terminal would obey is shown instead.
"""

from __future__ import annotations

import io
import json
import math
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from dintero_claims_client.cli.exit_codes import BatchStopped, CommandError, exit_code, is_wrong_address
from dintero_claims_client.errors import (
    APIStatusError,
    AuthenticationError,
    ClaimsError,
    ClientStateError,
    ConfigurationError,
    InvalidClaimError,
    JournalError,
    JournalWriteError,
    NoAnswerError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitedError,
    RefConflictError,
    ServerError,
)

if TYPE_CHECKING:
    from rich.console import Console

_DOCTOR = "dintero-claims doctor"

_NOT_CLAIMED = "nothing was claimed; "

_WRONG_ADDRESS = (
    "there is no token endpoint at this address: check base_url, which ends with its version as in "
    "https://api.dintero.com/v1, and account_id"
)

_FACTS = ("status", "code", "request_id", "ref", "retry_after", "taken", "field", "rule", "errors")
"""What an error says about itself beside its message, where it has it."""


def replace_closed_streams() -> None:
    """Let what a closed stream would get go nowhere, and not into the next file that is opened."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free.
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def tolerate_any_text() -> None:
    """Write escapes where a stream lacks a character, so that a claim that was taken is not an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush() -> None:
    """Write out what is buffered; raises `BrokenPipeError` when nobody reads it any more."""
    sys.stdout.flush()
    sys.stderr.flush()


def is_terminal(stream: TextIO) -> bool:
    """Say whether a person watches this stream."""
    return stream.isatty()


def console(stream: TextIO) -> Console:
    """Return rich's way to write to a stream, which has colour on a terminal only."""
    from rich.console import Console

    # Said here, because rich would let the environment turn colours on for a file too.
    return Console(file=stream, force_terminal=is_terminal(stream), highlight=False, markup=False)


def write_line(text: str) -> None:
    """Write a line of a result."""
    sys.stdout.write(f"{text}\n")


def write_json(value: object) -> None:
    """Write a result for machines: one line of JSON, in ASCII, which no encoding can spoil."""
    write_line(json.dumps(value))


def write_note(text: str) -> None:
    """Tell the user something that is not a result."""
    sys.stderr.write(f"{text}\n")


def write_rows(rows: Iterable[Sequence[str]]) -> None:
    """Write rows whose cells stand below each other."""
    shown = [[printable(cell) for cell in row] for row in rows]
    if is_terminal(sys.stdout):
        write_table([""] * len(shown[0]), shown)
        return
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        write_line("  ".join(map(str.ljust, row, widths)).rstrip())


def write_table(columns: Sequence[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a table for a terminal; columns without names have no head."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=any(columns), pad_edge=False)
    for index, column in enumerate(columns):
        # The first is what is copied, or what a row is found by.
        table.add_column(column, overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(Text(printable(value)) for value in row))
    console(sys.stdout).print(table)


def printable(text: str) -> str:
    """Return a text with what cannot be printed, such as a terminal's control codes, as escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def write_error(error: ClaimsError | CommandError, *, as_json: bool) -> None:
    """Say on stderr what went wrong and what to do next: in words, or as one JSON object."""
    # Whoever raised it may know more than its class says.
    advice = "\n".join(getattr(error, "__notes__", ())) or _advice(error)
    if as_json:
        sys.stderr.write(f"{json.dumps(_error_object(error, advice))}\n")
        return
    write_note(f"error: {printable(str(error))}")
    if isinstance(error, APIStatusError):
        for detail in error.errors:
            write_note(f"  {json.dumps(detail)}")
    if advice is not None:
        write_note(advice)


def look_up(ref: str) -> str:
    """Return the command that finds a claim again."""
    return f"dintero-claims find --ref {printable(shlex.quote(ref))}"


def advice_to_reader(error: ClaimsError, command: str) -> str | None:
    """Return what to do next after a command that only reads."""
    if isinstance(error, InvalidClaimError):
        return f"nothing was sent; see dintero-claims {command} --help"
    advice = _advice(error)
    return None if advice is None else advice.removeprefix(_NOT_CLAIMED)


def _error_object(error: ClaimsError | CommandError, advice: str | None) -> Mapping[str, Any]:
    facts = {name: getattr(error, name) for name in _FACTS if getattr(error, name, None) not in (None, ())}
    told = {"error": type(error).__name__, "message": str(error), "exit_code": exit_code(error), **facts}
    return told if advice is None else {**told, "advice": advice}


def _advice(error: ClaimsError | CommandError) -> str | None:
    """Return what to do next, where the message alone does not say it."""
    match error:
        case BatchStopped(cause=JournalWriteError() as cause):
            return _advice(cause)
        case BatchStopped(cause=AuthenticationError() as cause) if is_wrong_address(cause):
            return f"{_WRONG_ADDRESS}: {_DOCTOR}"
        case BatchStopped(cause=JournalError() | ClientStateError()):
            return None
        case BatchStopped():
            return f"what was claimed before is in the journal; to see what is wrong: {_DOCTOR}"
        case OutcomeUnknownError(ref=str(ref), taken=True):
            return (
                f"the ref has a claim, and it was not found: {look_up(ref)} looks through 2,000 claims only\n"
                f'a batch looks through the whole list: write the claim with "ref": {json.dumps(ref)} on one '
                "line of a file, and give it to dintero-claims batch run FILE"
            )
        case OutcomeUnknownError(ref=str(ref)):
            return (
                f"before claiming again, look it up: {look_up(ref)}\n"
                f'to repeat the claim, give it "ref": {json.dumps(ref)}, and use --if-exists return'
            )
        case RefConflictError(ref=str(ref)):
            return (
                "the ref has a claim already: this one from before, or another; --if-exists return tells "
                f"which, and prints the claim where it is the same\nto see it: {look_up(ref)}"
            )
        case OutcomeUnknownError():
            return "before claiming again, look for it: dintero-claims list --all"
        case AuthenticationError() if is_wrong_address(error):
            return f"{_NOT_CLAIMED}{_WRONG_ADDRESS}: {_DOCTOR}"
        case AuthenticationError() | ConfigurationError():
            return f"{_NOT_CLAIMED}to see what is wrong: {_DOCTOR}"
        case PermissionDeniedError():
            return (
                f"{_NOT_CLAIMED}ask whoever manages the API client for the scope write:discounts\n"
                f"what the token allows: {_DOCTOR}"
            )
        case NotFoundError():
            return (
                f"{_NOT_CLAIMED}what the server names is not in this account, or base_url is wrong: {_DOCTOR}"
            )
        case RateLimitedError(retry_after=seconds):
            return f"{_NOT_CLAIMED}repeat it {_when(seconds)}"
        case NotSentError(retry_after=seconds):
            return (
                f"{_NOT_CLAIMED}it can be repeated safely {_when(seconds)}\nif that does not help: {_DOCTOR}"
            )
        case NoAnswerError() | ServerError():
            return f"{_NOT_CLAIMED}it can be repeated safely; if that does not help: {_DOCTOR}"
        case APIStatusError():
            return f"{_NOT_CLAIMED}mend what the server names"
        case InvalidClaimError():
            return "nothing was sent; a claim that keeps the rules: dintero-claims claim --help"
        case JournalWriteError():
            return "nothing more is sent; make room on the disk, and resume: what was sent is in the journal"
        case JournalError():
            return f"nothing was sent; whose the journal is, and what is left in it: {_DOCTOR} --journal PATH"
        case _:
            return None


def _when(seconds: float | None) -> str:
    return "later" if seconds is None else f"in {math.ceil(seconds)} s"
