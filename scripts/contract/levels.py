"""What one change does to callers, by the direction in which values travel: the rule of all the others.

What callers send may become freer without breaking them, and not stricter; what the server answers may become
stricter, and not freer.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Literal, TypeVar

import attrs

Direction = Literal["request", "response"]


class Level(IntEnum):
    """What a change does to callers; the numbers are the exit codes of a report."""

    DOCUMENTATION = 0
    COMPATIBLE = 1
    BREAKING = 2


@attrs.frozen
class Change:
    """One difference: where, what, and what it does."""

    operation: str
    """Method and path, or the name of what is shared."""
    place: str
    what: str
    level: Level
    names: frozenset[str] = frozenset()
    """The operationIds and schemas that it is in."""


@attrs.frozen
class Place:
    """Where a comparison is: in which operation, which part of it, which way values travel."""

    operation: str
    path: str
    direction: Direction
    names: frozenset[str]

    def at(self, step: str) -> Place:
        """Return a place further down."""
        return attrs.evolve(self, path=f"{self.path}{step}")

    def change(self, what: str, level: Level) -> Change:
        """Return a change here."""
        return Change(self.operation, self.path, what, level, self.names)

    def tighter(self, what: str) -> Change:
        """Return a change by which fewer values are allowed than before."""
        return self.change(what, Level.BREAKING if self.direction == "request" else Level.COMPATIBLE)

    def freer(self, what: str) -> Change:
        """Return a change by which more values are allowed than before."""
        return self.change(what, Level.COMPATIBLE if self.direction == "request" else Level.BREAKING)

    def broken(self, what: str) -> Change:
        """Return a change that breaks callers whatever the direction."""
        return self.change(what, Level.BREAKING)

    def fine(self, what: str) -> Change:
        """Return a change that breaks nobody whatever the direction."""
        return self.change(what, Level.COMPATIBLE)


_Name = TypeVar("_Name")


def both(old: Iterable[_Name], new: Iterable[_Name]) -> list[_Name]:
    """Return the names of both, each once, always in the same order."""
    return list(dict.fromkeys([*old, *new]))
