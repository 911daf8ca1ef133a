"""What is said of each error: in words with a next step, and as an object."""

import json

import pytest

from dintero_claims_client import (
    APIStatusError,
    AuthenticationError,
    ClaimsError,
    ClientStateError,
    ConfigurationError,
    InvalidClaimError,
    JournalError,
    JournalWriteError,
    NoAnswerError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitedError,
    RefConflictError,
    ServerError,
)
from dintero_claims_client.cli import output
from dintero_claims_client.cli.exit_codes import exit_code

ERRORS: list[tuple[ClaimsError, int, str]] = [
    (ConfigurationError("timeout: must be a number"), 2, "dintero-claims doctor"),
    (InvalidClaimError("ref", "must not be empty", "nothing"), 2, "dintero-claims claim --help"),
    (NotSentError("not sent"), 1, "repeated safely later\nif that does not help: dintero-claims doctor"),
    (NotSentError("not sent", retry_after=1.2), 1, "repeated safely in 2 s"),
    (OutcomeUnknownError("unknown", ref="a b"), 4, "dintero-claims find --ref 'a b'"),
    (OutcomeUnknownError("unknown", ref="a b", taken=True), 4, "dintero-claims batch run FILE"),
    (OutcomeUnknownError("unknown"), 4, "dintero-claims list --all"),
    (NoAnswerError("no answer"), 1, "if that does not help: dintero-claims doctor"),
    (ServerError("busy", status=503), 1, "if that does not help: dintero-claims doctor"),
    (AuthenticationError("refused", status=401), 3, "dintero-claims doctor"),
    (AuthenticationError("not found", status=404), 2, "check base_url, which ends with its version"),
    (
        PermissionDeniedError("refused", status=403),
        1,
        "scope write:discounts\nwhat the token allows: dintero-claims doctor",
    ),
    (NotFoundError("nothing", status=404), 1, "or base_url is wrong: dintero-claims doctor"),
    (RefConflictError("in use", status=409, ref="order-1"), 5, "dintero-claims find --ref order-1"),
    (RefConflictError("in use", status=409, ref="order-1"), 5, "--if-exists return"),
    (APIStatusError("refused", status=400), 1, "mend what the server names"),
    (JournalError("in use"), 2, "dintero-claims doctor --journal PATH"),
    (JournalWriteError("full"), 1, "make room on the disk, and resume"),
    (RateLimitedError("slow down", status=429, retry_after=3.0), 1, "repeat it in 3 s"),
    (APIStatusError("refused", status=400, errors=[{"field": "ref"}]), 1, '{"field": "ref"}'),
    (ClientStateError("the client is closed"), 1, ""),
]


@pytest.mark.parametrize(("error", "code", "words"), ERRORS)
def test_an_error_in_words(capsys, error, code, words):
    """An error is its message, and what to do next where that is known."""
    output.write_error(error, as_json=False)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {error}\n")
    assert words in err
    assert (err.count("\n") == 1) == (words == "")
    assert exit_code(error) == code


@pytest.mark.parametrize(("error", "code", "_words"), ERRORS)
def test_an_error_as_an_object(capsys, error, code, _words):
    """An error for machines holds its class, its exit code and its plain data."""
    output.write_error(error, as_json=True)
    out, err = capsys.readouterr()
    assert out == ""
    told = json.loads(err)
    assert told["error"] == type(error).__name__
    assert told["message"] == str(error)
    assert told["exit_code"] == code
    for name in ("status", "code", "ref", "retry_after", "taken", "errors"):
        assert told.get(name, ()) == (getattr(error, name, None) or ())


def test_taken_is_said_where_it_is_known(capsys):
    """False is knowledge, and is not left out."""
    output.write_error(OutcomeUnknownError("deleted since", taken=False), as_json=True)
    assert json.loads(capsys.readouterr().err)["taken"] is False


def test_nothing_commands_the_terminal(capsys):
    """What a terminal would obey is shown as an escape, in results and in errors."""
    evil = "\x1b[2J\tA\ud800"
    output.write_rows([("ref", evil)])
    output.write_error(OutcomeUnknownError(evil, ref=evil), as_json=False)
    out, err = capsys.readouterr()
    assert out == "ref  \\x1b[2J\\tA\\ud800\n"
    assert "\x1b" not in err
    assert "\t" not in err


def test_colour_is_for_terminals(capsys, monkeypatch):
    """Neither stream gets colour where it is no terminal, whatever the environment wants."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    import sys

    assert output.console(sys.stdout).is_terminal is False
    assert output.console(sys.stderr).color_system is None
