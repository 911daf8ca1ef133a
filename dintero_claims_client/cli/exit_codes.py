"""The exit codes, which are a promise to scripts, and the errors that the command itself makes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dintero_claims_client.errors import (
    AuthenticationError,
    ClaimsError,
    ConfigurationError,
    InvalidClaimError,
    JournalError,
    JournalWriteError,
    OutcomeUnknownError,
    RefConflictError,
)

DONE = 0
FAILED = 1
USAGE = 2
AUTHENTICATION = 3
OUTCOME_UNKNOWN = 4
CONFLICT = 5
INTERRUPTED = 130

MEANINGS: Mapping[int, str] = MappingProxyType(
    {
        DONE: "done",
        FAILED: "refused or failed",
        USAGE: "wrong usage or configuration; nothing was sent",
        AUTHENTICATION: "the credentials were refused",
        OUTCOME_UNKNOWN: "the claim may have been taken; look it up by its ref",
        CONFLICT: "the ref has a claim already: this one from before, or another",
        INTERRUPTED: "interrupted",
    }
)

OF_A_BATCH: Mapping[int, str] = MappingProxyType(
    {
        DONE: "done; all rows were taken",
        FAILED: "some rows were refused or rejected, or it failed",
        USAGE: MEANINGS[USAGE],
        AUTHENTICATION: MEANINGS[AUTHENTICATION],
        OUTCOME_UNKNOWN: "some rows may have been taken; resume the batch",
        INTERRUPTED: "interrupted; resume the batch",
    }
)


def listed(meanings: Mapping[int, str]) -> str:
    """Return exit codes and what they mean, as help shows them."""
    return "Exit codes:\n" + "\n".join(f"  {code:<4} {meaning}" for code, meaning in meanings.items())


class CommandError(Exception):
    """The command cannot do what it was asked, for a reason of its own; `ref` as in `ClaimsError`."""

    exit_code = FAILED

    def __init__(self, message: str, *, ref: str | None = None) -> None:
        super().__init__(message)
        self.ref = ref


class UsageError(CommandError):
    """The arguments, or what they name, cannot be used; nothing was sent."""

    exit_code = USAGE


class ClaimNotFound(CommandError):  # noqa: N818 - what was found out, not a failure
    """No claim has the `ref`, among those that were looked through."""


class Interrupted(CommandError):  # noqa: N818 - what happened, not a failure
    """The user ended the command."""

    exit_code = INTERRUPTED


# The first that fits counts.
_CODES: tuple[tuple[type[ClaimsError], int], ...] = (
    (ConfigurationError, USAGE),
    (InvalidClaimError, USAGE),
    (AuthenticationError, AUTHENTICATION),
    (OutcomeUnknownError, OUTCOME_UNKNOWN),
    (RefConflictError, CONFLICT),
    (JournalWriteError, FAILED),
    (JournalError, USAGE),
)


_STOPPED = "the batch was stopped: "


class BatchStopped(CommandError):  # noqa: N818 - what happened to the rest of the batch
    """Something that is not about a single row ended the batch; what was claimed before is claimed."""

    def __init__(self, error: ClaimsError) -> None:
        # Some say so themselves.
        super().__init__(f"{_STOPPED}{str(error).removeprefix(_STOPPED)}", ref=error.ref)
        self.cause = error
        self.exit_code = exit_code(error)


def is_wrong_address(error: ClaimsError) -> bool:
    """Say whether the token endpoint is not where the settings say; what refuses credentials says so."""
    return isinstance(error, AuthenticationError) and error.status not in (400, 401, 403)


def exit_code(error: ClaimsError | CommandError) -> int:
    """Return the exit code that an error ends the command with."""
    if isinstance(error, CommandError):
        return error.exit_code
    if is_wrong_address(error):
        return USAGE
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
