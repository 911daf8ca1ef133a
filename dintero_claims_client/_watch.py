"""What a batch sees of the calls for its claims, and does for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ._operations import ClaimToSend
    from ._reconcile import Found


class Watch(Protocol):
    """Is told of every claim request of a call, also of its repetitions, and looks its claim up."""

    async def before_request(self) -> None:
        """Wait for as long as the request is not to be sent yet."""

    def after_request(self, status: int | None, seconds: float) -> None:
        """Learn the status of the answer, None where there was none, and how long it took."""

    async def find(self, claim: ClaimToSend, deadline: float) -> Found:
        """Look for a claim of which it is not known whether it was taken."""
        ...
