"""The client of the pytest plugin: it ends with the event loop that it is used on, or with its test."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from .client import ClaimsClient


class FixtureClient(ClaimsClient):
    """A client that whoever made it need not close on its event loop.

    A fixture may be on another event loop than its test, or on none, and the test's may end first.
    """

    _closing: asyncio.Task[None] | None = None

    def _open(self) -> Any:  # noqa: ANN401 - what a client holds is private to it
        opened = super()._open()
        if self._closing is None:
            self._closing = opened.loop.create_task(self._close_in_the_end())
        return opened

    async def _close_in_the_end(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            # An event loop that ends cancels its tasks, and waits for them.
            await self.aclose()
            http_client: Any = self._http_client
            if http_client is not None:
                await http_client.aclose()

    def end(self) -> None:
        """Close it, while its event loop does not run; again is no error."""
        closing = self._closing
        if closing is None:
            # Never opened.
            self._closed = True
        elif not closing.done():
            closing.cancel()
            with suppress(asyncio.CancelledError):
                closing.get_loop().run_until_complete(closing)
