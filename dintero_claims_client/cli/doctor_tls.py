"""TLS: whether the server's certificate is trusted, and whose it is where it is not."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dintero_claims_client.cli.doctor_network import Proxy, Server, close, connect
from dintero_claims_client.cli.doctor_report import Check

# X509_V_ERR_… of OpenSSL: not yet valid, expired; another host name, another address.
_NOT_YET, _EXPIRED = 9, 10
_OTHERS = (62, 64)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the server shows of itself, which nobody has checked."""

    subject: str
    issuer: str
    names: str
    begins: datetime
    ends: datetime


async def check_tls(
    server: Server, proxy: Proxy | None, *, seconds: float
) -> tuple[Check, Certificate | None]:
    """Shake hands as the client does; where the certificate is not trusted, return what it says too."""
    if server.scheme != "https":
        where = "to this machine" if server.is_local else "and nothing is encrypted"
        return Check("TLS", f"base_url is http://, {where}", "skipped"), None
    if proxy is not None and proxy.url.startswith("https:"):
        return Check("TLS", f"{proxy.variable} is https://, and is not looked through", "skipped"), None
    try:
        await _shake_hands(server, proxy, ssl.create_default_context(), seconds)
    except ssl.SSLCertVerificationError as error:
        certificate = await _read_certificate(server, proxy, seconds)
        return _untrusted(server, error, certificate), certificate
    except ssl.SSLError as error:
        reason = error.reason or type(error).__name__
        message = f"{server.authority} speaks no TLS that this machine accepts ({reason})"
        return Check("TLS", message, "failed", "check base_url: https:// or http://, and its port"), None
    except OSError:
        message = f"the connection to {server.authority} broke, or stood still, in the handshake"
        advice = "a firewall that looks at names may do this: ask that the host be let through"
        return Check("TLS", message, "failed", advice), None
    return Check("TLS", f"the certificate of {server.host} is trusted"), None


def _untrusted(server: Server, error: ssl.SSLCertVerificationError, certificate: Certificate | None) -> Check:
    if certificate is None:
        shown, issuer, names, dates = "", "its issuer", "another host", ""
    else:
        issuer, names = certificate.issuer, certificate.names or "no host"
        shown = f"; it is of {certificate.subject}, issued by {issuer}"
        dates = f", valid from {certificate.begins:%Y-%m-%d} to {certificate.ends:%Y-%m-%d}"
    if error.verify_code in (_NOT_YET, _EXPIRED):
        words = f"{'has expired' if error.verify_code == _EXPIRED else 'is not valid yet'}{dates}"
        advice = "look at this machine's clock; if it is right, who runs the server has to renew it"
    elif error.verify_code in _OTHERS:
        words = f"is for {names}, and not for {server.host}"
        advice = f"check base_url; if it is right, something else than {server.host} answers"
    else:
        words = f"is not trusted ({error.verify_message})"
        advice = (
            f"if {issuer} is your company's, its proxy reads TLS: have $SSL_CERT_FILE name a PEM file "
            "with its CA's certificate among the others; if not, somebody else answers: check base_url"
        )
    if (path := os.environ.get("SSL_CERT_FILE")) is not None and not Path(path).is_file():
        advice = f"$SSL_CERT_FILE names a file that is not there; {advice}"
    return Check("TLS", f"the certificate {words}{shown}", "failed", advice)


async def _shake_hands(
    server: Server, proxy: Proxy | None, context: ssl.SSLContext, seconds: float
) -> dict[str, Any]:
    """Shake hands and hang up; return what the certificate says where the context has checked it."""
    stream = await connect(server, proxy, seconds)
    if isinstance(stream, Check):
        raise ConnectionError(stream.message)
    _, writer = stream
    try:
        async with asyncio.timeout(seconds):
            await writer.start_tls(context, server_hostname=server.host)
        # It shows a certificate only where one was asked for, and looks that up when it is asked to show it.
        context.verify_mode = ssl.CERT_REQUIRED
        return writer.get_extra_info("ssl_object").getpeercert() or {}
    finally:
        await close(stream)


async def _read_certificate(server: Server, proxy: Proxy | None, seconds: float) -> Certificate | None:
    """Read the certificate of a server that is not trusted; nothing is sent to it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        shown = await _shake_hands(server, proxy, context, seconds)
        return Certificate(
            subject=_name(shown["subject"]),
            issuer=_name(shown["issuer"]),
            names=", ".join(str(name) for _, name in shown.get("subjectAltName", ())),
            begins=_time(shown["notBefore"]),
            ends=_time(shown["notAfter"]),
        )
    except (OSError, KeyError, ValueError):
        return None


def _name(parts: Iterable[Iterable[tuple[str, str]]]) -> str:
    return ", ".join(f"{name}={value}" for part in parts for name, value in part) or "nobody"


def _time(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
