"""The settings of a client: checked once, then frozen. The only reader of the environment."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from platform import python_version
from typing import Any, TypedDict
from urllib.parse import urlsplit

import attrs

from ._engines.base import AsyncHttpClient
from ._generated.contract import SPEC_SHA256, SPEC_VERSION
from ._retry import RetryPolicy, check_count, check_seconds
from ._secrets import MaskedStr, Secret, SecretSource, printable
from ._version import __version__
from .errors import ConfigurationError
from .events import EventHook

DEFAULT_BASE_URL = "https://api.dintero.com/v1"


class ClientArguments(TypedDict, total=False):
    """The arguments of `ClaimsClient`, for those who pass them on."""

    account_id: str
    client_id: str
    client_secret: SecretSource
    base_url: str
    timeout: float
    max_connections: int
    generate_refs: bool
    retry: RetryPolicy
    token_url: str | None
    audience: str | None
    ssl_context: ssl.SSLContext | None
    proxy: str | None
    trust_env: bool
    allow_http: bool
    http_client: AsyncHttpClient | None
    on_event: EventHook | None
    system_name: str
    system_version: str
    system_plugin_name: str
    system_plugin_version: str
    user_agent: str | None


@attrs.frozen(kw_only=True)
class Settings:
    """What a client works with, all of it checked. The secret appears in no repr."""

    account_id: str
    client_id: str
    client_secret: Secret
    base_url: str
    token_url: str
    audience: str
    timeout: float
    max_connections: int
    generate_refs: bool
    retry: RetryPolicy
    headers: Mapping[str, str]
    ssl_context: ssl.SSLContext | None
    # A proxy's URL may hold its password.
    proxy: str | None = attrs.field(repr=False)
    trust_env: bool


def build_settings(
    *,
    account_id: str,
    client_id: str,
    client_secret: Secret | None,
    base_url: str,
    timeout: float,
    max_connections: int,
    generate_refs: object,
    retry: object,
    token_url: str | None,
    audience: str | None,
    ssl_context: object,
    proxy: str | None,
    trust_env: object,
    allow_http: object,
    own_engine: bool,
    system_name: str,
    system_version: str,
    system_plugin_name: str,
    system_plugin_version: str,
    user_agent: str,
) -> Settings:
    """Check and normalise what a client was given; raises `ConfigurationError` naming the setting."""
    check_account_id(account_id)
    plain = _check_switch("allow_http", allow_http)
    # RFC 7617: a colon would end the user-id of HTTP Basic.
    if printable(client_id) is None or ":" in client_id:
        raise ConfigurationError("client_id: must be a text that is not empty and has no colon")
    if client_secret is None:
        raise ConfigurationError(
            "client_secret: must be printable text that is not empty, or a function that returns it"
        )
    base_url = _check_url("base_url", base_url, allow_http=plain)
    if token_url is None:
        token_url = f"{base_url}/accounts/{account_id}/auth/token"
    else:
        token_url = _check_url("token_url", token_url, allow_http=plain)
    if audience is None:
        audience = f"{base_url}/accounts/{account_id}"
    elif printable(audience) is None:
        raise ConfigurationError("audience: must be a text that is not empty")
    if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
        raise ConfigurationError("ssl_context: must be an ssl.SSLContext")
    if not isinstance(retry, RetryPolicy):
        raise ConfigurationError("retry: must be a RetryPolicy")
    if not own_engine and (ssl_context is not None or proxy is not None or trust_env):
        raise ConfigurationError(
            "ssl_context, proxy, trust_env: set them on the http_client that is given instead"
        )
    if proxy is not None and not _is_proxy(proxy):
        # Not shown: it may hold a password.
        raise ConfigurationError("proxy: must be a URL that begins with http:// or https:// and names a host")
    return Settings(
        account_id=account_id,
        client_id=client_id,
        client_secret=client_secret,
        base_url=base_url,
        token_url=token_url,
        audience=audience,
        timeout=check_seconds("timeout", timeout),
        max_connections=check_count("max_connections", max_connections),
        generate_refs=_check_switch("generate_refs", generate_refs),
        retry=retry,
        headers={
            "Accept": "application/json",
            # Inflating is a risk without a gain for answers of a few hundred bytes.
            "Accept-Encoding": "identity",
            "User-Agent": _check_header("user_agent", user_agent),
            "Dintero-System-Name": _check_header("system_name", system_name),
            "Dintero-System-Version": _check_header("system_version", system_version),
            "Dintero-System-Plugin-Name": _check_header("system_plugin_name", system_plugin_name),
            "Dintero-System-Plugin-Version": _check_header("system_plugin_version", system_plugin_version),
        },
        ssl_context=ssl_context,
        proxy=proxy,
        trust_env=_check_switch("trust_env", trust_env),
    )


def default_user_agent() -> str:
    """Return this library's User-Agent, which names the contract that it was made from."""
    contract = f"{SPEC_VERSION}; {SPEC_SHA256[:8]}"
    return f"dintero-claims-client/{__version__} (contract {contract}) python/{python_version()}"


def settings_from_environment(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the client's arguments that the environment holds.

    Reads DINTERO_ACCOUNT_ID, DINTERO_CLIENT_ID, DINTERO_CLIENT_SECRET or DINTERO_CLIENT_SECRET_FILE (the
    path of a file, read anew for every token), and DINTERO_BASE_URL. Raises `ConfigurationError` for both
    forms of the secret at once; what is missing is left out.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, Any] = {}
    for name in ("account_id", "client_id", "base_url"):
        if value := environ.get(f"DINTERO_{name.upper()}"):
            found[name] = value
    secret, path = environ.get("DINTERO_CLIENT_SECRET"), environ.get("DINTERO_CLIENT_SECRET_FILE")
    if secret and path:
        raise ConfigurationError(
            "DINTERO_CLIENT_SECRET and DINTERO_CLIENT_SECRET_FILE: set one of them, not both"
        )
    if secret:
        found["client_secret"] = MaskedStr(secret)
    elif path:
        # Read once here, so that a wrong path is said at once and not at the first claim.
        _read_secret(path)
        found["client_secret"] = lambda: _read_secret(path)
    return found


def _read_secret(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"DINTERO_CLIENT_SECRET_FILE: cannot be read ({type(error).__name__})"
        ) from None


def check_account_id(account_id: object) -> None:
    """Raise `ConfigurationError` unless this is wholly P or T and eight ASCII digits (openapi: AccountId)."""
    if not isinstance(account_id, str) or not re.fullmatch(r"[PT][0-9]{8}", account_id):
        raise ConfigurationError(
            "account_id: must be P (production) or T (test) and eight digits, such as T12345678"
        )


def _check_switch(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name}: must be True or False")
    return value


def _check_header(name: str, value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", value):
        raise ConfigurationError(f"{name}: must be printable ASCII text, it is sent as a header")
    return value


def _check_url(name: str, url: object, *, allow_http: bool) -> str:
    """Return the URL without a slash at its end."""
    # RFC 3986 has no other characters.
    if not isinstance(url, str) or not re.fullmatch(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+", url):
        raise ConfigurationError(f"{name}: must be a URL, with no other characters than a URL has")
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError(f"{name}: is not a URL") from None
    if parts.scheme not in ("https", "http") or not host:
        raise ConfigurationError(f"{name}: must begin with https:// and name a host")
    # Also after a slash, which a password may have: what is before it would be the host.
    if "@" in url:
        raise ConfigurationError(f"{name}: must not hold credentials")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ConfigurationError(f"{name}: must have no query and no fragment")
    if parts.scheme == "http" and not allow_http and not _is_loopback(host):
        raise ConfigurationError(
            f"{name}: http:// sends the secret in the clear; use https://, or allow_http=True if you must"
        )
    return url.rstrip("/")


def _is_proxy(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
