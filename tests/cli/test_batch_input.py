"""Which format the input of a batch has."""

import pytest

from dintero_claims_client.cli.batch_csv import FIELDS
from dintero_claims_client.cli.batch_input import choose_format
from dintero_claims_client.cli.exit_codes import UsageError


def choose(name="a.csv", *, kind=None, mapping=(), delimiter=None):
    """Choose a format, by default that of a CSV."""
    return choose_format(name, kind=kind, mapping=mapping, delimiter=delimiter)


@pytest.mark.parametrize(
    ("name", "kind", "chosen"),
    [
        ("a.csv", None, "csv"),
        ("dir.jsonl/A.CSV", None, "csv"),
        ("a.tsv", None, "csv"),
        ("a.jsonl", None, "jsonl"),
        ("a.csv.txt", None, "jsonl"),
        ("csv", None, "jsonl"),
        ("dir.csv/a", None, "jsonl"),
        ("-", None, "jsonl"),
        ("-", "csv", "csv"),
        ("a.csv", "jsonl", "jsonl"),
    ],
)
def test_a_format(name, kind, chosen):
    """The name's ending tells the format, unless it is given."""
    assert choose(name, kind=kind).kind == chosen


def test_columns_and_a_delimiter():
    """Columns are mapped to fields, whose names hold no =; a tab may be written as an escape."""
    chosen = choose(mapping=["Kunde=customer_id", "a=b=ref"], delimiter=r"\t")
    assert dict(chosen.mapping) == {"Kunde": "customer_id", "a=b": "ref"}
    assert chosen.delimiter == "\t"
    assert choose(delimiter="|").delimiter == "|"
    assert choose().delimiter is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "xml"}, "'xml' is no format; jsonl and csv are"),
        ({"mapping": ["ref"]}, "'ref' maps nothing; write COLUMN=FIELD"),
        ({"mapping": ["=ref"]}, "'=ref' maps nothing"),
        ({"mapping": [""]}, "'' maps nothing"),
        ({"mapping": ["a=reff"]}, f"'reff' is no field to map a column to; there are {', '.join(FIELDS)}"),
        ({"mapping": ["a="]}, "'' is no field"),
        ({"mapping": ["a=ref", "a=type"]}, "the column 'a' is mapped twice"),
        ({"mapping": ["a=ref", "b=ref"]}, "two columns are mapped to ref"),
        ({"name": "-", "mapping": ["a=ref"]}, "for CSV"),
        ({"name": "-", "delimiter": ";"}, "for CSV"),
        ({"name": "-", "delimiter": ""}, "for CSV"),
        *(
            ({"delimiter": given}, "is no delimiter")
            for given in ("", ",,", '"', "\n", "\r", "\0", "1", "x", "-", "§", " ", r"\n")
        ),
    ],
    ids=str,
)
def test_a_format_that_cannot_be(options, words):
    """What cannot be meant is wrong usage, before anything is read."""
    with pytest.raises(UsageError) as caught:
        choose(**options)
    assert words in str(caught.value)
