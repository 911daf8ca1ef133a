"""The command `doctor`: the settings in use, where they come from, and whether the API takes them.

It reads one claim at most, and claims nothing.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import asdict, dataclass
from typing import Any

from dintero_claims_client import SPEC_VERSION, ClaimsClient, RetryPolicy
from dintero_claims_client._generated.contract import SPEC_SHA256
from dintero_claims_client.cli import exit_codes, output
from dintero_claims_client.cli.connection import Connection
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
from dintero_claims_client.settings import settings_from_environment

_NAMES = ("account_id", "client_id", "client_secret", "base_url", "timeout")

_WRONG_ADDRESS = (
    "check base_url, which ends with its version as in https://api.dintero.com/v1, and account_id"
)

_NOT_THE_API = f"something else than the API answered, such as a web page: {_WRONG_ADDRESS}"

# By what the library says about an exchange that failed; the first that is found in it counts.
_ADVICE_BY_WORDS = (
    ("certificate", "base_url names another host, or a proxy reads TLS, whose authority must be trusted"),
    ("SSL", "the server speaks no TLS that this machine accepts: check base_url and its port"),
    ("DNS", "the name of the host is not known: check base_url, and the network"),
    ("cannot be read|is not a list|a list of something else", _NOT_THE_API),
    ("timed out|in time", "nobody answered in time: check base_url and the network, or raise --timeout"),
    ("no connection", "nobody listens there, or a firewall is between: check base_url, and the network"),
    ("", "the connection broke: check base_url, and whether a proxy is between, and try again"),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as it may be shown, and where it comes from."""

    name: str
    value: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Check:
    """Whether something works, in words; and where it does not, what to do."""

    name: str
    message: str
    ok: bool = True
    advice: str | None = None


async def doctor(connection: Connection, *, as_json: bool) -> int:
    """Show the settings, try them, and return the exit code of what is wrong first."""
    settings = list_settings(connection)
    account_id = next((setting.value for setting in settings if setting.name == "account_id"), None)
    checks, code = await _check(connection, account_id)
    if as_json:
        output.write_json(
            {
                "ok": code == exit_codes.DONE,
                "exit_code": code,
                "contract": {"version": SPEC_VERSION, "sha256": SPEC_SHA256},
                "settings": [asdict(setting) for setting in settings],
                "checks": [asdict(check) for check in checks],
            }
        )
        return code
    output.write_line(f"contract {SPEC_VERSION} (sha256 {SPEC_SHA256})")
    if settings:
        output.write_rows([(setting.name, setting.value or "", setting.source) for setting in settings])
    for check in checks:
        output.write_line(
            f"{'ok' if check.ok else 'FAILED'}: {check.name}: {output.printable(check.message)}"
        )
        if check.advice is not None:
            output.write_line(f"  {check.advice}")
    return code


def list_settings(connection: Connection) -> list[Setting]:
    """Return the settings in use; where the environment cannot be read, those from options only."""
    options = connection.options()
    try:
        environment = settings_from_environment()
    except ConfigurationError:
        return [Setting(name, _shown(name, value), _option(name)) for name, value in options.items()]
    settings: list[Setting] = []
    for name in _NAMES:
        default: Any = inspect.signature(ClaimsClient).parameters[name].default
        if name in options:
            settings.append(Setting(name, _shown(name, options[name]), _option(name)))
        elif name in environment:
            value = environment[name]
            # A secret from a file is a function, which reads it anew for each token.
            variable = f"$DINTERO_{name.upper()}{'_FILE' if callable(value) else ''}"
            settings.append(Setting(name, _shown(name, value), variable))
        elif default is not inspect.Parameter.empty:
            settings.append(Setting(name, _shown(name, default), "default"))
        else:
            settings.append(Setting(name, None, f"missing: set $DINTERO_{name.upper()}"))
    return settings


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _shown(name: str, value: object) -> str:
    if name == "client_secret":
        return "set"
    # A URL with credentials is refused, but it is shown before.
    return re.sub(r"//[^/]*@", "//[secret]@", str(value))


async def _check(connection: Connection, account_id: str | None) -> tuple[list[Check], int]:
    try:
        # One attempt: who waits for an answer wants the first one.
        client = connection.client(retry=RetryPolicy(max_attempts=1))
    except ConfigurationError as error:
        return [Check("settings", str(error), ok=False)], exit_codes.exit_code(error)
    passed = [
        Check("settings", f"complete, for a {_kind(account_id)} account"),
        Check("token", "the credentials are good"),
        Check("list", "claims can be read"),
    ]
    try:
        async with client:
            async for _ in client.list_claims(page_size=1):
                break
    except ClaimsError as error:
        name = _failed_check(error, token_requests=client.stats().token_requests)
        failed = Check(name, str(error), ok=False, advice=_advice(name, error))
        return [*passed[: 2 if name == "list" else 1], failed], exit_codes.exit_code(error)
    return passed, exit_codes.DONE


def _kind(account_id: str | None) -> str:
    return "production" if str(account_id).startswith("P") else "test"


def _failed_check(error: ClaimsError, *, token_requests: int) -> str:
    """Say what failed in a client's first call, which fetches a token and then lists."""
    match error:
        case ConfigurationError():
            # The secret's file, which is read for the token.
            return "token"
        case NotSentError() if "token" in str(error):
            return "token"
        case AuthenticationError(status=status):
            # The API's own 401 comes when a second token has been tried.
            return "token" if status != 401 or token_requests == 1 else "list"
        case ServerError() | RateLimitedError():
            # Either of the two can be in trouble, and it does not matter which.
            return "server"
        case _:
            return "list"


def _advice(failed: str, error: ClaimsError) -> str | None:
    match failed, error:
        case _, ServerError() | RateLimitedError():
            return "nothing is wrong with the settings that could be seen: try again later"
        case "list", AuthenticationError():
            return f"the API refuses a token that was just given: {_WRONG_ADDRESS}"
        case _, AuthenticationError(status=401):
            return (
                "client_id or the secret is wrong, or they are not a pair: take both from the same API client"
            )
        case _, AuthenticationError(status=403):
            return "the credentials are good, but not for this account: check account_id"
        case _, AuthenticationError() | NotFoundError():
            return f"there is no such address: {_WRONG_ADDRESS}"
        case _, PermissionDeniedError():
            return "ask whoever manages the API client for the scope on discounts, and check account_id"
        case _, ConfigurationError():
            return "look at the file that $DINTERO_CLIENT_SECRET_FILE names"
        case _, APIStatusError(status=status) if status < 400:
            return f"there is no such address: {_WRONG_ADDRESS}"
        case _, NotSentError() | NoAnswerError():
            return next(advice for words, advice in _ADVICE_BY_WORDS if re.search(words, str(error)))
        case _:
            return None
