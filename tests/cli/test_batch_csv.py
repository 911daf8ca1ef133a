"""Claims from a CSV: which rows make one, which make none, and that no claim lacks a row."""

import csv
import io
import itertools
import random
import sqlite3
import threading
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.batch_input import (
    ANY,
    AT,
    CELL,
    HEADER,
    ROW,
    bodies,
    claims,
    generated,
    outline,
    read,
    read_csv,
    sent,
)

from dintero_claims_client import UNSET
from dintero_claims_client._validation import BODY_MAX
from dintero_claims_client.cli.batch_csv import FIELDS
from dintero_claims_client.cli.batch_input import BadRow, InputClaim, choose_format, read_claims
from dintero_claims_client.cli.batch_rows import ROW_MAX, TEXT_MAX
from dintero_claims_client.cli.exit_codes import CommandError, UsageError

REQUIRED = "purchase_at,customer_id,discounts.id"
TOO_LONG = f"is longer than {ROW_MAX} bytes"
UNCLOSED = "has a quote that is not closed"


def row(ref="r", discount="d", item="", amount="", usage="", *, type_="", customer="customer-1"):
    """Return a row under the usual header."""
    return f"{AT},{customer},{ref},{type_},{discount},{item},{amount},{usage}"


def reasons(results):
    """Return why rows are bad, by the line."""
    return {result.line: result.reason for result in results if isinstance(result, BadRow)}


def test_rows_of_one_ref_are_one_claim():
    """Rows of a ref are one claim wherever they stand; those of a discount are one discount."""
    results = read_csv(
        row("a", "d1", "i1", "100", "1"),
        row("b", "d1", "i1", "5"),
        row("a", "d2", "i2", "-200"),
        row("a", "d3"),
        row("b", "d1", "i2", "5"),
        row("a", "d1", "i3", "007"),
        row("a", "d2"),
    )
    shared = {"purchase_at": "2026-11-07T05:31:56+00:00", "customer_id": "customer-1"}
    first = [
        {"id": "d1", "refs": [{"id": "i1", "amount": 100, "usage": 1}, {"id": "i3", "amount": 7}]},
        {"id": "d2", "refs": [{"id": "i2", "amount": -200}]},
        {"id": "d3"},
    ]
    second = [{"id": "d1", "refs": [{"id": "i1", "amount": 5}, {"id": "i2", "amount": 5}]}]
    assert bodies(results) == {
        2: {**shared, "ref": "a", "discounts": first},
        3: {**shared, "ref": "b", "discounts": second},
    }
    assert list(bodies(results)) == [2, 3]


def test_rows_without_a_ref_are_claims_of_their_own():
    """Nothing says which rows without a ref belong together, so none do, also those that are the same."""
    results = read_csv(row("", "d"), row("", "d"), row("", "e", type_="t"))
    assert [(line, body["discounts"], body.get("type")) for line, body in bodies(results).items()] == [
        (2, [{"id": "d"}], None),
        (3, [{"id": "d"}], None),
        (4, [{"id": "e"}], "t"),
    ]


def test_rows_far_apart():
    """Rows of a ref find each other over any distance."""
    count = 3_000
    rows = [row(f"r{number}", "d", f"i{half}") for half in (1, 2) for number in range(count)]
    results = read_csv(*rows)
    assert outline(results) == (list(range(2, count + 2)), [])
    assert all(len(result.request.discounts[0].refs) == 2 for result in results)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (f"{ROW},r,,d,,", "has 7 cells, and the header 8"),
        (f"{ROW},r,,d,,,,", "has 9 cells, and the header 8"),
        ("r", "has 1 cells, and the header 8"),
        (f"{ROW}, r\t,,d,,", "has 7 cells, and the header 8"),
        (f'{ROW},"r"x,,d,,,', "is not CSV: ',' expected after '\"'"),
        (f"{ROW},r\r,,d,,,", "is not CSV: new-line character seen in unquoted field"),
        (f"{ROW},r,\udcff,d,,,", "is not UTF-8"),
        (f"{ROW},r,\0,d,,,", "holds a NUL byte"),
        (f'{ROW},r,"x\0\ny",d,,,', "holds a NUL byte; it goes on to line 4"),
        (f"{ROW},r,{'x' * ROW_MAX},d,,,", TOO_LONG),
        (f'{ROW},r,"{"x" * ROW_MAX}\n{"x" * ROW_MAX}\n",d,,,', f"{TOO_LONG}; it goes on to line 5"),
    ],
    ids=range(11),
)
def test_a_row_that_cannot_be_read(bad, reason):
    """A row that cannot be read is reported, and brings down the claim whose ref is in it, and no other."""
    lines = [HEADER, row("r", "d1"), bad, row("r", "d2"), row("s")]
    results = read("\n".join(lines).encode("utf-8", "surrogateescape"), "a.csv")
    lines_of_ref = sorted({2, *(result.line for result in results if isinstance(result, BadRow))} - {3})
    assert [result.request.ref for result in results if isinstance(result, InputClaim)] == ["s"]
    found = reasons(results)
    assert found.pop(3) == reason
    assert list(found) == lines_of_ref
    same = "line 3 cannot be read, and may be of the same ref"
    # Where no cell can be made out, it is the row before that it may go on with.
    before = "line 3 cannot be read, and may go on with it" if "\r" in bad else same
    assert list(found.values()) == [before, same]
    assert len(found) == 2


def test_a_ref_in_a_row_of_many_parts():
    """A ref is also found in a row that is read in parts: far behind, across two parts, and in quotes."""
    filler = "x" * (ROW_MAX - 20)
    bad = f'{ROW},"{filler},across,{filler},{filler}\nbehind\n""",other'
    refs = ["across", "behind", "other", "filler"]
    results = read_csv(bad, *map(row, refs), row('"a,b"'), f'{ROW},"a,b"')
    assert [result.request.ref for result in results if isinstance(result, InputClaim)] == ["filler"]
    assert reasons(results)[2] == f"{TOO_LONG}; it goes on to line 4"


@pytest.mark.parametrize("at", range(30))
def test_a_ref_at_any_place_of_a_part(at):
    """A ref is found wherever the parts of a row are divided."""
    bad = f"{ROW},{'x' * (ROW_MAX - len(ROW) - at)},my-own-ref,{'x' * ROW_MAX}"
    assert outline(read_csv(bad, row("my-own-ref"))) == ([], [2, 3])


@pytest.mark.parametrize(
    ("bad", "field", "rule", "got"),
    [
        (
            row(amount="1.0"),
            "discounts.refs.amount",
            "must be an integer, in digits only",
            "text of 3 characters",
        ),
        (
            row(amount="1 000"),
            "discounts.refs.amount",
            "must be an integer, in digits only",
            "text of 5 characters",
        ),
        (
            row(amount=" 1"),
            "discounts.refs.amount",
            "must be an integer, in digits only",
            "text of 2 characters",
        ),
        (
            row(amount='"1\n"'),
            "discounts.refs.amount",
            "must be an integer, in digits only",
            "text of 2 characters",
        ),
        (
            row(amount="+1"),
            "discounts.refs.amount",
            "must be an integer, in digits only",
            "text of 2 characters",
        ),
        (
            row(usage="1_0"),
            "discounts.refs.usage",
            "must be an integer, in digits only",
            "text of 3 characters",
        ),
        (
            row(usage="١٢"),
            "discounts.refs.usage",
            "must be an integer, in digits only",
            "text of 2 characters",
        ),
        (
            row(usage="-"),
            "discounts.refs.usage",
            "must be an integer, in digits only",
            "text of 1 characters",
        ),
        (
            row(usage="1e2"),
            "discounts.refs.usage",
            "must be an integer, in digits only",
            "text of 3 characters",
        ),
        (
            row(amount="9" * 5000),
            "discounts.refs.amount",
            "must be an integer, in digits only",
            "text of 5000 characters",
        ),
        (
            row(amount=str(2**53)),
            "discounts.refs.amount",
            "must be within plus or minus 2^53 - 1",
            "integer of 54 bits",
        ),
        (row(discount=""), "discounts.id", "must be given", "nothing"),
        (row(customer=""), "customer_id", "must be given", "nothing"),
        (row(customer="c "), "customer_id", "must have no space at either end", "text with one"),
        (row().replace(AT, ""), "purchase_at", "must be given", "nothing"),
        (
            row().replace(AT, "yesterday"),
            "purchase_at",
            "must be a date and time such as 2026-11-23T12:00:00Z",
            "text of 9 characters",
        ),
        (
            row(type_="x" * BODY_MAX),
            "claim",
            f"must have at most {BODY_MAX} bytes as JSON",
            f"{BODY_MAX + 127} bytes",
        ),
    ],
    ids=range(17),
)
def test_a_row_that_breaks_a_rule(bad, field, rule, got):
    """A row that breaks a rule names it, the field and its ref, and brings the other rows of its ref down."""
    first, second, third, good = read_csv(row("r", "d1"), bad, row("r", "d2"), row("s"))
    assert second == BadRow(3, f"{field}: {rule}; got {got}", second.text, field, rule, "r")
    assert (first.ref, third.ref) == ("r", "r")
    assert (first.line, good.line, good.request.ref) == (2, third.line + 1, "s")
    assert first.reason == third.reason == "line 3, of the same ref, is bad"
    assert (first.field, first.rule) == (None, None)
    assert first.text == row("r", "d1")


@pytest.mark.parametrize("ref", ["r", ""])
@pytest.mark.parametrize(
    "merged", [f",,,,d2,i,5,1\n,,,,d3,i,5,1\n{row('s')}", f",customer-1,,,d2,i,5,1\n{row('s')}"]
)
def test_a_row_that_goes_on_with_the_one_before(ref, merged):
    """A row whose ref, date or customer is empty, as where cells are merged, brings the one before down."""
    results = read_csv(row("before"), row(ref, "d1"), merged)
    found = reasons(results)
    assert found[3] == "line 4 has cells empty, and may go on with it"
    assert list(found) == list(range(3, 3 + len(found)))
    assert [one.request.ref for one in results if isinstance(one, InputClaim)] == ["before", "s"]


@pytest.mark.parametrize(
    "merged",
    [b",,,,d2,i,5,1,50", b",,,,d\xff,i,5,1", b' ,,,,"d2"x,i,5,1', b',,,,"d2,i,5,1', b",,,,d2,i,\0,1", b","],
)
def test_an_unreadable_row_that_goes_on_with_the_one_before(merged):
    """A row that cannot be read and has no ref brings the one before down, of whose claim it may be."""
    content = "\n".join((HEADER, row("before"), row("r", "d1"))).encode() + b"\n" + merged + b"\n"
    results = read(content, "a.csv")
    assert reasons(results)[3] == "line 4 cannot be read, and may go on with it"
    assert [one.request.ref for one in results if isinstance(one, InputClaim)] == ["before"]


@pytest.mark.parametrize(
    "rest", [",,,,,,,", " , ,,,,,,", ",,,,,,,,", f"{AT},,s,,d,,,", f"{AT},c,,,d,x,,", ",,s,,d,,,,"]
)
def test_a_row_that_does_not_go_on(rest):
    """A row with nothing in it, with a ref, or with all that a claim needs leaves the one before alone."""
    results = read_csv(row("r", "d1"), rest)
    assert 2 not in reasons(results)


def test_without_a_column_for_refs_no_row_goes_on():
    """Where rows have no ref each is a claim, and one that lacks something brings no other down."""
    results = read(f"{REQUIRED}\n{AT},c,d\n{AT},,d\n,c,d\n{AT},c2,d", "a.csv")
    assert outline(results) == ([2, 5], [3, 4])


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (row(customer="customer-2"), "customer_id"),
        (row(type_="t"), "type"),
        (row().replace("Z,", "+00:00,"), "purchase_at"),
    ],
)
def test_rows_that_contradict_each_other(other, field):
    """Rows of a ref that differ in what is the claim's are all bad, and name the field and the lines."""
    results = read_csv(row(item="1"), row("s"), row(item="2"), other)
    rule = "must be the same in all rows of a ref"
    reason = f"{field}: {rule}; got another in line 5 than in line 2"
    bad = [result for result in results if isinstance(result, BadRow)]
    assert [(one.line, one.reason, one.field, one.rule) for one in bad] == [
        (line, reason, field, rule) for line in (2, 4, 5)
    ]
    assert outline(results)[0] == [3]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (row(item="i", amount="5", usage="1"), row(item="i", amount="5", usage="1")),
        (row(item="i", amount="5"), row(item="i", amount="005")),
        (row(amount="0"), row(amount="-0")),
        (row(), row()),
    ],
)
def test_a_row_that_repeats_another(first, second):
    """A row that says the same as another of its ref would count twice, so no claim is made."""
    results = read_csv(first, row(item="other"), second, row("s"))
    reason = "line 4 repeats line 2, and an amount must not count twice"
    assert reasons(results) == {2: reason, 3: reason, 4: reason}
    assert outline(results) == ([5], [2, 3, 4])


def test_rows_that_are_much_alike():
    """Rows that differ in the discount or in the item are no repetitions."""
    (claim,) = read_csv(row(amount="5"), row(discount="e", amount="5"), row(usage="5"), row(item="5"), row())
    assert [len(discount["refs"]) for discount in sent(claim)["discounts"]] == [3, 1]


@pytest.mark.parametrize("swallowed", [1, 40])
def test_a_quote_that_is_not_closed(swallowed):
    """What follows a quote that is not closed is text, so no claims are made of it, nor any that lack it."""
    rows = [row(f"r{number}") + "x" * (ROW_MAX // 20) for number in range(swallowed)]
    results = read_csv(row("r0"), row("s"), f'{ROW},t,"never closed,d,,,', *rows, "")
    last = 4 + swallowed
    assert reasons(results) == {
        2: "line 4 cannot be read, and may be of the same ref",
        4: f"{UNCLOSED}; it goes on to line {last}",
    }
    assert outline(results)[0] == [3]


def test_quotes():
    """Quotes hold delimiters, quotes and line ends; the next row knows its line; others are plain text."""
    results = read_csv(
        row('"a,""b""\nc\r\nd"'), row('e;"f'), row('"g"'), row("", '"h\n"', customer='"""c"""'), row("i")
    )
    assert {line: body.get("ref") for line, body in bodies(results).items()} == {
        2: 'a,"b"\nc\r\nd',
        5: 'e;"f',
        6: "g",
        7: None,
        9: "i",
    }


def test_the_longest_row():
    """A row may have as many bytes as a line of JSON; what is not read counts too."""
    rows = [f"{row(ref)},".ljust(size - 1, "x") for ref, size in (("a", ROW_MAX), ("b", ROW_MAX + 1))]
    results = read("\n".join((f"{HEADER},note", *rows, "")), "a.csv")
    assert outline(results) == ([2], [3])
    assert reasons(results) == {3: TOO_LONG}


def test_rows_in_quotes_make_no_claim():
    """What looks like rows within quotes is text, in a row that is far too long too."""
    hidden = "\n".join(row(f"hidden-{number}") for number in range(50_000))
    assert len(hidden) > 2 * ROW_MAX
    results = read_csv(f'{ROW},r,"\n{hidden}\n",d,,,', row("s"))
    assert reasons(results) == {2: f"{TOO_LONG}; it goes on to line {50_003}"}
    assert outline(results)[0] == [50_004]


@pytest.mark.parametrize("begin", range(-4, 8))
def test_quotes_where_a_row_is_divided(begin):
    """Quotes open, are doubled, and close the same wherever the parts of a row are divided."""
    filler = "x" * (ROW_MAX - len(ROW) - begin)
    results = read_csv(f'{ROW},{filler},"a""\n{row("hidden")}\n"",",x', row("s"))
    assert [(result.line, type(result)) for result in results] == [(2, BadRow), (5, InputClaim)]


@pytest.mark.parametrize("size", range(ROW_MAX - 1, ROW_MAX + 4))
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_quote_within_a_cell_where_a_row_is_divided(size, quote):
    """A quote within a cell opens nothing wherever the parts of a row are divided, and nor does the end."""
    bad = "x" * size + quote
    assert outline(read_csv(f"{bad},y", row("s"))) == ([3], [2])
    # Of what is longer than a row can be no cell is made out, so that it may go on with the row before.
    assert outline(read_csv(row("s"), bad)) == (([2], [3]) if len(bad) <= ROW_MAX else ([], [2, 3]))


def test_a_byte_order_mark_within_the_input():
    """What is a byte order mark at the beginning is text anywhere else."""
    first, second = read_csv(f"\ufeff{row('a')}", row("b", '"d\n\ufeffe"'))
    assert first.field == "purchase_at"
    assert second.request.discounts[0].id == "d\n\ufeffe"


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("\n\n{header}\n\n{row}", [5]),
        ("\ufeff{header}\r\n{row}\r\n\r\n", [2]),
        ("\ufeff\n{header}\n{row}", [3]),
        ('\ufeff"{header}\n{row}'.replace("{header}", HEADER.replace(",", '",', 1)), [2]),
        ("{header}\n   \n{row}\n\t\n", [3]),
        ("{header}", []),
    ],
)
def test_lines_of_a_csv(content, lines):
    """Blank lines are passed over and count, also before the header; a byte order mark does no harm."""
    assert outline(read(content.format(header=HEADER, row=row()), "a.csv")) == (lines, [])


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_delimiter_from_the_header(delimiter):
    """The delimiter is the one that splits the header into most columns."""
    header = HEADER.replace(",", delimiter) + delimiter + "".join({",", ";", "\t"} - {delimiter})
    content = f"{header}\n" + f"{row()},x".replace(",", delimiter)
    assert outline(read(content, "a.csv")) == ([2], [])


@pytest.mark.parametrize("delimiter", ["|", "^", "]", "\\"])
def test_a_delimiter_that_is_given(delimiter):
    """A delimiter that is given goes before what the header looks like."""
    content = "\n".join((HEADER, row("a;b", '"d,\n"'))).replace(",", delimiter)
    assert list(bodies(read(content, "a.csv", delimiter=delimiter))) == [2]
    with pytest.raises(UsageError, match="no column gives purchase_at"):
        read(content, "a.csv")
    with pytest.raises(UsageError, match="no column gives purchase_at"):
        read_csv(row(), delimiter=";")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_that_tells_the_delimiter(end):
    """A spreadsheet's line before the header tells the delimiter, unless one is given, and is no row."""
    content = end.join(("sep=|", HEADER.replace(",", "|"), row("a").replace(",", "|")))
    assert list(bodies(read(content, "a.csv"))) == [3]
    assert list(bodies(read("sep=;\n" + "\n".join((HEADER, row())), "a.csv", delimiter=","))) == [3]


def test_columns_are_mapped():
    """A column may be mapped to a field, before one of its name; what is mapped to nothing is not read."""
    header = "Kunde,note,customer_id,purchase_at,Nr=,discounts.id,ref"
    content = f'{header}\nc1,"x\ny",7,{AT},r1,d,s1\nc2,,8,{AT},r2,d,s2'
    results = read(content, "a.csv", mapping=["Kunde=customer_id", "Nr==ref", "customer_id=type"])
    assert [(body["customer_id"], body["ref"], body["type"]) for body in bodies(results).values()] == [
        ("c1", "r1", "7"),
        ("c2", "r2", "8"),
    ]


def test_few_columns():
    """A CSV needs no more columns than a claim needs fields."""
    (body,) = bodies(read(f"{REQUIRED}\n{AT},c,d", "a.csv")).values()
    assert body["discounts"] == [{"id": "d"}]


@pytest.mark.parametrize(
    ("content", "mapping", "words"),
    [
        (b"", [], "the input has no header"),
        (b"\xef\xbb\xbf\n \n", [], "the input has no header"),
        (b"sep=;\n", [], "the input has no header"),
        (b"\n" + REQUIRED.encode() + b",\xff", [], "line 2: the header is not UTF-8"),
        (
            HEADER.encode("utf-16-be"),
            [],
            "the header holds a NUL byte, as UTF-16 does; save the file as UTF-8",
        ),
        (b'"a', [], "the header has a quote that is not closed"),
        (b'"a"b', [], "the header is not CSV: "),
        (REQUIRED.encode() + b"," * ROW_MAX, [], f"the header {TOO_LONG}"),
        (b'"' + b"a\n" * ROW_MAX, [], f"the header {TOO_LONG}"),
        (REQUIRED.encode(), ["Kunde=ref"], "no column 'Kunde', which is mapped to ref"),
        (REQUIRED.encode() + b",purchase_at", [], "the column 'purchase_at' more than once"),
        (REQUIRED.encode() + b",x,x", ["x=ref"], "the column 'x' more than once"),
        (b"purchase_at,customer_id", [], "no column gives discounts.id; say which one does with --map"),
        (b"purchase_at,discounts.id,Customer_id", [], "no column gives customer_id"),
        (b"customer_id,discounts.id, purchase_at", [], "no column gives purchase_at"),
        (REQUIRED.encode(), ["customer_id=ref"], "no column gives customer_id"),
        (REQUIRED.encode() + b",Ref", [], "the column 'Ref' is not used; say with --map Ref=ref"),
        (REQUIRED.encode() + b", ref ", [], "the column ' ref ' is not used"),
        (REQUIRED.encode() + b",TYPE,ref", [], "the column 'TYPE' is not used"),
    ],
    ids=range(19),
)
def test_a_header_that_cannot_be_used(content, mapping, words):
    """Nothing can be read under a header that cannot be used, which is said as wrong usage."""
    with pytest.raises(UsageError) as caught:
        read(content, "a.csv", mapping=mapping)
    assert words in str(caught.value)


def test_columns_that_are_not_used_may_be_alike():
    """A column name that is there twice does no harm where nothing is read from it."""
    assert list(bodies(read(f"{REQUIRED},x,x,,\n{AT},c,d,1,2,,", "a.csv"))) == [2]


def test_the_text_of_a_bad_row():
    """A bad row is shown as far as it goes, all of its lines, with escapes for what is not UTF-8."""
    content = f'{HEADER}\nx"\udcff\n"y\nz"\r\n{"z" * ROW_MAX}'.encode("utf-8", "surrogateescape")
    texts = [result.text for result in read(content, "a.csv")]
    assert texts == ['x"\\xff', '"y\nz"', "z" * TEXT_MAX]


def test_a_claim_of_too_many_rows():
    """A claim that is too large by all its rows is rejected, each row with its own line."""
    count = BODY_MAX // 16
    results = read_csv(*(row(item=f"item-{number}") for number in range(count)), row("s"))
    assert outline(results) == ([count + 2], list(range(2, count + 2)))
    assert {result.field for result in results[:-1]} == {"claim"}


def test_a_claim_that_is_hardly_too_large():
    """A claim is also rejected where only what JSON adds to its cells makes it too large."""
    results = read_csv(*(row(item=letter * (BODY_MAX // 2 - 10)) for letter in "ab"))
    assert outline(results) == ([], [2, 3])
    assert reasons(results)[2].startswith(f"claim: must have at most {BODY_MAX} bytes as JSON; got 52")


def test_a_claim_of_25_mb_is_not_held():
    """Of a claim that is too large no more is held than one may have."""
    pieces = (f"{row(item=f'{number}-' + 'x' * 400_000)}\n".encode() for number in range(60))
    tracemalloc.start()
    try:
        results = read(generated(itertools.chain([HEADER.encode(), b"\n"], pieces)), "a.csv")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outline(results) == ([], list(range(2, 62)))
    assert peak < 12 * ROW_MAX


def test_where_rows_are_put_aside(monkeypatch):
    """Rows are put aside in a file without a name, and are gone when the reading ends, early too."""
    opened = []
    connect = sqlite3.connect

    def remember(name, **options):
        opened.append((name, connect(name, **options)))
        return opened[-1][1]

    monkeypatch.setattr(sqlite3, "connect", remember)
    content = "\n".join((HEADER, row("a"), row("b"))).encode()
    results = read_claims(io.BytesIO(content), choose_format("a.csv", kind=None, mapping=(), delimiter=None))
    next(results)
    results.close()
    ((name, connection),) = opened
    assert name == ""
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


def test_reading_goes_on_in_another_thread():
    """Who reads in worker threads need not keep to one."""
    results = read_claims(
        io.BytesIO("\n".join((HEADER, row("a"), row("b"))).encode()),
        choose_format("a.csv", kind=None, mapping=(), delimiter=None),
    )
    lines = [next(results).line]
    thread = threading.Thread(target=lambda: lines.append(next(results).line))
    thread.start()
    thread.join()
    assert lines == [2, 3]


def test_the_limit_is_that_of_what_is_sent():
    """A claim whose rows have more bytes than it may have, but which itself has fewer, is a claim."""
    discount = "d" * (BODY_MAX // 4)
    (claim,) = read_csv(*(row(discount=discount, item=str(number)) for number in range(6)))
    assert len(claim.request.discounts[0].refs) == 6


def test_a_row_of_50_mb_is_not_held():
    """A row that is far too long, by its cell or by its quotes, is passed over without being held."""
    many = (row("hidden", item="x" * 1_000).encode() + b"\n") * 50
    pieces = [HEADER.encode(), b"\n", *[b"x" * 65_536] * 400, b"\n"]
    pieces += [ROW.encode(), b',"', *[many] * 400, b'"\n', row("s").encode(), b"\n"]
    tracemalloc.start()
    try:
        results = read(generated(pieces), "a.csv")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outline(results) == ([20_004], [2, 3])
    assert peak < 16 * ROW_MAX


def test_a_disk_that_is_full(monkeypatch):
    """Where rows cannot be put aside, the command ends and says why."""
    monkeypatch.setattr(
        "dintero_claims_client.cli.batch_staging._TABLES", "PRAGMA max_page_count = 1; CREATE TABLE x (y);"
    )
    with pytest.raises(CommandError, match="the rows cannot be put aside on disk: database or disk is full"):
        read_csv(row())


def cells_of(claim, discount, item):
    """Return the cells of a row."""
    fields = claim.to_dict()
    item = item.to_dict() if item is not None else {}
    shared = [fields.get(name, "") for name in ("purchase_at", "customer_id", "ref", "type")]
    return [*shared, discount.id, *(item.get(name, "") for name in ("id", "amount", "usage"))]


def rows_of(claim):
    """Return the rows of a claim, none of which says the same as another."""
    rows = [
        cells_of(claim, discount, item) for discount in claim.discounts for item in discount.refs or [None]
    ]
    return [cells for index, cells in enumerate(rows) if cells not in rows[:index]]


def expected(rows):
    """Return what would be sent, made from rows in the plainest way."""
    made = {}
    for number, (at, customer, ref, type_, discount, item, amount, usage) in enumerate(rows):
        fields = {"id": item, "amount": amount, "usage": usage}
        key = ref or number
        claim = made.setdefault(key, {"purchase_at": at, "customer_id": customer, "ref": ref, "type": type_})
        claim.setdefault("discounts", {}).setdefault(discount, []).append(
            {name: value for name, value in fields.items() if value != ""}
        )
    for claim in made.values():
        items = {name: [item for item in found if item] for name, found in claim["discounts"].items()}
        claim["discounts"] = [
            {"id": name, "refs": found} if found else {"id": name} for name, found in items.items()
        ]
    return [{name: value for name, value in claim.items() if value != ""} for claim in made.values()]


@ANY
@given(
    st.lists(claims(CELL, ref=CELL), max_size=4, unique_by=lambda claim: claim.ref),
    st.lists(claims(CELL, ref=st.just(UNSET)), max_size=2),
    st.randoms(use_true_random=False),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
def test_any_claims_come_back_from_shuffled_rows(with_ref, without, order: random.Random, delimiter, quoting):
    """Claims whose rows are written in any order are read as they were, their discounts in that order."""
    rows = [cells for claim in with_ref + without for cells in rows_of(claim)]
    order.shuffle(rows)
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting)
    writer.writerows([FIELDS, *rows])
    results = read(file.getvalue(), "a.csv")
    assert [sent(result) for result in results] == expected(rows)


PIECE = st.binary(max_size=8) | st.sampled_from(
    [
        b"\n",
        b"\r\n",
        b'"',
        b'""',
        b",",
        b";",
        b"\t",
        b"\0",
        b"\xef\xbb\xbf",
        row("a").encode(),
        row("b").encode(),
    ]
)


@ANY
@given(st.sampled_from([b"", HEADER.encode() + b"\n"]), st.lists(PIECE, max_size=12).map(b"".join))
@example(b"", b"\xef\xbb\xbfsep=;\n")
def test_any_bytes(header, content):
    """Whatever the input is, there is nothing but claims, bad rows and wrong usage, each of its own line."""
    try:
        results = read(header + content, "a.csv")
    except UsageError:
        return
    lines = [result.line for result in results]
    assert len(set(lines)) == len(lines)


LINE = st.builds(row, st.sampled_from(["a", "b", "c", ""]), st.sampled_from(["d", "e", "f", "g", ""]))


@ANY
@given(st.lists(LINE | LINE | st.sampled_from(["", " ", "a", "x,y"]), max_size=8))
def test_each_line_is_in_one_result(lines):
    """Each row is a bad one, or one of the rows of one claim, which here are its discounts."""
    results = read_csv(*lines)
    claimed = [result for result in results if isinstance(result, InputClaim)]
    bad = [result.line for result in results if isinstance(result, BadRow)]
    made = sum(len(result.request.discounts) for result in claimed)
    assert len(bad) + made == sum(bool(line.strip()) for line in lines)
    assert len({*bad, *(result.line for result in claimed)}) == len(bad) + len(claimed)
