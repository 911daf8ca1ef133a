"""What a batch sees of the single attempts of its claims."""

from __future__ import annotations

from typing import Protocol


class Watch(Protocol):
    """Is told of every claim request of a call, also of its repetitions."""

    async def before_request(self) -> None:
        """Wait for as long as the request is not to be sent yet."""

    def after_request(self, status: int | None, seconds: float) -> None:
        """Learn the status of the answer, None where there was none, and how long it took."""
