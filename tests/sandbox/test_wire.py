"""What is read from the wire, and what is not."""

import base64

import pytest

from dintero_claims_client.sandbox.refusal import Refusal
from dintero_claims_client.sandbox.wire import basic_credentials, bearer_token, error_response, parse_json


def nested(levels: int) -> bytes:
    """Return arrays in arrays."""
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"{}", {}),
        (b' {"a": [1, 1.5, null, true, "\xc3\xa6"]}\n', {"a": [1, 1.5, None, True, "æ"]}),
        (rb'"\ud83d\ude00"', "😀"),
        (b"null", None),
    ],
)
def test_reads_json(raw, expected):
    """A body is any JSON value, in UTF-8."""
    body = parse_json(raw)
    assert (expected, None) == (body.content, body.flaw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{} {}",
        b"{'a': 1}",
        b'{"a": NaN}',
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e999]",
        b"[" + b"9" * 5000 + b"]",
        b"\xff",
        b'"\xe6"',
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        rb'{"a": "\ud800"}',
        rb'{"\udfff": 1}',
        nested(100_000),
        b'{"a":' * 100_000,
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_refuses_what_is_not_json(raw):
    """NaN, infinities, other encodings, broken characters and bottomless nesting are not JSON."""
    body = parse_json(raw)
    assert body.flaw == "The body is not valid JSON"
    with pytest.raises(Refusal) as caught:
        body.require_content()
    assert caught.value.status == 400


def test_nesting_has_a_limit():
    """What is nested deeper than any claim is refused before an answer could fail on it."""
    assert parse_json(nested(64)).flaw is None
    assert "64 levels" in parse_json(nested(65)).flaw
    assert "64 levels" in parse_json(b'{"a":' * 64 + b"[]" + b"}" * 64).flaw


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(b'{"ref": "r"}', "r"), (b'{"ref": 1}', None), (b"{}", None), (b"[]", None), (b"}", None)],
)
def test_ref(raw, expected):
    """A ref is found in whatever body has one."""
    assert expected == parse_json(raw).ref


def encoded(text: str) -> str:
    """Return text as HTTP Basic has it."""
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"Basic {encoded('user:pass')}", ("user", "pass")),
        (f"basic {encoded('user:pa:ss')}", ("user", "pa:ss")),
        (f"Basic {encoded('æ:ø')}", ("æ", "ø")),
        (f"Basic {encoded('user')}", ("user", "")),
        (f"Bearer {encoded('user:pass')}", ("", "")),
        ("Basic ???", ("", "")),
        ("Basic /w==", ("", "")),
        ("Basic", ("", "")),
        ("", ("", "")),
    ],
)
def test_basic_credentials(header, expected):
    """HTTP Basic gives a user and a password, and anything else gives none."""
    assert expected == basic_credentials(header)


@pytest.mark.parametrize(
    ("header", "expected"),
    [("Bearer t", "t"), ("bearer t", "t"), ("Basic t", ""), ("Bearer", ""), ("t", ""), ("", "")],
)
def test_bearer_token(header, expected):
    """HTTP Bearer gives a token, and anything else gives none."""
    assert expected == bearer_token(header)


@pytest.mark.parametrize(
    ("status", "code"), [(404, b"NOT FOUND"), (503, b"SERVICE UNAVAILABLE"), (599, b"ERROR")]
)
def test_error_codes(status, code):
    """An error names its status in words, where there are any."""
    response = error_response(Refusal(status, "why"))
    assert b'{"error":{"code":"' + code + b'","message":"why"}}' == response.body
