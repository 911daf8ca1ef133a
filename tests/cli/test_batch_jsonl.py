"""Claims from lines of JSON: which lines make none, and why; and that nothing else is held or lost."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.batch_input import ANY, TEXT, as_line, bodies, claims, generated, outline, read

from dintero_claims_client import UNSET
from dintero_claims_client._validation import BODY_MAX
from dintero_claims_client.cli.batch_input import BadRow, choose_format, read_claims
from dintero_claims_client.cli.batch_rows import REASON_MAX, ROW_MAX, TEXT_MAX

from .conftest import CLAIM

GOOD = json.dumps(CLAIM).encode()
ITEM = "discounts[0].refs[1]"
TOO_LONG = f"is longer than {ROW_MAX} bytes"


def line(**changes):
    """Return a claim as a line; changes replace fields, None leaves them out."""
    fields = {name: value for name, value in (CLAIM | changes).items() if value is not None}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def item(**fields):
    """Return a claim as a line, whose second item of its discount has these fields."""
    return line(discounts=[{"id": "d", "refs": [{"id": "a"}, fields]}])


def of_size(size, **changes):
    """Return a claim as a line of so many bytes, and so of 5 more when it is sent: the offset for a Z."""
    return line(type="x" * (size - len(line(type="", **changes))), **changes)


def padded(size):
    """Return a claim as a line of so many bytes, most of which are spaces."""
    return b" " * (size - len(GOOD)) + GOOD


def test_claims():
    """Each line is a claim as the API takes it, with the number of its line."""
    first, second = read(GOOD + b"\n" + line(ref="order-2") + b"\n")
    assert (first.line, first.request.ref, first.request.customer_id) == (1, "order-1", "customer-1")
    assert (second.line, second.request.ref) == (2, "order-2")
    assert bodies([first]) == {1: CLAIM | {"purchase_at": "2026-11-07T05:31:56+00:00"}}


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", []),
        (GOOD, [1]),
        (b"\xef\xbb\xbf" + GOOD, [1]),
        (b"\xef\xbb\xbf\n" + GOOD, [2]),
        (b"\n  \n\t\r\n" + GOOD + b"\n\n" + GOOD + b"\n\n", [4, 6]),
        (GOOD + b"\r\n" + GOOD + b"\r\n", [1, 2]),
        (GOOD.replace(b" ", b"\r") + b"\n" + GOOD, [1, 2]),
        (line(ref="a\u2028b\u0085c") + b"\n" + GOOD, [1, 2]),
        (padded(ROW_MAX - 1) + b"\n" + GOOD, [1, 2]),
    ],
    ids=range(10),
)
def test_what_is_a_line(content, lines):
    r"""A line ends at \n only, and a blank one counts as a line."""
    assert outline(read(content)) == (lines, [])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"ref": "\xff"}', "is not UTF-8"),
        (line(ref="\ud800"), "is not UTF-8"),
        (GOOD.decode().encode("utf-16-le"), "holds a NUL byte, as UTF-16 does; save the file as UTF-8"),
        (b'{"ref": "a\0"}', "holds a NUL byte, as UTF-16 does; save the file as UTF-8"),
        (b'{"ref": "order', "is not JSON: Unterminated string, column 9"),
        (b'{"ref": "a\tb"}', "is not JSON: Invalid control character, column 11"),
        (b"{]", "is not JSON: Expecting property name enclosed in double quotes, column 2"),
        (b"order-1", "is not JSON: Expecting value, column 1"),
        (b'{"ref":', "is not JSON: Expecting value, column 8"),
        (b'{"ref":\r', "is not JSON: Expecting value, column 8"),
        (GOOD + b" " + GOOD, f"is not JSON: Extra data, column {len(GOOD) + 2}"),
        (b"\xef\xbb\xbf" + GOOD, "is not JSON: Unexpected UTF-8 BOM (decode using utf-8-sig), column 1"),
        (b'{"amount": NaN}', "NaN is not a number in JSON"),
        (b'{"amount": -Infinity}', "-Infinity is not a number in JSON"),
        (b'{"ref": "a", "ref": "b"}', "the field 'ref' is there twice in one object"),
        (b'[{"a": {"b": 1, "b": 1}}]', "the field 'b' is there twice in one object"),
        (b'{"\\ud800": 1, "\\ud800": 1}', r"the field '\ud800' is there twice in one object"),
        (b"[" * 100_000, "it is nested too deep"),
        (b'{"amount": ' + b"9" * 5000 + b"}", "a number has too many digits"),
        (padded(ROW_MAX), TOO_LONG),
        (padded(3 * ROW_MAX), TOO_LONG),
    ],
    ids=range(21),
)
def test_a_line_that_is_no_json(content, reason):
    """A line that is no JSON, or that readers disagree about, is bad; those around it are claims."""
    first, bad, last = read(b"\n".join((GOOD, content, GOOD)))
    assert (first.line, last.line) == (1, 3)
    assert bad == BadRow(2, reason, bad.text)


@pytest.mark.parametrize(
    ("content", "field", "rule", "got"),
    [
        (b"[]", "claim", "must be an object", "list of 0"),
        (line(reff="x"), "claim", "must have no field that a claim does not have", "'reff'"),
        (line(customer_id=None), "customer_id", "must be given", "nothing"),
        (line(customer_id=" c"), "customer_id", "must have no space at either end", "text with one"),
        (
            line(purchase_at="2026-11-07T05:31"),
            "purchase_at",
            "must have a time zone",
            "a datetime without one",
        ),
        (line(ref=""), "ref", "must not be empty", "text of 0 characters"),
        (
            GOOD.replace(b"order-1", b"\\udfff"),
            "ref",
            "must be text that UTF-8 can express",
            "text with a lone surrogate",
        ),
        (item(amount="100"), f"{ITEM}.amount", "must be an integer", "text of 3 characters"),
        (item(amount=1.0), f"{ITEM}.amount", "must be an integer", "float"),
        (item(usage=True), f"{ITEM}.usage", "must be an integer", "bool"),
        (item(amount=2**53), f"{ITEM}.amount", "must be within plus or minus 2^53 - 1", "integer of 54 bits"),
        (item(price=1), ITEM, "must have no field that a claim does not have", "'price'"),
        (
            of_size(BODY_MAX - 4),
            "claim",
            f"must have at most {BODY_MAX} bytes as JSON",
            f"{BODY_MAX + 1} bytes",
        ),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)  # fmt: skip
def test_a_line_that_breaks_a_rule(content, field, rule, got):
    """A claim that could not be sent names the field and the rule."""
    bad, good = read(content + b"\n" + GOOD)
    assert bad == BadRow(1, f"{field}: {rule}; got {got}", bad.text, field, rule, bad.ref)
    value = json.loads(content)
    assert bad.ref == (value["ref"] if isinstance(value, dict) else None)
    assert good.line == 2


def test_the_largest_claim():
    """A claim may be as large as it may be sent, and one without a ref as a ref leaves room for."""
    without = {"ref": None}
    fits = [of_size(BODY_MAX - 5), of_size(BODY_MAX - 5 - len(f',"ref":"{"0" * 36}"'), **without)]
    assert outline(read(b"\n".join(fits))) == ([1, 2], [])
    (bad,) = read(of_size(BODY_MAX - 5, **without))
    assert bad.field == "claim"


def test_a_long_line_after_a_byte_order_mark():
    """A first line that is too long only with its byte order mark is one bad row too."""
    results = read(b"\xef\xbb\xbf" + padded(ROW_MAX) + b"\n" + GOOD)
    assert outline(results) == ([2], [1])
    assert results[0].reason == TOO_LONG


def test_null_is_not_sent():
    """What is null counts as absent, also in the size of a claim."""
    discounts = [{"id": str(number), "refs": None} for number in range(BODY_MAX // 22)]
    content = line(discounts=discounts)
    assert len(content) > BODY_MAX
    assert outline(read(content)) == ([1], [])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b'{"ref": "\xff\xe2\x82"}\r\n', r'{"ref": "\xff\xe2\x82"}'),
        (b"\xef\xbb\xbf{\n", "{"),
        ("é".encode() * ROW_MAX, "é" * TEXT_MAX),
        ("\U0001f600".encode() * TEXT_MAX * 2, "\U0001f600" * TEXT_MAX),
        (b"\xff" * TEXT_MAX, r"\xff" * (TEXT_MAX // 4)),
        (b"[" + b"\0" * 5, "[" + "\0" * 5),
    ],
    ids=range(6),
)
def test_the_text_of_a_bad_line(content, text):
    """A bad line is shown as far as it goes, with escapes for what is not UTF-8."""
    (bad,) = read(content)
    assert bad.text == text


def test_a_reason_is_short():
    """A reason that names fields is cut where they are many, or long."""
    twice, unknown = read(b'{"%b": 1, "%b": 1}\n{"%b": 1}' % ((b"x" * 9000,) * 3))
    assert len(twice.reason) == len(unknown.reason) == REASON_MAX
    assert twice.reason.endswith("xxx…")


def test_a_line_of_50_mb_is_not_held():
    """A line that is far too long is one bad row, and is passed over without being held."""
    size = 64 * 1024
    stream = generated([GOOD + b"\n", b'{"ref": "', *[b"x" * size] * 800, b'"}\n', GOOD, b"\n"])
    tracemalloc.start()
    try:
        results = read(stream)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outline(results) == ([1, 3], [2])
    assert results[1].reason == TOO_LONG
    assert peak < 8 * ROW_MAX


def test_lines_are_read_as_they_are_asked_for():
    """A claim is given before the next line is read, so that an input without an end can be read."""
    endless = generated(iter(lambda: GOOD + b"\n", b""))
    results = read_claims(endless, choose_format("-", kind=None, mapping=(), delimiter=None))
    assert [next(results).line for _ in range(100)] == list(range(1, 101))


@ANY
@given(
    st.lists(claims(TEXT, ref=st.just(UNSET) | TEXT), max_size=5),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_claims_come_back(given_claims, ascii_only, line_end):
    """Claims that are written as lines of JSON are read as they were."""
    content = line_end.encode().join(as_line(claim, ensure_ascii=ascii_only) for claim in given_claims)
    assert [result.request for result in read(content)] == given_claims


PIECE = st.binary(max_size=12) | st.sampled_from(
    [
        b"\n",
        b"\r",
        b"\n\n",
        b"{",
        b"}",
        b'"',
        b"[[",
        b"\xef\xbb\xbf",
        b"\0",
        b" ",
        b"\x0c",
        GOOD,
        item(usage="x"),
    ]
)


@ANY
@given(st.lists(PIECE, max_size=12).map(b"".join))
def test_any_bytes(content):
    """Whatever the input is, each line that is not blank is one claim or one bad row, in order."""
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert [result.line for result in read(content)] == [
        number for number, line in enumerate(lines, 1) if line.strip()
    ]
