"""What the forms of an answer are made of: their parts on the wire, and what they mean for a claim."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from faults.ledger import Json, Ledger
from faults.ledger import refusal as error


class Kind(StrEnum):
    """What a form of answer to a claim is to a client that reads HTTP and JSON as they are defined."""

    TAKEN = "taken"
    """A valid answer, which must be believed."""
    REFUSED = "refused"
    """A refusal that may be believed."""
    THROTTLED = "throttled"
    """429: not executed, again later."""
    UNAUTHORIZED = "unauthorized"
    """401: not executed, the token is not good."""
    GATEWAY = "gateway"
    """From something in front of the API; the claim may have been taken, and has to be looked up."""
    AMBIGUOUS = "ambiguous"
    """Proves nothing."""
    EITHER = "either"
    """The honest answer in a form that one library can read and another cannot; both are right."""
    PAGE = "page"
    """A page of the list, as it should not be."""


@dataclass(frozen=True)
class Facts:
    """What a form may use: the honest answer, and the things that must not be believed."""

    status: int
    value: Any
    """The JSON of the honest answer."""
    stranger: Json
    """A claim that somebody else made."""
    trap: str
    """A URL that nobody must follow."""
    ledger: Ledger
    query: dict[str, str] = field(default_factory=dict)
    size: int = 1
    """See `Fault.size`."""

    @property
    def claim(self) -> Json:
        """The honest claim to alter; empty where the honest answer is no claim."""
        taken = self.status == 200 and isinstance(self.value, dict)
        return self.value if taken else {}

    @property
    def body(self) -> bytes:
        """The honest body."""
        return json.dumps(self.value).encode()


@dataclass(frozen=True)
class Wire:
    """An answer as bytes, in the parts at which it can be cut off.

    `headers` ends with the empty line; `close` says that the connection ends with the answer.
    """

    status_line: bytes
    headers: bytes
    body: bytes = b""
    close: bool = False

    def __bytes__(self) -> bytes:
        return self.status_line + self.headers + self.body


@dataclass(frozen=True)
class Form:
    """A form of answer, with what is known of it.

    `slow`: a correct client waits because of it. `heavy`: it costs much time or memory. `hides`: a page
    that leaves out claims which were taken.
    """

    name: str
    kind: Kind
    build: Callable[[Facts], Wire]
    slow: bool = False
    heavy: bool = False
    hides: bool = False

    def __call__(self, facts: Facts) -> Wire:
        return self.build(facts)


def head(fields: dict[str, str | int], encoding: str = "latin-1") -> bytes:
    """Return header lines with the empty line after them."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{lines}\r\n".encode(encoding)


def answer(
    status: int | str, body: bytes, fields: dict[str, str | int] | None = None, *, close: bool = False
) -> Wire:
    """Return an answer with a Content-Length; `fields` are added, or replace what it would have."""
    usual: dict[str, str | int] = {"Content-Type": "application/json", "Content-Length": len(body)}
    if close:
        usual["Connection"] = "close"
    return Wire(f"HTTP/1.1 {status} X\r\n".encode(), head(usual | (fields or {})), body, close)


def honest(facts: Facts, fields: dict[str, str | int] | None = None, *, status: int | None = None) -> Wire:
    """Return the honest answer; with another status only where it is a success."""
    given = status if status is not None and facts.status == 200 else facts.status
    return answer(given, facts.body, fields)


def refusal(status: int | str, fields: dict[str, str | int] | None = None) -> Callable[[Facts], Wire]:
    """Return a form: a status with the API's form of an error."""
    body = json.dumps(error("REFUSED", f"refused with {status}")).encode()
    return lambda _facts: answer(status, body, fields)


def success(body: bytes, content_type: str = "application/json") -> Callable[[Facts], Wire]:
    """Return a form: 200 with this body, whatever was asked."""
    return lambda _facts: answer(200, body, {"Content-Type": content_type})


def altered(change: Callable[[Json], object]) -> Callable[[Facts], Wire]:
    """Return a form: the honest claim with a change; any other honest answer as it is."""
    return lambda facts: (
        answer(200, json.dumps(change(facts.claim)).encode()) if facts.claim else honest(facts)
    )


def rewritten(change: Callable[[bytes], bytes]) -> Callable[[Facts], Wire]:
    """Return a form: the honest answer with a change of the bytes of its body."""
    return lambda facts: answer(facts.status, change(facts.body))


def reheaded(
    change: Callable[[bytes, bytes], tuple[bytes, bytes]], *, close: bool = False
) -> Callable[[Facts], Wire]:
    """Return a form: the honest answer with a change of its status line and headers."""

    def build(facts: Facts) -> Wire:
        wire = honest(facts)
        status_line, headers = change(wire.status_line, wire.headers)
        return dataclasses.replace(wire, status_line=status_line, headers=headers, close=close)

    return build
