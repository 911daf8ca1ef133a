"""The settings in use: where they come from, and what is wrong with them as they stand."""

from __future__ import annotations

import inspect
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dintero_claims_client import ClaimsClient
from dintero_claims_client.cli import exit_codes
from dintero_claims_client.cli.connection import Connection
from dintero_claims_client.cli.doctor_network import Server
from dintero_claims_client.cli.doctor_report import Check, Setting
from dintero_claims_client.errors import ConfigurationError
from dintero_claims_client.settings import settings_from_environment

_NAMES = ("account_id", "client_id", "client_secret", "base_url", "timeout", "trust_env")
_NEEDED = ("account_id", "client_id", "client_secret")

_SECRET = "DINTERO_CLIENT_SECRET"  # noqa: S105 - the name of a variable

_QUOTES = "\"'`\u201c\u201d\u2018\u2019"

Known = Mapping[str, Any]
"""The client's arguments, from options and environment; without a secret that cannot be read."""


def known_settings(connection: Connection) -> Known:
    """Return what is set."""
    try:
        environment = settings_from_environment()
    except ConfigurationError:
        # Only the secret can be set in two ways, or be in a file.
        others = {name: value for name, value in os.environ.items() if not name.startswith(_SECRET)}
        environment = settings_from_environment(others)
    return {**environment, **connection.options()}


def list_settings(connection: Connection, known: Known) -> list[Setting]:
    """Return the settings in use, and where each comes from."""
    options = connection.options()
    settings: list[Setting] = []
    for name in _NAMES:
        default = _default(name)
        if name in options:
            settings.append(Setting(name, _shown(name, options[name]), f"--{name.replace('_', '-')}"))
        elif name in known:
            value = known[name]
            # A secret from a file is a function, which reads it anew for each token.
            variable = f"$DINTERO_{name.upper()}{'_FILE' if callable(value) else ''}"
            settings.append(Setting(name, _shown(name, value), variable))
        elif default is not inspect.Parameter.empty:
            settings.append(Setting(name, _shown(name, default), "default"))
        elif name in _missing(known):
            settings.append(Setting(name, None, f"missing: set $DINTERO_{name.upper()}"))
        else:
            settings.append(Setting(name, None, f"cannot be read: see ${_SECRET} and ${_SECRET}_FILE"))
    return settings


def base_url(known: Known) -> str:
    """Return the address in use."""
    return str(known.get("base_url", _default("base_url")))


def check_settings(known: Known, error: ConfigurationError | None) -> Check:
    """Say whether a client can be made of the settings; `error` is what came of trying."""
    flaws = [
        f"{name} {flaw}"
        for name in ("account_id", "client_id", "base_url")
        if (flaw := _flaw(str(known.get(name, "x")))) is not None
    ]
    flawed = f"{', '.join(flaws)}: take that away, where it is set" if flaws else None
    if error is not None:
        advice = flawed
        if missing := [f"$DINTERO_{name.upper()}" for name in _missing(known)]:
            advice = (
                f"set {', '.join(missing)}; without an account, `dintero-claims sandbox serve` starts a "
                "stand-in and prints all that is to be set"
            )
        elif "client_secret" not in known:
            advice = (
                f"give the secret in ${_SECRET}, or in ${_SECRET}_FILE the path of a file that this user can "
                "read, and not both"
            )
        return Check("settings", str(error), "failed", advice, exit_codes.exit_code(error))
    complete = f"complete, for a {_kind(known)} account"
    return Check("settings", complete) if flawed is None else Check("settings", complete, "warning", flawed)


def check_secret(known: Known) -> Check:
    """Say whether the secret has a form that secrets do not have; nothing of it is shown."""
    secret = known.get("client_secret")
    if secret is None:
        return Check("secret", "there is none that can be read", "skipped")
    if not callable(secret):
        where, text, advice = f"${_SECRET}", str(secret), None
    else:
        where = f"the file that ${_SECRET}_FILE names"
        path = Path(os.environ[f"{_SECRET}_FILE"])
        try:
            text, mode = str(secret()), stat.S_IMODE(path.stat().st_mode)
        except (ConfigurationError, OSError) as error:
            return Check("secret", f"{where} cannot be read: {type(error).__name__}", "failed", None, 2)
        advice = None
        if os.name == "posix" and mode & 0o077:
            advice = (
                f"others on this machine may read it (its mode is {mode:03o}): chmod 600 {path}, unless "
                "nobody else is on this machine, as in a container"
            )
    flaw = _flaw(text)
    if flaw is not None:
        # The client refuses such a one; with others it is the server who does.
        useless = not text or not text.isprintable()
        return Check(
            "secret",
            f"{where} {flaw}",
            "failed" if useless else "warning",
            "give the secret as the API client's page shows it, and nothing else",
            exit_codes.USAGE,
        )
    if advice is not None:
        return Check("secret", f"{where} has a secret", "warning", advice)
    return Check("secret", f"{where} has the form of a secret")


def check_environment(known: Known, server: Server | None) -> Check:
    """Say whether this is a test account or a production account, and whether the address goes with it."""
    account_id = str(known.get("account_id", ""))
    if not re.fullmatch(r"[PT][0-9]{8}", account_id) or server is None:
        return Check("environment", "the account or the address is not known", "skipped")
    at = f"{_kind(known)} account {account_id} at {server.host}"
    if account_id.startswith("T"):
        return Check("environment", at)
    if server.is_local:
        return Check(
            "environment",
            f"PRODUCTION, and yet a stand-in: {at}, which is this machine",
            "warning",
            "with a sandbox, take all four variables from its first line; for production, base_url is "
            f"{_default('base_url')}",
        )
    return Check(
        "environment",
        f"PRODUCTION: {at}, where each claim spends a customer's discount",
        "warning",
        "to try things out, take a test account (T...); the commands claim here only with --live",
    )


def _default(name: str) -> Any:  # noqa: ANN401 - whatever the client takes
    return inspect.signature(ClaimsClient).parameters[name].default


def _kind(known: Known) -> str:
    return "production" if str(known.get("account_id")).startswith("P") else "test"


def _missing(known: Known) -> list[str]:
    """Return what is not set at all."""
    missing = [name for name in _NEEDED if name not in known]
    if os.environ.get(f"{_SECRET}_FILE") or os.environ.get(_SECRET):
        missing = [name for name in missing if name != "client_secret"]
    return missing


def _shown(name: str, value: object) -> str:
    if name == "client_secret":
        return "set"
    # A URL with credentials is refused, but it is shown before.
    return re.sub(r"//.*@", "//[secret]@", str(value))


def _flaw(text: str) -> str | None:
    """Say what a text has that came with copying it, or with the file that it stands in."""
    if not text:
        return "is empty"
    if text != text.strip():
        return "begins or ends with white space"
    if not text.isprintable():
        return "has a line break in it, or a character that cannot be seen"
    if len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES:
        return "is in quotes, which are taken for a part of it"
    if text.startswith("DINTERO_"):
        return "begins with the name of a variable, which is taken for a part of it"
    return None
