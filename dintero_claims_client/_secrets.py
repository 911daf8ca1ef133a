"""Keeping secrets out of reprs, logs and tracebacks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import NoReturn

from .errors import ConfigurationError

MASK = "[secret]"

SecretSource = str | Callable[[], str | Awaitable[str]]


def scrub(body: bytes, *secrets: str) -> bytes:
    """Blot secrets out of an answer: servers echo what they were sent."""
    for secret in secrets:
        body = body.replace(secret.encode(), MASK.encode())
    return body


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
