"""One request without credentials: what time the server has, and a sandbox's contract."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

import httpx

from dintero_claims_client.cli.doctor_network import Proxy, Server
from dintero_claims_client.settings import default_user_agent

_BODY_CAP = 64 * 1024


@dataclass(frozen=True, slots=True)
class Probe:
    """What a server answered, whatever it was asked.

    `ahead` is how many seconds this machine's clock is ahead of the server's, None where that is not known;
    `contract` is the version and the digest of a sandbox's contract.
    """

    ahead: float | None = None
    contract: tuple[str, str] | None = None


async def ask(server: Server, proxy: Proxy | None, *, seconds: float) -> Probe:
    """Ask a server on this machine what a sandbox would tell, and any other for its base_url."""
    url = f"{server.origin}/__sandbox__/health" if server.is_local else server.url
    try:
        async with (
            httpx.AsyncClient(
                # As the client connects, and not as httpx would by itself.
                verify=ssl.create_default_context(),
                proxy=None if proxy is None else proxy.url,
                trust_env=False,
                timeout=seconds,
                headers={"User-Agent": default_user_agent()},
            ) as http,
            http.stream("GET", url) as response,
        ):
            ahead = _ahead(response.headers.get("date"), datetime.now(UTC))
            if not server.is_local or response.status_code != 200:
                return Probe(ahead)
            content = b""
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _BODY_CAP:
                    return Probe(ahead)
            return Probe(ahead, _contract(content))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError):
        # It says nothing. What is wrong with it, the token request will tell.
        return Probe()


def _ahead(date: str | None, now: datetime) -> float | None:
    try:
        return None if date is None else (now - parsedate_to_datetime(date).astimezone(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None


def _contract(content: bytes) -> tuple[str, str] | None:
    try:
        told: Any = json.loads(content)["contract"]
        version, digest = told["version"], told["sha256"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    texts = isinstance(version, str) and isinstance(digest, str)
    return (cast("str", version), cast("str", digest)) if texts else None
