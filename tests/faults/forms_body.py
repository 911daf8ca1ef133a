"""Forms of answer that differ from the honest one by what their body says."""

from __future__ import annotations

import json
from collections.abc import Callable

from faults.ledger import Json
from faults.ledger import refusal as error
from faults.wire import Facts, Form, Kind, Wire, altered, answer, honest, rewritten, success


def _plus(text: str) -> Callable[[bytes], bytes]:
    """Return a change that adds a field to a JSON object, written as it is given here."""
    return lambda body: body[:-1] + b", " + text.encode("latin-1") + b"}" if body.startswith(b"{") else body


def _with(**fields: object) -> Callable[[Facts], Wire]:
    return altered(lambda claim: claim | fields)


def _without(*names: str) -> Callable[[Json], Json]:
    return lambda claim: {name: value for name, value in claim.items() if name not in names}


def _stranger(facts: Facts) -> Wire:
    return answer(200, json.dumps(facts.stranger).encode())


def _stranger_with_our_ref(facts: Facts) -> Wire:
    if not facts.claim:
        return honest(facts)
    return answer(200, json.dumps(facts.stranger | {"ref": facts.claim.get("ref")}).encode())


def _duplicate_keys(body: bytes) -> bytes:
    return b'{"id": "another", ' + body[1:] if body.startswith(b"{") else body


_TAKEN = {
    "without-echo": altered(_without("ref", "customer_id")),
    "id-only": altered(lambda claim: {"id": claim["id"]} if "id" in claim else claim),
    "padded": rewritten(lambda body: b" \r\n\t" * 50 + body + b"\n" * 50),
}

_AMBIGUOUS = {
    "html": success(b"<html>hello</html>", "text/html"),
    "empty": success(b""),
    "{}": success(b"{}"),
    "[]": success(b"[]"),
    "null": success(b"null"),
    "true": success(b"true"),
    "text": success(b'"text"'),
    "7": success(b"7"),
    "id-number": _with(id=7),
    "id-empty": _with(id=""),
    "id-null": _with(id=None),
    "id-list": _with(id=["a"]),
    "no-id": altered(_without("id")),
    "deep": success(b"[" * 100_000),
    "trailing-garbage": rewritten(lambda body: body + b" }"),
    "error-object": success(json.dumps(error("NO", "not so good")).encode()),
    "stranger": _stranger,
    "stranger-with-our-ref": _stranger_with_our_ref,
    "list-of-ours": altered(lambda claim: [claim]),
}

_EITHER = {
    "discounts-text": _with(discounts="none"),
    "created-at-nonsense": _with(created_at="yesterday"),
    "nan": rewritten(_plus('"more": NaN')),
    "infinity": rewritten(_plus('"more": -Infinity')),
    "duplicate-keys": rewritten(_duplicate_keys),
    "bom": rewritten(lambda body: b"\xef\xbb\xbf" + body),
    "utf-16": rewritten(lambda body: body.decode().encode("utf-16")),
    "latin-1": rewritten(_plus('"more": "\xe9\xe8"')),
    "5000-digits": rewritten(_plus(f'"more": {"9" * 5000}')),
    "lone-surrogate": rewritten(_plus('"more": "\\ud800"')),
}

FORMS = [
    Form("honest", Kind.TAKEN, honest),
    *(Form(f"200-{name}", Kind.TAKEN, build) for name, build in _TAKEN.items()),
    *(Form(f"200-{name}", Kind.AMBIGUOUS, build) for name, build in _AMBIGUOUS.items()),
    *(Form(f"200-{name}", Kind.EITHER, build) for name, build in _EITHER.items()),
    Form(
        "200-3-mib",
        Kind.EITHER,
        rewritten(lambda body: _plus(f'"more": "{"x" * (3 * 1024 * 1024)}"')(body)),
        heavy=True,
    ),
]
