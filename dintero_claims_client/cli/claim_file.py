"""Reading a claim from a file or from stdin."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from dintero_claims_client.cli.exit_codes import UsageError
from dintero_claims_client.models import ClaimRequest, claim_request_from_json


def read_claim(file: str) -> ClaimRequest:
    """Return the claim in a file, or in what stdin gives if the file is `-`.

    Raises `UsageError` for what cannot be read or is no JSON, and `InvalidClaimError` for what is no claim.
    """
    if file == "-" and sys.stdin is None:
        raise UsageError(f"{file}: cannot be read: stdin is closed")
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror or type(error).__name__}") from None
    return claim_request_from_json(_parse(content, "stdin" if file == "-" else file))


def parse_json(text: str) -> object:
    """Return the JSON value, refusing what readers of JSON disagree about: a claim is money.

    Raises `JSONDecodeError` for what is no JSON, and a plain `ValueError` for JSON that cannot be used.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repetition, parse_constant=_refuse_constant)
    except (json.JSONDecodeError, _UnusableError):
        raise
    except ValueError:
        # Python reads no such number, because that takes long.
        raise ValueError("a number has too many digits") from None
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def json_flaw(error: json.JSONDecodeError) -> str:
    """Return what is wrong with JSON without the last words of Python, which lead to a place in the text."""
    return re.sub(r"(( starting)? at|: )$", "", error.msg)


def _parse(content: bytes, name: str) -> object:
    try:
        # Some editors begin UTF-8 with a byte order mark.
        return parse_json(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{name}: line {line}: is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise UsageError(
            f"{name}: line {error.lineno}, column {error.colno}: is not JSON: {json_flaw(error)}"
        ) from None
    except ValueError as error:
        raise UsageError(f"{name}: is not JSON that can be used: {error}") from None


class _UnusableError(ValueError):
    """Why JSON cannot be used, in words for the user."""


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise _UnusableError(f"the field {name!r} is there twice in one object")
        fields[name] = value
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise _UnusableError(f"{name} is not a number in JSON")
