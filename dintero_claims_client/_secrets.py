"""Keeping secrets out of reprs, logs and tracebacks."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, NoReturn, cast

from .errors import APIStatusError, ConfigurationError

MASK = "[secret]"

SecretSource = str | Callable[[], str | Awaitable[str]]


_LEAST = 4
"""Characters; what is shorter is no secret, and blotting it out would leave nothing to read."""


def scrub(body: bytes, *secrets: str) -> bytes:
    """Blot secrets out of an answer: servers echo what they were sent, also escaped as JSON."""
    for secret in secrets:
        for form in _forms(secret):
            body = body.replace(form.encode(), MASK.encode())
    return body


def withhold(body: bytes, *secrets: str) -> bytes:
    """Blot secrets out of an answer that is only to be shown.

    All of it goes where one is escaped in part or letter by letter, as no writer of JSON does by itself.
    """
    body = scrub(body, *secrets)
    if b"\\u" in body:
        plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), body.decode(errors="replace"))
        if any(form in plain for secret in secrets for form in _forms(secret)):
            return MASK.encode()
    return body


_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def scrub_error(error: APIStatusError, *secrets: str) -> None:
    """Blot secrets out of what an error shows of an answer after it was decoded."""

    def blot(value: object) -> Any:  # noqa: ANN401 - whatever JSON holds
        if isinstance(value, str):
            for secret in secrets:
                for form in _forms(secret):
                    value = value.replace(form, MASK)
            return value
        if isinstance(value, dict):
            return {blot(name): blot(one) for name, one in cast("dict[str, object]", value).items()}
        if isinstance(value, list):
            return [blot(one) for one in cast("list[object]", value)]
        return value

    error.args = tuple(blot(one) for one in error.args)
    error.body = withhold(error.body, *secrets)
    error.message, error.code, error.request_id = (
        blot(error.message),
        blot(error.code),
        blot(error.request_id),
    )
    try:
        error.errors = tuple(blot(dict(one)) for one in error.errors)
    except RecursionError:
        # Nobody reads what is nested so deep.
        error.errors = ()


def _forms(secret: str) -> set[str]:
    """Return a secret as it is, and as JSON may write it."""
    if len(secret) < _LEAST:
        return set()
    escaped = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return escaped | {form.replace("/", "\\/") for form in escaped}


class MaskedStr(str):
    """Text whose repr shows nothing.

    A header value of this type stays masked where a library keeps it in a dict that a traceback or a log
    line shows; only writing it to the wire makes it plain.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"'{MASK}'"


class Secret:
    """Holds a secret, or the function that gives the secret of the moment."""

    __slots__ = ("_source",)

    def __init__(self, source: SecretSource) -> None:
        self._source = source

    async def reveal(self) -> MaskedStr:
        """Return the secret of the moment; raises `ConfigurationError` when the source fails or is empty."""
        source = self._source
        if isinstance(source, str):
            return MaskedStr(source)
        try:
            value = source()
            if isawaitable(value):
                value = await value
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something inside the caller's function was cancelled, and not the call.
            failure = "it was cancelled"
        except Exception as error:  # noqa: BLE001 - the caller's function may raise anything
            # Its text and its frames may hold the secret; its type says enough.
            failure = type(error).__name__
        else:
            # The function is the caller's, and its annotation may be wrong.
            secret = printable(value)
            if secret is not None:
                return MaskedStr(secret)
            failure = "it returned something else than printable text"
        raise ConfigurationError(f"client_secret: the function that gives the secret failed: {failure}")

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def printable(value: object) -> str | None:
    """Return a text that is not empty and has no control character; None for anything else."""
    return value if isinstance(value, str) and value and value.isprintable() else None


def wrap_secret(source: SecretSource) -> Secret | None:
    """Return what a client was given as its secret, wrapped; None where it cannot be one."""
    return Secret(source) if callable(source) or printable(source) is not None else None
