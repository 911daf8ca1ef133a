"""Blotting secrets out of what a server says, in whatever form it says them."""

import json

import pytest

from dintero_claims_client import APIStatusError
from dintero_claims_client._secrets import scrub, scrub_error

WORD = 'p/q"r\\s\u00e4'


@pytest.mark.parametrize(
    "form",
    [
        WORD,
        json.dumps(WORD)[1:-1],
        json.dumps(WORD, ensure_ascii=False)[1:-1],
        json.dumps(WORD)[1:-1].replace("/", "\\/"),
        json.dumps(WORD, ensure_ascii=False)[1:-1].replace("/", "\\/"),
    ],
    ids=["as it is", "ASCII", "UTF-8", "ASCII, slashes escaped", "UTF-8, slashes escaped"],
)
def test_a_secret_in_any_form_of_json(form):
    """A secret is found as it is, and as any writer of JSON may write it."""
    assert scrub(f"a {form} b".encode(), WORD) == b"a [secret] b"


def test_what_is_too_short_for_a_secret_stays():
    """A secret of a few letters is left alone, because without them nothing could be read."""
    assert scrub(b'{"id": "abc"}', "abc") == b'{"id": "abc"}'
    assert scrub(b'{"id": "abcd"}', "abcd") == b'{"id": "[secret]"}'


def test_what_is_nested_too_deep_to_search_is_left_out():
    """An error whose parts cannot be searched to their end does not keep them."""
    deep = {}
    for _ in range(10_000):
        deep = {"x": deep}
    error = APIStatusError("no word", status=400, errors=(deep,))
    scrub_error(error, "word")
    assert (error.errors, error.message) == ((), "no [secret]")
