"""Claim discounts at Dintero from asyncio.

No claim is lost, none is made twice, none is credited to the wrong caller, and none is reported failed
when it was taken. What cannot be known is said to be unknown.
"""

from ._generated.contract import SPEC_VERSION
from ._retry import RetryPolicy
from ._version import __version__
from .batch import Batch
from .client import ClaimsClient
from .errors import (
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
from .health import ClientHealth, ClientStats
from .journal import Journal
from .models import (
    UNSET,
    Claim,
    ClaimDiscount,
    ClaimDiscountRef,
    ClaimRequest,
    Unset,
    claim_request_from_json,
)
from .outcomes import Claimed, Outcome, Rejected, Unknown

__all__ = [
    "SPEC_VERSION",
    "UNSET",
    "APIStatusError",
    "AuthenticationError",
    "Batch",
    "Claim",
    "ClaimDiscount",
    "ClaimDiscountRef",
    "ClaimRequest",
    "Claimed",
    "ClaimsClient",
    "ClaimsError",
    "ClientHealth",
    "ClientStateError",
    "ClientStats",
    "ConfigurationError",
    "InvalidClaimError",
    "Journal",
    "JournalError",
    "JournalWriteError",
    "NoAnswerError",
    "NotFoundError",
    "NotSentError",
    "Outcome",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "RateLimitedError",
    "RefConflictError",
    "Rejected",
    "RetryPolicy",
    "ServerError",
    "Unknown",
    "Unset",
    "__version__",
    "claim_request_from_json",
]
