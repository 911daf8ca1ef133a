"""Forms of answer that differ from the honest one by their status."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

from faults.ledger import refusal as error
from faults.wire import Facts, Form, Kind, Wire, answer, honest, refusal

_BIG = 3 * 1024 * 1024

REFUSALS = (400, 403, 404, 405, 409, 410, 413, 418, 422, 425, 428, 451)
BROKEN = (408, 500, 501, 503, 504, 507, 511, 520, 521, 524, 530, 598, 599)
REDIRECTS = (300, 301, 302, 303, 305, 307, 308)
NO_STATUS = ("999", "099", "600", "1000", "000", "-1", "abc")

RETRY_AFTER = {
    "0": "0",
    "1": "1",
    "2": "2",
    "past-date": "Wed, 21 Oct 2015 07:28:00 GMT",
    "negative": "-1",
    "nan": "nan",
    "inf": "inf",
    "1e999": "1e999",
    "year-99999": "Fri, 31 Dec 99999 23:59:59 GMT",
    "two-values": "5, 10",
    # A digit to Unicode, and three bytes of UTF-8 on the wire.
    "arabic": "\u0663".encode().decode("latin-1"),
    "empty": "",
    "400-digits": "9" * 400,
}

_HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


def _redirect(status: int) -> Callable[[Facts], Wire]:
    def build(facts: Facts) -> Wire:
        return answer(status, b"", {"Location": facts.trap})

    return build


def _not_modified(facts: Facts) -> Wire:
    return Wire(b"HTTP/1.1 304 X\r\n", f"Location: {facts.trap}\r\n\r\n".encode())


def _with_status(status: int) -> Callable[[Facts], Wire]:
    return lambda facts: honest(facts, status=status)


def _odd(status: str) -> Callable[[Facts], Wire]:
    # Closed, so that who waits for more after such a status does not wait for ever.
    return lambda facts: answer(status, facts.body, close=True)


def _interim(*statuses: int) -> Callable[[Facts], Wire]:
    before = "".join(f"HTTP/1.1 {status} X\r\n\r\n" for status in statuses).encode()

    def build(facts: Facts) -> Wire:
        wire = honest(facts)
        return dataclasses.replace(wire, status_line=before + wire.status_line)

    return build


def _switching(_facts: Facts) -> Wire:
    return Wire(
        b"HTTP/1.1 101 Switching Protocols\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        close=True,
    )


def _big_error(status: int) -> Callable[[Facts], Wire]:
    def build(_facts: Facts) -> Wire:
        return answer(status, json.dumps(error("BIG", "x" * _BIG)).encode())

    return build


FORMS = [
    *(Form(str(status), Kind.REFUSED, refusal(status)) for status in REFUSALS),
    Form("401", Kind.UNAUTHORIZED, refusal(401)),
    Form("401-challenge", Kind.UNAUTHORIZED, refusal(401, {"WWW-Authenticate": 'Bearer realm="x", Basic'})),
    Form("460", Kind.GATEWAY, refusal(460)),
    Form("499", Kind.GATEWAY, refusal(499)),
    *(Form(str(status), Kind.GATEWAY, _redirect(status)) for status in REDIRECTS),
    Form("304", Kind.GATEWAY, _not_modified),
    Form("429", Kind.THROTTLED, refusal(429)),
    *(
        Form(
            f"429-retry-after-{name}",
            Kind.THROTTLED,
            refusal(429, {"Retry-After": value}),
            slow=name in ("1", "2"),
        )
        for name, value in RETRY_AFTER.items()
    ),
    *(Form(str(status), Kind.AMBIGUOUS, refusal(status)) for status in BROKEN),
    Form("502-html", Kind.AMBIGUOUS, lambda _: answer(502, _HTML, {"Content-Type": "text/html"})),
    Form("503-retry-after-0", Kind.AMBIGUOUS, refusal(503, {"Retry-After": "0"})),
    *(Form(f"status-{status}", Kind.AMBIGUOUS, _odd(status)) for status in NO_STATUS),
    *(Form(str(status), Kind.TAKEN, _with_status(status)) for status in (201, 202, 203, 206)),
    Form("204", Kind.AMBIGUOUS, lambda _: Wire(b"HTTP/1.1 204 X\r\n", b"\r\n")),
    Form("205", Kind.AMBIGUOUS, lambda _: answer(205, b"")),
    Form("100-then-honest", Kind.TAKEN, _interim(100)),
    Form("102-then-honest", Kind.TAKEN, _interim(102)),
    Form("103-then-honest", Kind.TAKEN, _interim(103)),
    Form("fifty-103-then-honest", Kind.EITHER, _interim(*[103] * 50)),
    Form("100-then-end", Kind.AMBIGUOUS, lambda _: Wire(b"HTTP/1.1 100 X\r\n", b"\r\n", close=True)),
    Form("101", Kind.AMBIGUOUS, _switching),
    Form("400-3-mib", Kind.REFUSED, _big_error(400), heavy=True),
    Form("500-3-mib", Kind.AMBIGUOUS, _big_error(500), heavy=True),
]
