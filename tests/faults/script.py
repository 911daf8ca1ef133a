"""Faults as plain data, and the plans that say which of them strikes which exchange."""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol

Operation = Literal["claim", "token", "list", "get"]


class Point(StrEnum):
    """Where a fault strikes, in the order of an exchange."""

    ACCEPT = "accept"
    """After `after` raw bytes of the connection have come; under TLS those of the handshake."""
    UPLOAD = "upload"
    """After the head and `after` bytes of the body; the request is never executed."""
    RECEIVED = "received"
    """After the whole request, before any byte of an answer."""
    STATUS_LINE = "status_line"
    """After `after` bytes of the answer's status line."""
    HEADERS = "headers"
    """After the status line and `after` bytes of the headers."""
    BODY = "body"
    """After the head and `after` bytes of the body."""
    ANSWERED = "answered"
    """After the whole answer."""


class Act(StrEnum):
    """What is done where a fault strikes."""

    RESET = "reset"
    """RST, also under TLS."""
    CLOSE = "close"
    """FIN."""
    STALL = "stall"
    """Nothing more, until the client hangs up."""
    GARBAGE = "garbage"
    """Bytes of no protocol, then FIN."""
    TRICKLE = "trickle"
    """The rest of the answer, one byte every `gap` seconds."""
    KEEP = "keep"
    """The connection stays open, and serves on."""


CUTS = (Point.STATUS_LINE, Point.HEADERS, Point.BODY)
"""The points inside an answer."""

_BREAKS = (Act.RESET, Act.CLOSE, Act.STALL)
ACTS: dict[Point, tuple[Act, ...]] = {
    Point.ACCEPT: (*_BREAKS, Act.GARBAGE),
    Point.UPLOAD: _BREAKS,
    Point.RECEIVED: _BREAKS,
    **dict.fromkeys(CUTS, (*_BREAKS, Act.TRICKLE)),
    Point.ANSWERED: (Act.KEEP, *_BREAKS),
}
"""What can be done where."""

EXECUTED = (Point.RECEIVED, *CUTS, Point.ANSWERED)
"""The points at which the request may have been executed."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    `commit` says whether the request is executed all the same, which needs the whole of it. `answer` is the
    name of a form in `answers.FORMS`: the one that is cut off, or given whole. `size` is for the forms that
    need a number: how many claims a page has, or lacks.
    """

    at: Point
    act: Act
    commit: bool = False
    answer: str = "honest"
    after: int = 0
    gap: float = 0.0
    size: int = 1

    def __post_init__(self) -> None:
        if self.act not in ACTS[self.at]:
            raise ValueError(f"{self.act} is not done at {self.at}")
        if self.commit and self.at not in EXECUTED:
            raise ValueError(f"nothing can be executed at {self.at}")

    def __str__(self) -> str:
        where = f"{self.at}+{self.after}" if self.after else str(self.at)
        parts = [where, self.act, *(["committed"] if self.commit else [])]
        if self.answer != "honest":
            parts.append(self.answer)
        return "-".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the fault as JSON holds it, without what is as usual."""
        values = dataclasses.asdict(self)
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value != usual[name]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Fault:
        """Return the fault that `to_json` gave."""
        return cls(**{**value, "at": Point(value["at"]), "act": Act(value["act"])})


@dataclass(frozen=True)
class Request:
    """What a plan knows of a request.

    `attempt` counts from 1 how often this claim has come, by its ref, or its customer when it has none; for
    other operations it counts all requests of the kind. `used` says whether the connection carried another
    request before.
    """

    operation: Operation
    attempt: int
    connection: int
    used: bool
    ref: str | None = None
    customer_id: str | None = None


class Plan(Protocol):
    """Says which fault strikes; None where everything goes as it should."""

    def for_connection(self, number: int) -> Fault | None:
        """Return the fault at `ACCEPT` for a new connection; the first is 1."""

    def for_head(self, operation: Operation) -> Fault | None:
        """Return the fault at `UPLOAD` for a request of which only the head is known."""

    def for_request(self, request: Request) -> Fault | None:
        """Return the fault at any other point; one at `UPLOAD` too, where the plan has to know the claim."""

    def describe(self) -> dict[str, Any]:
        """Return JSON from which the plan can be made again."""


class Queues:
    """A queue of faults for each kind of exchange; None in a queue lets one exchange pass.

    `trace` holds what struck, as pairs of a queue's name and the fault.
    """

    def __init__(self, **queues: list[Fault | None]) -> None:
        self.connection: deque[Fault | None] = deque()
        self.claim: deque[Fault | None] = deque()
        self.token: deque[Fault | None] = deque()
        self.list: deque[Fault | None] = deque()
        self.get: deque[Fault | None] = deque()
        self.trace: list[tuple[str, Fault]] = []
        for name, faults in queues.items():
            self._queue(name).extend(faults)

    def for_connection(self, number: int) -> Fault | None:
        """See `Plan`."""
        return self._take("connection")

    def for_head(self, operation: Operation) -> Fault | None:
        """See `Plan`."""
        queue = self._queue(operation)
        if queue and queue[0] is not None and queue[0].at is Point.UPLOAD:
            return self._take(operation)
        return None

    def for_request(self, request: Request) -> Fault | None:
        """See `Plan`."""
        return self._take(request.operation)

    def describe(self) -> dict[str, Any]:
        """See `Plan`; what has struck already is not in it."""
        names = ("connection", "claim", "token", "list", "get")
        return {
            "plan": "queues",
            "queues": {
                name: [None if fault is None else fault.to_json() for fault in self._queue(name)]
                for name in names
            },
        }

    @classmethod
    def rebuild(cls, value: dict[str, Any]) -> Queues:
        """Return the plan that `describe` gave."""
        return cls(
            **{
                name: [None if fault is None else Fault.from_json(fault) for fault in faults]
                for name, faults in value["queues"].items()
            }
        )

    def _queue(self, name: str) -> deque[Fault | None]:
        queue: deque[Fault | None] = getattr(self, name)
        return queue

    def _take(self, name: str) -> Fault | None:
        queue = self._queue(name)
        fault = queue.popleft() if queue else None
        if fault is not None:
            self.trace.append((name, fault))
        return fault
