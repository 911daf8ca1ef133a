"""The errors, named by what the caller may do next.

::

    ClaimsError
    ├── ConfigurationError      the client was set up wrongly              mend the settings
    ├── InvalidClaimError       the claim breaks a rule; nothing was sent  mend the claim
    ├── NotSentError            the claim never left                       repeat it, safely
    ├── OutcomeUnknownError     it may have been taken, or not             look it up by its ref
    ├── NoAnswerError           a read got no readable answer              repeat it, safely
    ├── APIStatusError          the server refused it                      depends on the status
    │   ├── AuthenticationError     401, or the token endpoint's refusal   mend the credentials
    │   ├── PermissionDeniedError   403                                    ask for the scope
    │   ├── NotFoundError           404
    │   ├── RefConflictError        409: the ref has a claim already       if_exists="return"
    │   ├── RateLimitedError        429                                    wait for retry_after
    │   └── ServerError             5xx to a read or to a token request    repeat it, safely
    ├── JournalError            another input, in use, or damaged          what the message says
    │   └── JournalWriteError       the disk is full, or fails             make room, and resume
    └── ClientStateError        closed, another event loop, or a fork      mend the program

They carry plain data only (no request, no header, no token), so they can be logged, copied and pickled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "APIStatusError",
    "AuthenticationError",
    "ClaimsError",
    "ClientStateError",
    "ConfigurationError",
    "InvalidClaimError",
    "JournalError",
    "JournalWriteError",
    "NoAnswerError",
    "NotFoundError",
    "NotSentError",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "RateLimitedError",
    "RefConflictError",
    "ServerError",
]


def _restore(cls: type[ClaimsError], args: tuple[Any, ...], state: dict[str, Any]) -> ClaimsError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ClaimsError(Exception):
    """What all errors of this library have in common.

    `ref` is the reference that the claim went by, also one that the client minted; None where there is none.
    """

    ref: str | None

    def __init__(self, message: str, *, ref: str | None = None) -> None:
        super().__init__(message)
        self.ref = ref

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with `args` alone, which loses what is passed by keyword.
        return _restore, (type(self), self.args, self.__dict__.copy())


class ConfigurationError(ClaimsError, ValueError):
    """A setting is missing or breaks a rule; nothing was sent."""


class InvalidClaimError(ClaimsError, ValueError):
    """A claim, or an argument of a call, breaks a rule; nothing was sent.

    `field` is its path (`discounts[0].refs[1].amount`), `rule` what must hold, and `shape` what was given
    in its place, described without its value, which may be personal data.
    """

    field: str
    rule: str
    shape: str

    def __init__(self, field: str, rule: str, shape: str, *, ref: str | None = None) -> None:
        super().__init__(f"{field}: {rule}; got {shape}", ref=ref)
        self.field = field
        self.rule = rule
        self.shape = shape


class NotSentError(ClaimsError):
    """The request never left, or was never executed, so repeating it is safe.

    `retry_after` is the number of seconds after which a repetition makes sense, where that is known.
    """

    retry_after: float | None

    def __init__(self, message: str, *, ref: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, ref=ref)
        self.retry_after = retry_after


class OutcomeUnknownError(ClaimsError):
    """The claim may have been taken, and could not be found out within the call's time.

    With its `ref` it can be repeated (`claim(request, if_exists="return")`) or looked up (`find_claim`);
    without one it can be neither.

    `status` is the last answer's status, or None where there was no answer; `body` is what that answer said.
    `taken` is True when the server has said that a claim with this `ref` exists, but it could not be read
    to compare it; False when it was found, deleted; None when nothing is known.
    """

    status: int | None
    taken: bool | None
    retry_after: float | None
    body: bytes

    def __init__(
        self,
        message: str,
        *,
        ref: str | None = None,
        status: int | None = None,
        taken: bool | None = None,
        retry_after: float | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(message, ref=ref)
        self.status = status
        self.taken = taken
        self.retry_after = retry_after
        self.body = body


class NoAnswerError(ClaimsError):
    """A read was sent and got no answer that could be read; repeating it is safe.

    `status` is the last answer's status, or None where there was no answer; `body` is what that answer said.
    """

    status: int | None
    body: bytes

    def __init__(self, message: str, *, status: int | None = None, body: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class APIStatusError(ClaimsError):
    """The server answered with a status that refuses the request.

    `code`, `message` and `errors` are the server's own words where it sent its error form; `request_id`
    is the server's id for the exchange; `retry_after` is in seconds. `body` is the answer, capped.
    """

    status: int
    code: str | None
    message: str
    errors: Sequence[Mapping[str, Any]]
    request_id: str | None
    retry_after: float | None
    body: bytes

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
        body: bytes = b"",
        ref: str | None = None,
    ) -> None:
        super().__init__(" ".join(filter(None, (str(status), code and f"{code}:", message))), ref=ref)
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors
        self.request_id = request_id
        self.retry_after = retry_after
        self.body = body


class AuthenticationError(APIStatusError):
    """The token endpoint refused the credentials, or the API refused a fresh token."""


class PermissionDeniedError(APIStatusError):
    """The credentials are good, but lack the scope that the request needs."""


class NotFoundError(APIStatusError):
    """What the request names does not exist."""


class RefConflictError(APIStatusError):
    """This `ref` has a claim already, and the call has claimed nothing.

    It is another claim, or, where the call was made with `if_exists="raise"` and did not look, this one from
    an earlier call: `if_exists="return"` tells which.
    """


class RateLimitedError(APIStatusError):
    """Too many requests; nothing was executed. Wait for `retry_after` seconds."""


class ServerError(APIStatusError):
    """The server failed on a read or on a token request; nothing was claimed by it, so repeat it.

    A claim that ends on such a status is an `OutcomeUnknownError`.
    """


class JournalError(ClaimsError):
    """A journal cannot be used, for the reason that the message gives; nothing was sent because of it."""


class JournalWriteError(JournalError):
    """The journal can no longer be written: the disk is full, or fails. Nothing is sent from then on.

    What was under way is in the journal as sent, and is settled when the batch is resumed.
    """


class ClientStateError(ClaimsError, RuntimeError):
    """The client is closed, belongs to another event loop, or was carried over a fork."""
