"""Going through the outcomes of a batch."""

from __future__ import annotations

from collections.abc import Awaitable
from types import TracebackType
from typing import Self

from ._batch_run import BatchRun
from .errors import ClaimsError
from .outcomes import Outcome

__all__ = ["Batch"]


class Batch:
    """The outcomes of a batch, as they come: go through them with `async for`, once.

    Rows are taken from the source only as far as they can be claimed and given out. Leaving `async with`, or
    `aclose()`, stops the batch at once, and so does leaving the loop, as soon as nobody refers to the batch
    any more: what was under way then is not told, but is in the journal if there
    is one. `stop()` stops it in order. Not safe for several consumers.
    """

    def __init__(self, run: BatchRun) -> None:
        self._run = run
        self._outcomes = run.outcomes()

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[Outcome]:
        return anext(self._outcomes)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop at once, and wait until nothing is under way any more; from any task of the event loop."""
        try:
            await self._outcomes.aclose()
        except RuntimeError:
            # Somebody goes through it at this moment, and is at its end then.
            await self._run.abort()

    def stop(self) -> None:
        """Take no more rows; those that are under way are still claimed and given out."""
        self._run.stop()

    @property
    def under_way(self) -> int:
        """How many rows are being claimed at this moment."""
        return self._run.slots.under_way

    @property
    def concurrency(self) -> int:
        """How many may be at this moment; it falls when the server pushes back, and recovers."""
        return self._run.window.window

    @property
    def trouble(self) -> ClaimsError | None:
        """Why the batch pauses at this moment; None where it does not."""
        return self._run.trouble if self._run.slots.seconds_paused > 0 else None
