"""The way to the server: DNS, TCP, and the proxy that the environment names; which of them is blocked."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from base64 import b64encode
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from dintero_claims_client.cli.doctor_report import Check

_PORTS = {"http": 80, "https": 443}

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Server:
    """Where base_url leads."""

    url: str
    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self | None:
        """Return the server in a URL, None where it has none."""
        parts = _split(url)
        if parts is None or parts.hostname is None or "@" in parts.netloc:
            return None
        return cls(url.rstrip("/"), parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme])

    @property
    def is_local(self) -> bool:
        """Whether it is this machine."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def origin(self) -> str:
        """Its URL without a path."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """Its name and port, as a proxy is asked for it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that the environment names; its URL may hold a password."""

    variable: str
    url: str = field(repr=False)
    shown: str
    parts: SplitResult | None = field(repr=False)


def environment_proxy(server: Server) -> Proxy | None:
    """Return the proxy that the environment names for this server, as the client would find it."""
    url = getproxies().get(server.scheme)
    if not url or proxy_bypass(server.host):
        return None
    url = url if "://" in url else f"http://{url}"
    shown = re.sub(r"//.*@", "//[secret]@", url)
    names = (f"{server.scheme}_proxy", f"{server.scheme.upper()}_PROXY")
    # Some systems have settings of their own for it.
    variable = next((f"${name}" for name in names if os.environ.get(name)), "the system's setting")
    return Proxy(variable, url, shown, _split(url))


async def check_way(
    server: Server, proxy: Proxy | None, *, trust_env: bool, seconds: float
) -> tuple[Check, Check]:
    """Look at the proxy, and at the network; `proxy` is the one that the environment names."""
    if proxy is not None and trust_env:
        stream = await connect(server, proxy, seconds)
        if isinstance(stream, Check):
            return stream, Check("network", "all goes through the proxy", "skipped")
        await close(stream)
        through = Check("proxy", f"{proxy.variable} names {proxy.shown}, which goes to {server.authority}")
        return through, Check("network", "all goes through the proxy", "skipped")
    stream = await connect(server, None, seconds)
    if proxy is None:
        # urllib knows it, and neither engine follows it.
        other = (
            f"; $ALL_PROXY is not looked at, but ${server.scheme.upper()}_PROXY"
            if "all" in getproxies()
            else ""
        )
        unused = Check("proxy", f"the environment names none for {server.host}{other}")
    else:
        said = f"{proxy.variable} names {proxy.shown}, which is not used: all goes straight to the server"
        # Where that works, nothing is wrong.
        unused = Check("proxy", said)
        if isinstance(stream, Check):
            unused = Check("proxy", said, "warning", "if only the proxy is let out, add --trust-env")
    if isinstance(stream, Check):
        return unused, stream
    await close(stream)
    return unused, Check("network", f"{server.authority} takes connections")


async def connect(server: Server, proxy: Proxy | None, seconds: float) -> Stream | Check:
    """Connect to the server, through the proxy if there is one; return what is wrong where that fails."""
    if proxy is None:
        local = "start it: dintero-claims sandbox serve, and take base_url from its first line"
        remote = "check base_url and its port; a firewall can refuse too"
        return await _open(
            "network", "base_url", server.host, server.port, local if server.is_local else remote, seconds
        )
    parts = proxy.parts
    if parts is None or parts.hostname is None:
        advice = (
            f"set {proxy.variable} to http://HOST:PORT; other kinds of proxies, such as SOCKS, cannot be used"
        )
        return Check(
            "proxy", f"{proxy.variable} names {proxy.shown}, which is no HTTP proxy", "failed", advice
        )
    port = parts.port or _PORTS[parts.scheme]
    refused = f"check {proxy.variable}, or leave --trust-env away to go straight to the server"
    stream = await _open("proxy", proxy.variable, parts.hostname, port, refused, seconds)
    if isinstance(stream, Check) or server.scheme == "http" or parts.scheme == "https":
        return stream
    failure = await _tunnel(stream, server, proxy, parts, seconds)
    if failure is not None:
        await close(stream)
        return failure
    return stream


async def _open(
    name: str, setting: str, host: str, port: int, refused: str, seconds: float
) -> Stream | Check:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return Check(
            name, f"DNS: no answer for {host} in {seconds:g} s", "failed", "look at this machine's DNS"
        )
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a name"
        return Check(
            name,
            f"DNS: {host} is not known ({reason})",
            "failed",
            f"check {setting} for a slip; if it is right, this machine has no network, or no DNS for it",
        )
    failure: OSError | None = None
    for *_, address in found:
        try:
            async with asyncio.timeout(seconds / len(found)):
                return await asyncio.open_connection(str(address[0]), port)
        except OSError as error:
            failure = failure or error
    match failure:
        case TimeoutError():
            message = f"TCP: no answer from {host}:{port} in {seconds:g} s"
            advice = (
                f"a firewall drops what is sent there: ask that {host}:{port} be let through, or for a "
                "proxy, which HTTPS_PROXY is to name, and add --trust-env"
            )
        case ConnectionRefusedError():
            message, advice = f"TCP: {host}:{port} refuses connections: nobody listens there", refused
        case _:
            message = f"TCP: there is no way to {host}:{port} ({getattr(failure, 'strerror', None)})"
            advice = "look at this machine's network, its routes and its firewall"
    return Check(name, message, "failed", advice)


async def _tunnel(
    stream: Stream, server: Server, proxy: Proxy, parts: SplitResult, seconds: float
) -> Check | None:
    """Ask the proxy to connect to the server; None where it does."""
    reader, writer = stream
    request = f"CONNECT {server.authority} HTTP/1.1\r\nHost: {server.authority}\r\n"
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request += f"Proxy-Authorization: Basic {b64encode(credentials.encode()).decode()}\r\n"
    try:
        async with asyncio.timeout(seconds):
            writer.write(f"{request}\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        message = f"{proxy.shown} takes connections, and answers nothing that a proxy would"
        return Check("proxy", message, "failed", f"check {proxy.variable}: is that the proxy, and its port?")
    answer = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    status = 0 if answer is None else int(answer[1])
    if 200 <= status <= 299:
        return None
    if status == 407:
        wrong = "another" if parts.username is not None else "a user and a"
        advice = (
            f"{proxy.variable} needs {wrong} password: http://USER:PASSWORD@HOST:PORT, or ask who runs it"
        )
        return Check("proxy", f"{proxy.shown} asks for a password (407)", "failed", advice)
    message = f"{proxy.shown} does not go to {server.authority}: it answered {status or 'no HTTP'}"
    return Check("proxy", message, "failed", f"ask who runs the proxy to let {server.authority} through")


async def close(stream: Stream) -> None:
    """Hang up at once."""
    _, writer = stream
    # Nothing was said on it that could be lost.
    writer.transport.abort()
    # The event loop closes the socket a turn later. Its own way to wait for that never ends where a handshake
    # was given up.
    await asyncio.sleep(0)


def _split(url: str) -> SplitResult | None:
    """Return the parts of an HTTP URL with a host; None for any other."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _PORTS and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None
