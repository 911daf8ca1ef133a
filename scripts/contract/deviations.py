"""Where ours differs from what the provider states, and whether each difference is marked with its reason.

A mark (`x-deviation`) with `x-deviates: [keywords]` holds for those keywords, at its place and at all below;
without, for names, and for its place and those right below it that only one side has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import attrs

from .documents import Json
from .facts import MARK, MARKED, Node, Nodes, Place, read, shown

EXISTS = "exists"
_NAMES = frozenset(("operationId", "tags"))


@attrs.frozen
class Difference:
    """A fact in which ours is not the provider's; None where a side does not state it."""

    place: Place
    keyword: str
    theirs: Any
    ours: Any

    def __str__(self) -> str:
        at = shown(self.place)
        if self.keyword == EXISTS:
            return f"{at}: only {'ours has it' if self.ours else 'theirs has it'}"
        return f"{at}: {self.keyword} is {self.theirs!r} there and {self.ours!r} here"


def differences(theirs: Nodes, ours: Nodes) -> Iterator[Difference]:
    """Give all differences; of a place that only one side has, that and nothing below it."""
    for place in [*theirs, *(place for place in ours if place not in theirs)]:
        their, our = theirs.get(place), ours.get(place)
        if their is None or our is None:
            above = place[:-1]
            if not above or (above in theirs and above in ours):
                yield Difference(place, EXISTS, their is not None, our is not None)
            continue
        for keyword in sorted({*their.facts, *our.facts}):
            one, other = their.facts.get(keyword), our.facts.get(keyword)
            if one != other:
                yield Difference(place, keyword, one, other)


def problems(upstream: Json, contract: Json, paths: Sequence[str]) -> list[str]:
    """Return the differences that are not marked, and the marks where nothing differs."""
    theirs, ours = read(upstream, paths), read(contract, paths)
    unused = {key: text for source, text in _marks(contract) for key in _keys(source)}
    found = []
    for difference in differences(theirs, ours):
        covering = [
            node for place, node in _above(difference.place, ours) if _covers(node, place, difference)
        ]
        if not covering:
            found.append(f"not marked: {difference}")
        for node in covering:
            keyword = difference.keyword if MARKED in node.source else None
            unused.pop((id(node.source), keyword), None)
    for (_, keyword), text in unused.items():
        found.append(f"nothing differs{'' if keyword is None else f' in {keyword}'}: {text}")
    return found


def reason(difference: Difference, ours: Nodes) -> str | None:
    """Return why ours differs there, if that is marked."""
    for place, node in _above(difference.place, ours):
        if _covers(node, place, difference):
            return " ".join(str(node.source[MARK]).split())
    return None


def _above(place: Place, ours: Nodes) -> Iterator[tuple[Place, Node]]:
    for length in range(len(place), 0, -1):
        node = ours.get(place[:length])
        if node is not None and MARK in node.source:
            yield place[:length], node


def _covers(node: Node, place: Place, difference: Difference) -> bool:
    keywords = node.source.get(MARKED)
    if keywords is not None:
        return difference.keyword in keywords
    if difference.keyword == EXISTS:
        return place in {difference.place, difference.place[:-1]}
    return difference.keyword in _NAMES and difference.place == place


def _keys(source: Json) -> list[tuple[int, str | None]]:
    """Return what of a mark must be of use: each of its keywords, or the mark itself."""
    return [(id(source), keyword) for keyword in source.get(MARKED, (None,))]


def _marks(value: object) -> Iterator[tuple[Json, str]]:
    if isinstance(value, dict):
        fields = cast("Json", value)
        if MARK in fields:
            yield fields, " ".join(str(fields[MARK]).split())
        for one in fields.values():
            yield from _marks(one)
    elif isinstance(value, list):
        for one in cast("list[object]", value):
            yield from _marks(one)
