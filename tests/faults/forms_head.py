"""Forms of answer whose head is not as HTTP/1.1 writes it."""

from __future__ import annotations

from collections.abc import Callable

from faults.wire import Facts, Form, Kind, Wire, reheaded

Build = Callable[[Facts], Wire]


def _status_line(change: Callable[[bytes], bytes], *, close: bool = True) -> Build:
    return reheaded(lambda line, headers: (change(line), headers), close=close)


def _extra(lines: bytes, *, close: bool = True) -> Build:
    """Return a form: the honest answer with these bytes before its headers."""
    return reheaded(lambda line, headers: (line, lines + headers), close=close)


def _bytes(data: bytes) -> Build:
    return lambda _facts: Wire(data, b"", close=True)


def _bare(facts: Facts) -> Wire:
    """HTTP/0.9 had no head."""
    return Wire(b"", b"", facts.body, close=True)


_EITHER: dict[str, Build] = {
    "no-reason": _status_line(lambda line: line.replace(b" X\r\n", b"\r\n")),
    "lower-case": _status_line(lambda line: line.lower()),
    "http-2.0": _status_line(lambda line: line.replace(b"/1.1", b"/2.0")),
    "http-0.9": _bare,
    "line-feeds": reheaded(
        lambda line, headers: (line.replace(b"\r", b""), headers.replace(b"\r", b"")), close=True
    ),
    "folded": _extra(b"X-Folded: one\r\n two\r\n"),
    "no-colon": _extra(b"This is no header\r\n"),
    "nul": _extra(b"X-Nul: a\0b\r\n"),
    "8-bit": _extra(b"X-Bits: \xff\xfe\x80\r\n"),
    "empty-lines-first": _status_line(lambda line: b"\r\n\r\n\r\n" + line),
    "spaces-first": _status_line(lambda line: b"   " + line),
}

FORMS = [
    *(Form(f"head-{name}", Kind.EITHER, build) for name, build in _EITHER.items()),
    Form("head-100-kb", Kind.EITHER, _extra(b"X-Big: " + b"x" * 100_000 + b"\r\n"), heavy=True),
    Form("head-10000-headers", Kind.EITHER, _extra(b"X-Many: x\r\n" * 10_000), heavy=True),
    Form("head-no-status", Kind.AMBIGUOUS, _status_line(lambda _: b"HTTP/1.1\r\n")),
    Form("ssh", Kind.AMBIGUOUS, _bytes(b"SSH-2.0-OpenSSH_9.6\r\n")),
    Form("tls-alert", Kind.AMBIGUOUS, _bytes(b"\x15\x03\x03\x00\x02\x02\x28")),
]
