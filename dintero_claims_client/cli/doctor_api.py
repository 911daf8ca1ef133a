"""What the API says to these credentials: a token, and a list of one claim at most; nothing is claimed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dintero_claims_client import ClaimsClient
from dintero_claims_client._tokens import TokenFailure
from dintero_claims_client.cli import exit_codes
from dintero_claims_client.cli.doctor_report import Check
from dintero_claims_client.cli.doctor_scope import check_scope, scopes_in
from dintero_claims_client.errors import (
    APIStatusError,
    AuthenticationError,
    ClaimsError,
    ConfigurationError,
    NoAnswerError,
    NotFoundError,
    NotSentError,
    PermissionDeniedError,
    RateLimitedError,
    ServerError,
)
from dintero_claims_client.models import Claim

_WRONG_ADDRESS = (
    "check base_url, which ends with its version as in https://api.dintero.com/v1, and account_id"
)

# By what the library says about an exchange that failed; the first that is found in it counts.
_ADVICE_BY_WORDS = (
    (
        "cannot be read|is not a list|a list of something else",
        f"something else than the API answered, such as a web page: {_WRONG_ADDRESS}",
    ),
    ("timed out|in time", "nobody answered in time: check base_url and the network, or raise --timeout"),
    ("", "the connection broke: check base_url, and whether a proxy is between, and try again"),
)


class ExaminedClient(ClaimsClient):
    """A client that asks for a token by itself, and says what that allows."""

    async def ask_for_token(self) -> ClaimsError | None:
        """Ask once, where a call would ask for half a minute; return why there is no token."""
        opened = self._open()
        token = await opened.tokens.get_now(deadline=self._deadline(opened, None))
        if isinstance(token, TokenFailure):
            return NotSentError(token.reason) if token.make_error is None else token.make_error()
        return None

    def scopes(self) -> tuple[str, ...] | None:
        """Return the scopes of the token that it has; None where it has none, or that does not list them."""
        token = None if self._opened is None else self._opened.tokens.at_hand()
        return None if token is None else scopes_in(token.value)


@dataclass(frozen=True, slots=True)
class Answered:
    """What the API's answers come to; `claims` is None where there was no list, and `error` says why."""

    checks: tuple[Check, Check, Check]
    claims: Sequence[Claim] | None = None
    error: ClaimsError | None = None


def not_asked(reason: str) -> Answered:
    """Return what is known where the API was not asked."""
    token, scope, list_ = (Check(name, reason, "skipped") for name in ("token", "scope", "list"))
    return Answered((token, scope, list_))


async def ask_api(client: ExaminedClient) -> Answered:
    """Ask for a token and for one claim."""
    claims: list[Claim] = []
    async with client:
        refusal = await client.ask_for_token()
        if refusal is not None:
            scope, list_ = (Check(name, "there is no token", "skipped") for name in ("scope", "list"))
            return Answered((_failed("token", refusal), scope, list_), error=refusal)
        token = Check("token", "the credentials are good")
        # Before the API refuses the token, which is forgotten then.
        scopes = client.scopes()
        try:
            async for claim in client.list_claims(page_size=1):
                claims.append(claim)
                break
        except ClaimsError as error:
            scope = check_scope(scopes, is_refused=isinstance(error, PermissionDeniedError))
            return Answered((token, scope, _failed("list", error)), error=error)
    list_ = Check("list", "claims can be read")
    return Answered((token, check_scope(scopes, is_refused=False), list_), claims)


def _failed(name: str, error: ClaimsError) -> Check:
    return Check(name, str(error), "failed", _advice(name, error), exit_codes.exit_code(error))


def _advice(failed: str, error: ClaimsError) -> str | None:
    match failed, error:
        case _, ServerError() | RateLimitedError():
            return "nothing is wrong with the settings that could be seen: try again later"
        case "list", AuthenticationError():
            return f"the API refuses a token that was just given: {_WRONG_ADDRESS}"
        case _, AuthenticationError(status=401):
            return (
                "client_id or the secret is wrong, or the secret has expired, or they are not a pair: take "
                "both from one API client; test and production have different ones"
            )
        case _, AuthenticationError(status=403):
            return "the credentials are good, but not for this account: check account_id"
        case _, AuthenticationError() | NotFoundError():
            return f"there is no such address: {_WRONG_ADDRESS}"
        case _, PermissionDeniedError():
            return "ask whoever manages the API client for the scope write:discounts, and check account_id"
        case _, ConfigurationError():
            return "look at the file that $DINTERO_CLIENT_SECRET_FILE names"
        case _, APIStatusError(status=status) if status < 400:
            return f"there is no such address: {_WRONG_ADDRESS}"
        case _, NotSentError() | NoAnswerError():
            return next(advice for words, advice in _ADVICE_BY_WORDS if re.search(words, str(error)))
        case _:
            return None
