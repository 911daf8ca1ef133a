"""The errors: their tree, and that they can be copied and pickled."""

import copy
import pickle

import pytest

from dintero_claims_client import errors
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

EACH = [
    ConfigurationError("x"),
    InvalidClaimError("customer_id", "must be text", "int", ref="r"),
    NotSentError("x", ref="r", retry_after=1.5),
    OutcomeUnknownError("x", ref="r", status=503, taken=True, retry_after=1.0, body=b"b"),
    NoAnswerError("x", status=200, body=b"b"),
    *(
        kind(
            "m", status=400, code="C", errors=({"a": 1},), request_id="q", retry_after=2.0, body=b"b", ref="r"
        )
        for kind in (
            APIStatusError,
            AuthenticationError,
            PermissionDeniedError,
            NotFoundError,
            RefConflictError,
            RateLimitedError,
            ServerError,
        )
    ),
    JournalError("x"),
    JournalWriteError("x"),
    ClientStateError("x", ref="r"),
]


@pytest.mark.parametrize("error", EACH, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_errors_survive_copies(error, duplicate):
    """A copied or pickled error is of the same class, with the same text and data."""
    again = duplicate(error)
    assert (type(error), str(error), error.__dict__) == (type(again), str(again), again.__dict__)


def test_every_error_is_covered_and_ours():
    """Each class of the module is in its __all__, is a ClaimsError, and has a row above."""
    classes = {
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)
    }
    assert set(errors.__all__) == {cls.__name__ for cls in classes}
    assert all(issubclass(cls, ClaimsError) for cls in classes)
    assert classes == {type(error) for error in EACH} | {ClaimsError}


def test_builtin_bases():
    """Where a builtin class says the same, the error is one too."""
    assert issubclass(InvalidClaimError, ValueError)
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(ClientStateError, RuntimeError)
