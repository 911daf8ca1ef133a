"""That who watches a client cannot fail what it does."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from ._logs import LOGGER

_ENDS = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""What ends the program, or the generator that this is in, and is for nobody to catch."""


@contextmanager
def harmless() -> Generator[None, None, None]:
    """Keep those who watch from failing what they watch: a claim that was taken must be told as taken.

    Nothing in it may wait: a cancellation is one that somebody raised, and not the task's own.
    """
    try:
        yield
    except _ENDS:
        raise
    # Whatever a function, a log handler or an exporter raises, a failure of `pytest.fail` too.
    except BaseException as error:  # noqa: BLE001
        try:
            # Not its text, and no traceback: nobody knows what they hold.
            LOGGER.error("event=watching_failed error=%s", type(error).__name__)
        except _ENDS:
            raise
        except BaseException:  # noqa: BLE001, S110 - then nobody can be told
            pass
