"""Forms of answer whose bytes end elsewhere than they say: lengths, chunks, compression, second answers."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import json
import zlib
from collections.abc import Callable

from faults.wire import Facts, Form, Kind, Wire, answer, head, honest, refusal

Build = Callable[[Facts], Wire]


def _length(change: Callable[[int], object], *, close: bool = True) -> Build:
    return lambda facts: answer(
        facts.status, facts.body, {"Content-Length": str(change(len(facts.body)))}, close=close
    )


def _headers(facts: Facts, lines: bytes, body: bytes, *, close: bool = False) -> Wire:
    """Return the honest status with exactly these framing headers and this body."""
    end = b"Connection: close\r\n\r\n" if close else b"\r\n"
    status_line = f"HTTP/1.1 {facts.status} X\r\n".encode()
    return Wire(status_line, b"Content-Type: application/json\r\n" + lines + end, body, close)


def _two_lengths(facts: Facts) -> Wire:
    size = len(facts.body)
    lines = f"Content-Length: {size}\r\nContent-Length: {size - 3}\r\n".encode()
    return _headers(facts, lines, facts.body, close=True)


def _no_length(facts: Facts) -> Wire:
    return _headers(facts, b"", facts.body, close=True)


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _chunked(make: Callable[[bytes], bytes], *, close: bool = True, lines: bytes = b"") -> Build:
    return lambda facts: _headers(
        facts, b"Transfer-Encoding: chunked\r\n" + lines, make(facts.body), close=close
    )


def _halves(body: bytes) -> bytes:
    middle = len(body) // 2
    return chunk(body[:middle]) + chunk(body[middle:])


def _length_and_chunked(facts: Facts) -> Wire:
    lines = f"Content-Length: {len(facts.body)}\r\nTransfer-Encoding: chunked\r\n".encode()
    return _headers(facts, lines, chunk(facts.body) + b"0\r\n\r\n", close=True)


def _encoded(encoding: str, change: Callable[[bytes], bytes]) -> Build:
    return lambda facts: answer(facts.status, change(facts.body), {"Content-Encoding": encoding})


def _gzip(body: bytes) -> bytes:
    # Without a time in it, so that the same answer is the same bytes.
    return gzip.compress(body, 1, mtime=0)


def _broken_gzip(body: bytes) -> bytes:
    packed = _gzip(body)
    return packed[:12] + bytes(255 - byte for byte in packed[12:])


@functools.cache
def _bomb() -> bytes:
    return gzip.compress(b" " * (64 * 1024 * 1024), mtime=0)


def _then(second: Build) -> Build:
    """Return a form: the honest answer, and one more that nobody asked for."""

    def build(facts: Facts) -> Wire:
        wire = honest(facts)
        return dataclasses.replace(wire, body=wire.body + bytes(second(facts)))

    return build


def _stranger(facts: Facts) -> Wire:
    return answer(200, json.dumps(facts.stranger).encode())


def _with(fields: dict[str, str | int], *, close: bool = False) -> Build:
    return lambda facts: answer(facts.status, facts.body, fields, close=close)


def _http_1_0(facts: Facts) -> Wire:
    wire = _no_length(facts)
    return dataclasses.replace(
        wire, status_line=wire.status_line.replace(b"/1.1", b"/1.0"), headers=head({"Server": "old"})
    )


_LENGTHS = [
    Form("length-too-long", Kind.AMBIGUOUS, _length(lambda size: size + 20)),
    Form("length-too-short", Kind.AMBIGUOUS, _length(lambda size: size - 20, close=False)),
    Form("length-twice", Kind.EITHER, _two_lengths),
    Form("length-negative", Kind.EITHER, _length(lambda size: -size)),
    Form("length-text", Kind.EITHER, _length(lambda _: "many")),
    Form("length-huge", Kind.EITHER, _length(lambda _: 10**30)),
    Form("length-0", Kind.AMBIGUOUS, _length(lambda _: 0, close=False)),
    Form("length-and-chunked", Kind.EITHER, _length_and_chunked),
    Form("length-none", Kind.TAKEN, _no_length),
    Form("http-1.0", Kind.TAKEN, _http_1_0),
]

_CHUNKS = [
    Form("chunked", Kind.TAKEN, _chunked(lambda body: _halves(body) + b"0\r\n\r\n", close=False)),
    Form(
        "chunked-trailers",
        Kind.TAKEN,
        _chunked(
            lambda body: chunk(body) + b"0\r\nX-Sum: 7\r\n\r\n", close=False, lines=b"Trailer: X-Sum\r\n"
        ),
    ),
    Form("chunked-cut-off", Kind.AMBIGUOUS, _chunked(lambda body: chunk(body)[: len(body) // 2])),
    Form("chunked-wrong-size", Kind.AMBIGUOUS, _chunked(lambda body: b"5\r\n" + body + b"\r\n0\r\n\r\n")),
    Form("chunked-garbage-size", Kind.AMBIGUOUS, _chunked(lambda body: b"xyz\r\n" + body + b"\r\n0\r\n\r\n")),
    Form(
        "chunked-huge-size", Kind.EITHER, _chunked(lambda body: b"F" * 17 + b"\r\n" + body + b"\r\n0\r\n\r\n")
    ),
    Form("chunked-no-end", Kind.EITHER, _chunked(_halves)),
]

_ENCODINGS = [
    Form("gzip", Kind.TAKEN, _encoded("gzip", _gzip)),
    Form("gzip-broken", Kind.AMBIGUOUS, _encoded("gzip", _broken_gzip)),
    Form("gzip-cut-off", Kind.AMBIGUOUS, _encoded("gzip", lambda body: _gzip(body)[: len(body) // 3])),
    Form("gzip-trailing-garbage", Kind.EITHER, _encoded("gzip", lambda body: _gzip(body) + b"garbage")),
    Form("gzip-not", Kind.EITHER, _encoded("gzip", lambda body: body)),
    Form("gzip-bomb", Kind.AMBIGUOUS, _encoded("gzip", lambda _: _bomb()), heavy=True),
    Form("gzip-twice", Kind.EITHER, _encoded("gzip, gzip", lambda body: _gzip(_gzip(body)))),
    Form("deflate", Kind.TAKEN, _encoded("deflate", lambda body: zlib.compress(body, 1))),
    Form("br", Kind.AMBIGUOUS, _encoded("br", lambda body: b"\x0b" + _gzip(body))),
    Form("identity", Kind.TAKEN, _encoded("identity", lambda body: body)),
]

_MORE = [
    Form("honest-twice", Kind.TAKEN, _then(honest)),
    Form("honest-then-stranger", Kind.TAKEN, _then(_stranger)),
    Form("honest-then-400", Kind.TAKEN, _then(refusal(400))),
    Form("connection-close", Kind.TAKEN, _with({}, close=True)),
    Form("set-cookie", Kind.TAKEN, _with({"Set-Cookie": "session=stolen; Domain=localhost; Path=/"})),
    Form("upgrade", Kind.TAKEN, _with({"Upgrade": "h2c, websocket"})),
]

FORMS = [*_LENGTHS, *_CHUNKS, *_ENCODINGS, *_MORE]
