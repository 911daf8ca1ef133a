"""That who watches a client cannot fail what it does."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager, suppress

from ._logs import LOGGER


@contextmanager
def harmless() -> Generator[None, None, None]:
    """Keep those who watch from failing what they watch: a claim that was taken must be told as taken.

    Nothing in it may wait: a cancellation is one that somebody raised, and not the task's own.
    """
    try:
        yield
    # Whatever a function, a log handler or an exporter raises.
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
        with suppress(Exception, asyncio.CancelledError):
            # Not its text, and no traceback: nobody knows what they hold.
            LOGGER.error("event=watching_failed error=%s", type(error).__name__)
