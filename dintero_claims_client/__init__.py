"""Claim discounts at Dintero from asyncio.

No claim is lost, none is made twice, none is credited to the wrong caller, and none is reported failed
when it was taken. What cannot be known is said to be unknown.

A name is imported when it is first asked for, so that importing the package alone costs next to nothing.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_NAMES = {
    "_generated.contract": ("SPEC_VERSION",),
    "_retry": ("RetryPolicy",),
    "_version": ("__version__",),
    "batch": ("Batch",),
    "client": ("ClaimsClient",),
    "errors": (
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
    ),
    "events": (),
    "health": ("ClientHealth", "ClientStats"),
    "journal": ("Journal",),
    "models": (
        "UNSET",
        "Claim",
        "ClaimDiscount",
        "ClaimDiscountRef",
        "ClaimRequest",
        "Unset",
        "claim_request_from_json",
    ),
    "outcomes": ("Claimed", "Outcome", "Rejected", "Unknown"),
    "settings": (),
}
"""Where each name comes from. The modules without an underscore are attributes of the package too."""

_MODULES = {name: module for module, names in _NAMES.items() for name in names}
_SUBMODULES = {module for module in _NAMES if not module.startswith("_")}


if not TYPE_CHECKING:  # to a type checker it would say that every name exists

    def __getattr__(name: str) -> object:
        """Import what is asked for."""
        if name in _MODULES:
            value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
        elif name in _SUBMODULES:
            value = import_module(f".{name}", __name__)
        else:
            raise AttributeError(
                f"module {__name__!r} has no attribute {name!r}", name=name, obj=sys.modules[__name__]
            )
        # The next time it is found like any other.
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """List also what was not asked for yet."""
    return sorted({*globals(), *__all__, *_SUBMODULES})
