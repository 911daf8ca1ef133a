"""What holds for any answer and any claim, and not only for those that somebody thought of.

`DINTERO_EXAMPLES=20` tries twenty times as many examples, and other ones on every run.
"""

import asyncio
import contextlib
import dataclasses
import datetime
import json
import os
import re
import ssl
import zlib
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import Any

import httpx
import httpx2
import pytest
from conftest import ENGINES, claim_request
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.canary import SECRET

from dintero_claims_client import (
    UNSET,
    APIStatusError,
    Claim,
    ClaimDiscount,
    ClaimDiscountRef,
    ClaimRequest,
    ClaimsClient,
    ClaimsError,
    InvalidClaimError,
    NotSentError,
    OutcomeUnknownError,
    RetryPolicy,
)
from faults.script import Act, Fault, Point
from faults.server import STRANGER, FaultServer
from faults.wire import Wire, answer

TIMES = float(os.environ.get("DINTERO_EXAMPLES", "0"))
"""How many times the usual number of examples are tried, at random; 0 for the usual ones, always the same."""

pytestmark = pytest.mark.timeout(120 * max(1.0, TIMES))

TLS = ssl.create_default_context()
"""One for all clients of httpx, each of which would read the certificates anew."""

REF, CUSTOMER = "order-1", "customer-1"
"""Those of the claim that `claim_request` makes."""

ANSWERED = Fault(Point.ANSWERED, Act.KEEP)

UNSETTLED = (460, 499)
"""What gateways answer that do not know what became of a request, beside 3xx."""

ELSEWHERE = (301, 307, 308)
"""What asks for the same request elsewhere, and so says that it was not executed here."""


def examples(count):
    """Return the settings for a test that takes so many examples."""
    return settings(
        max_examples=round(count * (TIMES or 1)),
        derandomize=not TIMES,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


# JSON


def text(**sizes):
    """Return any text, also one that UTF-8 cannot express."""
    return st.text(st.characters(), **sizes)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TIME = st.sampled_from(
    ["2026-11-23T12:00:00Z", "2026-11-23", "yesterday", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00Z"]
)
DISCOUNT = st.fixed_dictionaries(
    {},
    optional={
        "id": st.just("discount-1") | JSON,
        "refs": JSON
        | st.lists(
            st.fixed_dictionaries(
                {}, optional={"id": st.just("item-1") | JSON, "amount": JSON, "usage": JSON}
            ),
            max_size=2,
        ),
    },
)
FIELDS = {
    "id": st.sampled_from([STRANGER["id"], "", "   ", "a\nb", "\ud800"]) | text(max_size=5) | JSON,
    "ref": st.sampled_from([REF, "ref-of-a-stranger"]) | JSON,
    "customer_id": st.sampled_from([CUSTOMER, "stranger"]) | JSON,
    "type": JSON,
    "purchase_at": TIME | JSON,
    "created_at": TIME | JSON,
    "deleted_at": TIME | JSON,
    "discounts": JSON | st.lists(DISCOUNT | JSON, max_size=2),
    "additional": JSON,
}
CLAIM = st.fixed_dictionaries({}, optional=FIELDS)
STRANGERS = st.fixed_dictionaries(
    {"id": st.just(STRANGER["id"])}, optional={"discounts": FIELDS["discounts"], "created_at": TIME}
).flatmap(
    lambda claim: st.sampled_from(
        [{"ref": "ref-of-a-stranger"}, {"customer_id": "stranger"}, {"ref": 7}]
    ).map(lambda name: claim | name)
)
"""Claims with an id that can be used, which name another ref or another customer."""
ERROR = st.fixed_dictionaries(
    {
        "error": JSON
        | st.fixed_dictionaries({}, optional={"code": JSON, "message": JSON, "errors": JSON | st.lists(JSON)})
    }
)
TOO_MUCH = st.sampled_from(
    [b"[" * 100_000, b'{"a":' * 100_000, b'{"id": ' + b"9" * 5000 + b"}", b'{"id": "\xff"}', b"\xff\xfe{\x00"]
)
"""What is not JSON, or more of it than Python reads."""


def is_other(ref, customer_id):
    """Say whether an answer names another claim than the one that is sent."""
    return ref not in (None, UNSET, REF) or customer_id not in (None, UNSET, CUSTOMER)


# Answers


class Step(ABC):
    """What the server does with one request: whether it takes the claim, and what it writes."""

    commit: bool

    @abstractmethod
    def wire(self, honest):
        """Return what is written, given the honest answer."""

    @abstractmethod
    def could_say(self, claim, written):
        """Say whether a client that reads HTTP and JSON as they are defined could read this claim from it."""

    def may_be_repeated(self, written):
        """Say whether the answer asks for the request to be sent again: with another token, or later."""
        return bool(_AGAIN.search(written))


_REFUSAL = re.compile(rb"(?i)http/[^\r\n]{0,20}?4\d\d")
_ELSEWHERE = re.compile(rb"(?i)http/[^\r\n]{0,20}?30[178]")
_AGAIN = re.compile(rb"(?i)http/[^\r\n]{0,20}?(401|429)")


@dataclass(frozen=True)
class Json(Step):
    """A whole answer with any status and any JSON; with `over` the fields of an honest claim are replaced."""

    commit: bool
    status: int
    body: Any
    over: bool = False

    def wire(self, honest):
        if isinstance(self.body, bytes):
            return answer(self.status, self.body)
        value = self.body
        if self.over:
            with contextlib.suppress(ValueError, TypeError):
                value = {**json.loads(honest.body), **self.body}
        return answer(self.status, json.dumps(value).encode())

    def could_say(self, claim, written):
        try:
            value = json.loads(written.partition(b"\r\n\r\n")[2])
        except (ValueError, RecursionError):
            return False
        return (
            200 <= self.status <= 299
            and isinstance(value, dict)
            and isinstance(value.get("id"), str)
            and value["id"] == claim.id
            and bool(claim.id.strip())
            and claim.id.isprintable()
            and not is_other(value.get("ref"), value.get("customer_id"))
        )


def _mentions(claim, written):
    """Say whether a claim's id stands somewhere in these bytes, and the claim names no other."""
    ids = (claim.id.encode(errors="replace"), json.dumps(claim.id)[1:-1].encode())
    return any(one in written for one in ids) and not is_other(claim.ref, claim.customer_id)


@dataclass(frozen=True)
class Raw(Step):
    """Any bytes."""

    commit: bool
    data: bytes
    close: bool = True

    def wire(self, honest):
        return Wire(self.data, b"", close=self.close)

    def could_say(self, claim, written):
        return _mentions(claim, written)


@dataclass(frozen=True)
class Around(Step):
    """The honest answer with any bytes before and after it."""

    commit: bool
    before: bytes
    after: bytes
    close: bool

    def wire(self, honest):
        return Wire(self.before + honest.status_line, honest.headers, honest.body + self.after, self.close)

    def could_say(self, claim, written):
        return _mentions(claim, written)


@dataclass(frozen=True)
class Edited(Step):
    """The honest answer with pieces of it replaced: pairs of what is cut out, and what is put there."""

    commit: bool
    edits: list[tuple[int, int, bytes]]

    def wire(self, honest):
        data = bytes(honest)
        for at, length, new in self.edits:
            data = data[:at] + new + data[at + length :]
        return Wire(data, b"", close=True)

    def could_say(self, claim, written):
        return _mentions(claim, written)


@dataclass(frozen=True)
class Part(Step):
    """The beginning of the honest answer, without at least its last byte."""

    commit: bool
    share: float
    framing: str = "length"

    def wire(self, honest):
        wire = honest
        if self.framing == "chunked":
            head = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(honest.body), honest.body)
            wire = dataclasses.replace(honest, headers=head, body=body)
        elif self.framing == "gzip":
            # Its check is missing or cut off, so its end cannot be known.
            packer = zlib.compressobj(wbits=31)
            body = packer.compress(honest.body) + packer.flush()
            body = body[: max(1, int(self.share * len(body)))][:-1]
            return answer(200, body, {"Content-Encoding": "gzip"}, close=True)
        data = bytes(wire)
        return Wire(data[: min(int(self.share * len(data)), len(data) - 1)], b"", close=True)

    def could_say(self, claim, written):
        return False


@dataclass(frozen=True)
class Longer(Step):
    """The whole honest answer, which announces more than it holds."""

    commit: bool
    more: int

    def wire(self, honest):
        return answer(200, honest.body, {"Content-Length": len(honest.body) + self.more}, close=True)

    def could_say(self, claim, written):
        return False


@dataclass(frozen=True)
class Headed(Step):
    """An answer with any headers; the claim of somebody else, or the honest one where it was taken."""

    commit: bool
    status: int
    headers: list[tuple[bytes, bytes]]
    close: bool

    def wire(self, honest):
        body = honest.body if self.commit else json.dumps(STRANGER).encode()
        wire = answer(self.status, body, close=self.close)
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in self.headers)
        usual = wire.headers
        for name, _ in self.headers:
            usual = re.sub(rb"(?i)" + re.escape(name) + rb": [^\r]*\r\n", b"", usual)
        return dataclasses.replace(wire, headers=lines + usual)

    def could_say(self, claim, written):
        return False


STATUS = st.sampled_from(
    [200, 201, 202, 204, 205, 206, 226, 299, 300, 303, 304, 307, 400, 401, 403, 404, 407, 408, 409, 410, 422,
     425, 429, 460, 499, 500, 502, 503, 504, 520, 599]
) | st.integers(200, 599)  # fmt: skip


def is_refusal(status):
    """Say whether a status says that the claim was not taken; what says so after it was, lies."""
    return 400 <= status <= 499 and status not in (408, *UNSETTLED)


@st.composite
def json_steps(draw, status=STATUS):
    code = draw(status)
    commit = draw(st.booleans()) and not is_refusal(code)
    if draw(st.integers(0, 3)) == 0:
        return Json(commit, code, draw(CLAIM), over=True)
    return Json(commit, code, draw(JSON | CLAIM | STRANGERS | ERROR | TOO_MUCH))


STRAY = b"HTTP/1.1 400 X\r\nContent-Length: 0\r\n\r\n"

TOKENS = [
    *(b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2", b" ", b":", b"\r\n", b"\r\n\r\n", b"\n", b"\0", b"OK"),
    *(
        b"100",
        b"101",
        b"200",
        b"204",
        b"304",
        b"400",
        b"429",
        b"503",
        b"5",
        b"0",
        b"-1",
        b"{}",
        b'{"id": "x"}',
    ),
    *(b"5\r\n", b"0\r\n\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n"),
    *(b"Connection: close\r\n", b"Content-Encoding: gzip\r\n", b"HTTP/1.1 200 OK\r\n"),
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    STRAY,
]
PIECES = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=4), max_size=14).map(b"".join)
EDIT = st.tuples(st.integers(0, 330), st.integers(0, 8), st.sampled_from(TOKENS) | st.binary(max_size=4))


@st.composite
def wire_steps(draw):
    commit = draw(st.booleans())
    kind = draw(st.sampled_from(["bytes", "pieces", "edited", "around", "part", "longer"]))
    if kind in ("bytes", "pieces"):
        data = draw(PIECES if kind == "pieces" else st.binary(max_size=100))
        return Raw(commit and not _REFUSAL.search(data), data)
    if kind == "edited":
        return Edited(commit, draw(st.lists(EDIT, min_size=1, max_size=3)))
    if kind == "around":
        before = draw(st.sampled_from([b"", b"\r\n", b"HTTP/1.1 100 X\r\n\r\n"]) | st.binary(max_size=4))
        return Around(commit, before, draw(PIECES), draw(st.booleans()))
    if kind == "part":
        framing = draw(st.sampled_from(["length", "chunked", "gzip"]))
        return Part(commit, draw(st.floats(0, 1)), framing)
    return Longer(commit, draw(st.integers(1, 100)))


TRAP = b"http://trap.invalid/"
"""Stands for the address of the server that nobody must go to."""

VALUE = (
    st.binary(max_size=30).map(lambda value: re.sub(rb"[\r\n]", b" ", value))
    | st.integers(-3, 10**30).map(lambda value: str(value).encode())
    | st.sampled_from(
        [
            *(b"", b"0", b"0.5", b"1e3", b"nan", b"\xd9\xa3", b"\xc2\xb2", b"Mon, 23"),
            *(b"Mon, 23 Nov 2026 12:00:30 GMT", b"Mon, 23 Nov 99999 12:00:30 GMT"),
            b"Mon, 1 Jan 2026 00:00:00 +" + b"9" * 20,
            *(b"gzip", b"deflate", b"br", b"identity", b"gzip, gzip", b"chunked", b"close"),
            *(b"application/json", b"application/json; charset=utf-7", TRAP, b"//["),
        ]
    )
)
NAMES = [
    *(b"Retry-After", b"Content-Length", b"Content-Type", b"Content-Encoding", b"Transfer-Encoding"),
    *(b"X-Request-Id", b"Request-Id", b"Location", b"Refresh", b"Connection", b"Keep-Alive", b"Upgrade"),
    *(b"Trailer", b"Date", b"Set-Cookie", b"WWW-Authenticate", b"Proxy-Authenticate"),
]


@st.composite
def headed_steps(draw):
    commit = draw(st.booleans())
    status = draw(
        st.sampled_from(
            [200, 201, 503] if commit else [200, 307, 400, 401, 403, 404, 409, 429, 429, 500, 503]
        )
    )
    headers = draw(st.lists(st.tuples(st.sampled_from(NAMES), VALUE), min_size=1, max_size=3))
    return Headed(commit, status, headers, draw(st.booleans()))


class Scripted(FaultServer):
    """Takes steps for the first requests of one kind, and is honest after that."""

    def __init__(self, steps, operation="claim"):
        super().__init__(record=True)
        self.steps = deque(steps)
        self.operation = operation
        self.page: Step | None = None
        """What every page of the list is, where it is not the ledger's."""
        self.taken = []
        """The steps that were taken, with what was written."""

    def whole(self, exchange):
        if exchange.operation == "list" and self.page is not None:
            return self.page.wire(None), None
        if exchange.operation != self.operation or not self.steps:
            return super().whole(exchange)
        step = self.steps.popleft()
        getattr(self.plan, self.operation).append(dataclasses.replace(ANSWERED, commit=step.commit))
        honest, _ = super().whole(exchange)
        wire = step.wire(honest)
        if isinstance(step, Headed):
            wire = dataclasses.replace(wire, headers=wire.headers.replace(TRAP, self.trap.encode()))
        if step.commit and isinstance(step, Edited) and _REFUSAL.search(bytes(wire)):
            # It would refuse a claim that it has just taken, which no client sees through.
            wire = honest
        self.taken.append((step, bytes(wire)))
        return wire, None

    def could_have_said(self, claim):
        """Say whether the server itself has given a claim as the one that was sent."""
        return any(step.could_say(claim, written) for step, written in self.taken)


HASTY = RetryPolicy(max_attempts=3, attempt_timeout=0.5, base_delay=0.001, max_delay=0.002)
PATIENT = RetryPolicy(max_attempts=3, base_delay=0.001, max_delay=0.002)


@contextlib.asynccontextmanager
async def serving(steps, *, engine="aiohttp", operation="claim", patient=False, **options):
    """Give a server that takes these steps, and an open client of it."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(Scripted(steps, operation))
        if engine != "aiohttp":
            library = {"httpx": httpx, "httpx2": httpx2}[engine]
            options["http_client"] = await stack.enter_async_context(library.AsyncClient(verify=TLS))
        client = ClaimsClient(
            account_id="T12345678",
            client_id="client-1",
            client_secret=SECRET,
            base_url=server.base_url,
            retry=PATIENT if patient else HASTY,
            timeout=30.0 if patient else 2.0,
            **options,
        )
        yield server, await stack.enter_async_context(client)


async def ending_of(call):
    """Return what a call ends with, a claim or an error of the library; anything else is raised."""
    async with asyncio.timeout(60):
        try:
            ended = await call
        except ClaimsError as error:
            return error
    if isinstance(ended, Claim):
        # Whatever was read can be written again.
        json.dumps(ended.to_dict())
    return ended


def check(server, ending, ref=REF):
    """Check that a call for a claim with a ref ended with what the ledger holds, or as unknown."""
    held = server.ledger.by_ref.get(ref)
    if isinstance(ending, Claim):
        is_held = held is not None and held["id"] == ending.id
        assert is_held or server.could_have_said(ending), (ending, held)
    elif not isinstance(ending, OutcomeUnknownError):
        assert isinstance(ending, APIStatusError | NotSentError), ending
        assert held is None, (ending, held)
    if isinstance(ending, ClaimsError):
        assert ending.ref == ref
    assert server.changed == set()
    assert server.trapped == 0


async def claim_twice(steps, *, engine="aiohttp", patient=False):
    """Claim while the server takes these steps, and once more after them, and check both endings."""
    async with serving(steps, engine=engine, patient=patient) as (server, client):
        ending = await ending_of(client.claim(claim_request(REF)))
        check(server, ending)
        # A call that was told to wait leaves the others waiting too, and a step that was not taken is left.
        if server.steps:
            return server, ending
        check(server, await ending_of(client.claim(claim_request("order-2"))), "order-2")
        return server, ending


def is_doubtful(status):
    """Say whether a status leaves it open what became of the claim, whatever the body."""
    return 200 <= status <= 299 or status == 408 or status >= 500


@examples(200)
@given(steps=st.lists(json_steps(), min_size=1, max_size=2))
@example([Json(False, 408, {})])
@example([Json(True, 408, {})])
@example([Json(True, 200, {"discounts": [1]}, over=True)])
def test_any_json_as_an_answer(steps):
    """Whatever JSON comes with any status, the call ends with the ledger's claim, or its error is true."""
    server, ending = asyncio.run(claim_twice(steps, patient=True))
    if all(is_doubtful(step.status) for step in steps):
        # After two answers the third is honest, or the list is.
        assert isinstance(ending, Claim), ending
        if not server.could_have_said(ending):
            assert [ending.id] == [claim["id"] for claim in server.ledger.claims if claim["ref"] == REF]
    first = steps[0].status
    if is_refusal(first) and first not in (401, 429):
        assert isinstance(ending, APIStatusError)
        assert (ending.status, server.taken) == (first, server.taken[:1])


@pytest.mark.parametrize("engine", ENGINES)
@examples(120)
@given(steps=st.lists(wire_steps(), min_size=1, max_size=2))
@example([Around(True, b"", STRAY, close=False)])
@example([Part(True, 0.5, "chunked"), Part(False, 1.0, "gzip")])
@example([Longer(False, 1), Raw(True, b"\0")])
def test_any_bytes_as_an_answer(engine, steps):
    """Whatever bytes come for an answer, the call ends with the ledger's claim, or its error is true."""
    asyncio.run(claim_twice(steps, engine=engine))


@pytest.mark.parametrize("engine", ENGINES)
@examples(100)
@given(step=headed_steps())
@example(Headed(True, 200, [(b"Content-Encoding", b"gzip")], close=False))
@example(Headed(True, 200, [(b"Content-Length", b"7")], close=False))
@example(Headed(True, 503, [(b"Retry-After", b"\xc2\xb2")], close=False))
@example(Headed(False, 307, [(b"Location", TRAP)], close=False))
@example(Headed(False, 429, [(b"Retry-After", b"9" * 400)], close=False))
def test_any_headers_of_an_answer(engine, step):
    """Whatever the headers of an answer say, the call ends with the ledger's claim, or its error is true."""
    asyncio.run(claim_twice([step], engine=engine))


def is_redirect(step):
    """Say whether a step sends a claim elsewhere, which is a lie where it was taken."""
    if isinstance(step, Json):
        return step.status in ELSEWHERE
    return bool(_ELSEWHERE.search(bytes(step.wire(answer(200, b"{}")))))


@examples(150)
@given(
    steps=st.lists(
        (json_steps() | wire_steps() | headed_steps()).filter(
            lambda step: not (step.commit and is_redirect(step))
        ),
        min_size=1,
        max_size=3,
    )
)
@example([Json(True, 303, {})])
@example([Json(True, 499, {})])
def test_any_answer_without_a_ref(steps):
    """Without a ref nothing is sent again after an answer that leaves it open, and nothing is taken twice."""

    async def run():
        async with serving(steps, generate_refs=False) as (server, client):
            ending = await ending_of(client.claim(claim_request(None)))
            ids = [claim["id"] for claim in server.ledger.claims]
            assert len(ids) <= 1
            most = 1
            for step, written in server.taken:
                if not step.may_be_repeated(written):
                    break
                most += 1
            assert server.claim_requests <= most
            if isinstance(ending, Claim):
                assert [ending.id] == ids or server.could_have_said(ending)
            elif not isinstance(ending, OutcomeUnknownError):
                assert isinstance(ending, APIStatusError | NotSentError)
                assert ids == []

    asyncio.run(run())


LOST = Raw(True, b"")
GAVE_UP = Json(True, 499, {})

PAGE = st.lists(CLAIM | JSON, max_size=3)


@examples(120)
@given(
    first=st.sampled_from([LOST, GAVE_UP]),
    body=JSON | PAGE | TOO_MUCH,
    status=st.just(200) | STATUS,
    own=st.none() | CLAIM,
)
def test_any_json_as_a_list(first, body, status, own):
    """Whatever the list shows after a lost answer, the call ends with a claim in it, or as unknown."""
    if own is not None and isinstance(body, list):
        body = [*body, {"id": "id-of-the-list", "ref": REF, **own}]

    async def run():
        async with serving([first], patient=True) as (server, client):
            server.page = Json(False, status, body)
            ending = await ending_of(client.claim(claim_request(REF)))
            readable = 200 <= status <= 299 and isinstance(body, list)
            shown = [one for one in body if isinstance(one, dict)] if readable else []
            ours = [one.get("id") for one in shown if one.get("ref") == REF]
            if isinstance(ending, Claim):
                assert ending.id in ours
            elif not isinstance(ending, OutcomeUnknownError):
                # The list shows the ref on another claim, or, to a gateway's refusal, a list without it.
                assert isinstance(ending, APIStatusError)
                assert ending.status == (409 if first is LOST else 499)
                assert readable
                assert ours or first is GAVE_UP
            for read in (client.find_claim(ref=REF), client.get_claim("some-id"), _all(client)):
                await ending_of(read)

    asyncio.run(run())


async def _all(client):
    return [claim async for claim in client.list_claims()]


@examples(80)
@given(
    steps=st.lists(
        st.builds(
            Json,
            st.just(False),
            st.just(200) | STATUS,
            JSON
            | TOO_MUCH
            | ERROR
            | st.fixed_dictionaries(
                {"access_token": text(max_size=8) | JSON}, optional={"expires_in": JSON, "token_type": JSON}
            ),
        )
        | PIECES.map(lambda data: Raw(False, data)),
        min_size=1,
        max_size=2,
    )
)
def test_any_answer_of_the_token_endpoint(steps):
    """Whatever the token endpoint answers, the call ends with the ledger's claim, or nothing was taken."""

    async def run():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dintero_claims_client._tokens._FAILURE_DELAYS", (0.001,))
            async with serving(steps, operation="token") as (server, client):
                check(server, await ending_of(client.claim(claim_request(REF))))

    asyncio.run(run())


# Claims

PLAIN = st.text(max_size=12)
"""Text that UTF-8 can express."""
ID = st.text(min_size=1, max_size=12).filter(lambda value: not value.startswith("limited"))
"""The ledger takes those ids for discounts that can be used once."""
ABSENT = st.sampled_from([UNSET, None])
NUMBER = st.integers(-(2**53) + 1, 2**53 - 1)
MINUTES = st.integers(-1439, 1439).map(lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes)))
AT = st.datetimes(timezones=MINUTES | st.just(datetime.UTC))
CUSTOMERS = (st.text(min_size=1, max_size=30) | st.text(min_size=255, max_size=255, alphabet="aø€😀")).filter(
    lambda value: value == value.strip() and value[0] != "\ufeff" != value[-1]
)
SOUND = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3),
    max_leaves=5,
)
EXTRAS = st.dictionaries(PLAIN.map("x-{}".format), SOUND, max_size=2)


@st.composite
def with_extras(draw, cls, fields):
    """Return a model with any fields, among them some that the contract does not know."""
    model = cls(**{name: draw(strategy | ABSENT) for name, strategy in fields.items()})
    for name, value in draw(EXTRAS).items():
        model[name] = value
    return model


REFS = with_extras(ClaimDiscountRef, {"id": ID, "amount": NUMBER, "usage": NUMBER})
DISCOUNTS = with_extras(ClaimDiscount, {"id": ID, "refs": st.lists(REFS, max_size=3)})
VALID = st.builds(
    ClaimRequest,
    purchase_at=AT,
    customer_id=CUSTOMERS,
    discounts=st.lists(DISCOUNTS, min_size=1, max_size=3),
    ref=st.text(min_size=1, max_size=30) | ABSENT,
    type_=PLAIN | ABSENT,
)


def exact(value):
    """Return JSON in a form in which nothing is equal that is not the same."""
    return json.dumps(value, sort_keys=True)


def present(**fields):
    return {name: value for name, value in fields.items() if value is not UNSET and value is not None}


def plain_discount(discount):
    """Return the JSON of a discount, made here and not by the library."""
    refs = discount.refs
    if isinstance(refs, list):
        refs = [
            present(id=ref.id, amount=ref.amount, usage=ref.usage) | ref.additional_properties for ref in refs
        ]
    return present(id=discount.id, refs=refs) | discount.additional_properties


@examples(120)
@given(request=VALID)
def test_any_valid_claim(request):
    """A claim that meets the rules arrives as it was given, comes back so, and is known for the same."""

    async def run():
        async with serving([], patient=True) as (server, client):
            claim = await client.claim(request)
            (sent,) = [one.body for one in server.requests if one.operation == "claim"]
            body = json.loads(sent.decode())
            expected = present(ref=request.ref, type=request.type_, customer_id=request.customer_id)
            if "ref" not in expected:
                assert isinstance(body["ref"], str)
                expected["ref"] = body["ref"]
            expected["discounts"] = [plain_discount(one) for one in request.discounts]
            at = datetime.datetime.fromisoformat(body.pop("purchase_at"))
            assert (at, at.utcoffset()) == (request.purchase_at, request.purchase_at.utcoffset())
            assert exact(body) == exact(expected)

            assert claim.purchase_at == request.purchase_at
            assert (claim.customer_id, claim.ref) == (request.customer_id, body["ref"])
            assert present(type=claim.type_) == present(type=request.type_)
            assert exact([plain_discount(one) for one in claim.discounts]) == exact(expected["discounts"])

            again = await client.claim(
                ClaimRequest(
                    request.purchase_at,
                    request.customer_id,
                    request.discounts[::-1],
                    claim.ref,
                    request.type_,
                ),
                if_exists="return",
            )
            assert [again.id] == [claim.id] == [one["id"] for one in server.ledger.claims]

    asyncio.run(run())


BAD_TEXT = (
    st.sampled_from(["\ud800", b"x", 7, True])
    | st.binary()
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.lists(st.none())
    | text().map("{}\ud800".format)
)
BAD_NUMBER = (
    st.sampled_from([True, False, 2**53, -(2**53), 1.0, "1"])
    | st.floats()
    | PLAIN
    | st.integers(min_value=2**53)
    | st.integers(max_value=-(2**53))
    | st.decimals()
    | st.lists(st.integers())
)
BAD_LIST = PLAIN | st.integers(0) | st.dictionaries(PLAIN, PLAIN) | st.just(()) | st.binary()
SPACES = st.sampled_from([" ", "\t", "\n", "\u00a0", "\u2003", "\ufeff", "\x1c"])
BAD_CUSTOMER = (
    st.sampled_from(["\ufeffx", "x\ufeff", "x\n", "x" * 256])
    | BAD_TEXT
    | ABSENT
    | st.just("")
    | st.text(min_size=256, max_size=300)
    | st.builds(str.__add__, SPACES, PLAIN)
    | st.builds(str.__add__, PLAIN, SPACES)
)
BAD_AT = (
    st.datetimes()
    | st.dates()
    | PLAIN
    | ABSENT
    | st.integers()
    | st.datetimes(
        timezones=st.integers(1, 59).map(
            lambda seconds: datetime.timezone(datetime.timedelta(hours=1, seconds=seconds))
        )
    )
)
LOOP: list[Any] = []
LOOP.append(LOOP)
BAD_EXTRA = (
    st.sampled_from(
        [float("nan"), float("inf"), {1}, object(), LOOP, "\udc00", {"a": b""}, datetime.date.max]
    )
    | st.decimals()
    | st.binary()
    | st.complex_numbers()
)


DISCOUNT_AT, REF_AT = "discounts[1]", "discounts[1].refs[1]"

RULES = {
    "purchase_at": BAD_AT,
    "customer_id": BAD_CUSTOMER,
    "ref": BAD_TEXT | st.just(""),
    "type": BAD_TEXT,
    "discounts": BAD_LIST | ABSENT | st.just([]),
    DISCOUNT_AT: JSON | REFS,
    f"{DISCOUNT_AT}.id": BAD_TEXT | st.just(""),
    f"{DISCOUNT_AT}.refs": BAD_LIST,
    REF_AT: JSON | DISCOUNTS,
    f"{REF_AT}.id": BAD_TEXT | st.just(""),
    f"{REF_AT}.amount": BAD_NUMBER,
    f"{REF_AT}.usage": BAD_NUMBER,
}
"""What breaks the rule for a field, by its path in the claim."""


def put(request, path, value):
    """Set what is at a path in a claim."""
    *way, last = re.findall(r"\w+", path)
    place = request
    for step in way:
        place = place[int(step)] if step.isdigit() else getattr(place, step)
    if isinstance(place, list):
        place[int(last)] = value
    else:
        setattr(place, "type_" if last == "type" else last, value)


def refused(request, field, **options):
    """Check that a claim is refused by the name of a field, before anything is sent."""

    async def run():
        async with serving([], **options) as (server, client):
            with pytest.raises(InvalidClaimError) as caught:
                await client.claim(request)
            assert caught.value.field == field
            assert (server.connections, client.stats().claim_requests) == (0, 0)

    asyncio.run(run())


@pytest.mark.parametrize("field", RULES)
@examples(25)
@given(data=st.data(), request_=VALID, discount=DISCOUNTS, refs=st.lists(REFS, min_size=2, max_size=2))
def test_any_invalid_claim(field, data, request_, discount, refs):
    """A claim that breaks a rule is refused by the name of the field, and not even a token is asked for."""
    discount.refs = refs
    request_.discounts = [request_.discounts[0], discount]
    put(request_, field, data.draw(RULES[field], label=field))
    refused(request_, field, generate_refs=data.draw(st.booleans(), label="generate_refs"))


@examples(40)
@given(request_=VALID, ref=REFS, value=BAD_EXTRA, deep=st.booleans())
@example(claim_request(), ClaimDiscountRef(), float("nan"), True)
@example(claim_request(), ClaimDiscountRef(), LOOP, False)
def test_any_addition_that_is_no_json(request_, ref, value, deep):
    """A claim with additions that JSON cannot express is refused, and not even a token is asked for."""
    discount = ClaimDiscount(id="discount", refs=[ref])
    (ref if deep else discount)["x"] = value
    request_.discounts.append(discount)
    refused(request_, "discounts")


@examples(10)
@given(request_=VALID, more=st.integers(0, 100_000))
def test_any_claim_that_is_too_large(request_, more):
    """A claim that is larger than its answer may be is refused, and not even a token is asked for."""
    request_.discounts.append(ClaimDiscount(id="x" * (512 * 1024 + more)))
    refused(request_, "claim")


@examples(100)
@given(value=JSON | st.just(object()) | st.builds(ClaimRequest, JSON, JSON, JSON, JSON, JSON))
@example(value=None)
def test_anything_for_a_claim(value):
    """Whatever is passed as a claim, it is taken or refused by an error of the library."""

    async def run():
        async with serving([]) as (server, client):
            ending = await ending_of(client.claim(value))
            assert isinstance(ending, InvalidClaimError)
            assert server.connections == 0

    asyncio.run(run())
