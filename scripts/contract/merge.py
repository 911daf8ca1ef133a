"""What the provider has changed, brought into ours.

Three ways: where ours was what they stated before, it follows them; what ours changed on purpose stays, and
is a conflict to settle by hand. Words (descriptions, examples) are ours and are left alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

import attrs
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from .deviations import EXISTS, Difference, differences, reason
from .documents import Json, Part, plain
from .facts import HOLDS_ITSELF, KEYWORDS, MARKED, Node, Place, read, shown

_NONE = object()

_BY_HAND = frozenset(("security", "additionalProperties", "operationId", "tags"))
"""Facts that are shown in other words than the document's, or that names of ours depend on."""


@attrs.frozen
class Conflict:
    """A change of theirs that ours does not follow, and why."""

    difference: Difference
    """Theirs before as `theirs`, and now as `ours`."""
    why: str
    also: int = 0
    """In how many other places the same schema of ours is."""

    def __str__(self) -> str:
        change, at = self.difference, shown(self.difference.place)
        if self.also:
            at = f"{at} (and in {self.also} more)"
        if change.keyword == EXISTS:
            what = "is new there" if change.ours else "is gone there"
        else:
            what = f"{change.keyword} was {change.theirs!r} there, and is {change.ours!r} now"
        return f"{at}: {what}; {self.why}"


@attrs.frozen
class Merged:
    """What came of it; the contract itself is changed in place."""

    followed: Sequence[Difference]
    conflicts: Sequence[Conflict]


def merge(base: Json, theirs: Json, ours: MutableMapping[str, Any], paths: Sequence[str]) -> Merged:
    """Change `ours`, which keeps its form and its comments, by what lies between `base` and `theirs`."""
    return _Merge(base, theirs, ours, paths).run()


class _Merge:
    def __init__(
        self, base: Json, theirs: Json, ours: MutableMapping[str, Any], paths: Sequence[str]
    ) -> None:
        self._theirs_document, self._ours_document = theirs, ours
        self._base, self._theirs, self._ours = read(base, paths), read(theirs, paths), read(ours, paths)
        # One schema of ours may be in many places of theirs.
        self._shared: dict[int, list[Place]] = {}
        for place, node in self._ours.items():
            self._shared.setdefault(id(node.source), []).append(place)
        self._followed: list[Difference] = []
        self._conflicts: list[Conflict] = []
        self._done: set[tuple[int, str]] = set()

    def run(self) -> Merged:
        for change in list(differences(self._base, self._theirs)):
            why = self._exists(change) if change.keyword == EXISTS else self._fact(change)
            if why is None:
                self._followed.append(change)
            elif why:
                self._conflicts.append(Conflict(change, why))
        return Merged(self._followed, list(self._grouped()))

    def _grouped(self) -> Iterator[Conflict]:
        """Give one conflict for all places where one schema of ours is in the same one."""
        groups: dict[tuple[object, ...], list[Conflict]] = {}
        for conflict in self._conflicts:
            change = conflict.difference
            node = self._ours.get(change.place) or self._ours.get(change.place[:-1])
            source = change.place if node is None else id(node.source)
            key = (source, change.place[-1], change.keyword, repr(change.ours), conflict.why)
            groups.setdefault(key, []).append(conflict)
        for conflicts in groups.values():
            yield attrs.evolve(conflicts[0], also=len(conflicts) - 1)

    def _fact(self, change: Difference) -> str | None:
        """Follow one fact; return why not, or nothing where there is nothing to do."""
        node = self._ours.get(change.place)
        if node is None:
            return "ours has nothing there"
        ours = node.facts.get(change.keyword)
        if ours == change.ours:
            return ""
        if change.keyword in _BY_HAND:
            return "it is to be changed by hand"
        if ours != change.theirs or self._policy(change.place, change.keyword) is not _NONE:
            return self._why(change)
        if not _is_sayable(change.keyword, change.ours):
            return _NO_WORDS
        if (other := self._disagreeing(change, node)) is not None:
            return f"ours has one schema for this and for {shown(other)}, where they differ now"
        if (id(node.source), change.keyword) not in self._done:
            self._done.add((id(node.source), change.keyword))
            self._set(change, node)
        return None

    def _disagreeing(self, change: Difference, node: Node) -> Place | None:
        """Return another place of the same schema of ours, where they want something else."""
        if change.keyword == "required":
            # It is said by what holds the property.
            above = self._ours.get(change.place[:-1])
            places = [
                (*place, change.place[-1]) for place in self._shared.get(id(above.source) if above else 0, ())
            ]
        else:
            places = self._shared[id(node.source)]
        for place in places:
            their = self._theirs.get(place)
            if their is not None and their.facts.get(change.keyword) != change.ours:
                return place
        return None

    def _set(self, change: Difference, node: Node) -> None:
        keyword, value = change.keyword, change.ours
        if keyword == "required" and change.place[-1].startswith("."):
            _require(self._ours[change.place[:-1]].source, change.place[-1][1:], required=bool(value))
        else:
            _put(node.source, keyword, value)

    def _exists(self, change: Difference) -> str | None:
        return self._add(change) if change.ours else self._remove(change)

    def _remove(self, change: Difference) -> str | None:
        node = self._ours.get(change.place)
        if node is None:
            return ""
        if not self._is_as(self._base[change.place], change.place, node):
            return self._why(change)
        if node.holder is None:
            return "it is to be removed by hand"
        for place in self._shared[id(node.source)]:
            if place in self._theirs and self._ours[place].holder is node.holder:
                return f"ours has one schema for this and for {shown(place)}, where it is still there"
        if (id(node.holder), node.key) not in self._done:
            self._done.add((id(node.holder), node.key))
            node.holder.pop(node.key, None)
            if change.place[-1].startswith("."):
                _require(self._ours[change.place[:-1]].source, node.key, required=False)
        return None

    def _add(self, change: Difference) -> str | None:
        if change.place in self._ours:
            is_same = self._is_as(self._theirs[change.place], change.place, self._ours[change.place])
            return "" if is_same else self._why(change)
        above = self._ours.get(change.place[:-1])
        step, their = change.place[-1], self._theirs[change.place]
        if above is None:
            return "ours has no such place" if len(change.place) > 1 else "ours does not have this operation"
        if not step.startswith("."):
            return "it is to be added by hand"
        name = step[1:]
        for place in self._shared[id(above.source)]:
            if place in self._theirs and (*place, step) not in self._theirs:
                if _other_way(place, change.place, their):
                    continue
                return f"ours has one schema for this and for {shown(place)}, where it is not"
        if HOLDS_ITSELF in their.facts:
            return "it holds itself, and is to be added by hand"
        try:
            schema = _in_3_0(plain(self._theirs_document, their.source))
        except _NoWordsError:
            return _NO_WORDS
        if (id(above.source), step) not in self._done:
            self._done.add((id(above.source), step))
            required = bool(their.facts.get("required"))
            if (value := self._policy(change.place, "required")) is not _NONE:
                required = bool(value)
            for keyword in (*KEYWORDS, "nullable"):
                if (value := self._policy(change.place, keyword)) is not _NONE:
                    _put(schema, keyword, value)
            _insert(above.source.setdefault("properties", {}), name, schema)
            _require(above.source, name, required=required)
        return None

    def _is_as(self, their: Node, place: Place, our: Node) -> bool:
        """Say whether ours states the same as theirs, but for what it says on purpose in all of a place."""
        return all(
            their.facts.get(keyword) == our.facts.get(keyword) or self._policy(place, keyword) is not _NONE
            for keyword in {*their.facts, *our.facts}
        )

    def _policy(self, place: Place, keyword: str) -> Part:
        """Return what ours says on purpose in all of a place, and so of what comes to be there."""
        for length in range(len(place) - 1, 0, -1):
            node = self._ours.get(place[:length])
            if node is not None and keyword in node.source.get(MARKED, ()):
                there = [
                    one.facts.get(keyword)
                    for other, one in self._ours.items()
                    if len(other) == len(place) and other[:-1] == place[:-1]
                ]
                return there[0] if there and all(one == there[0] for one in there) else _NONE
        return _NONE

    def _why(self, change: Difference) -> str:
        given = reason(change, self._ours)
        node = self._ours.get(change.place)
        is_now = "" if node is None or change.keyword == EXISTS else f"{node.facts.get(change.keyword)!r}, "
        return f"ours is {is_now}" + (f"because: {given}" if given else "another")


_NO_WORDS = "OpenAPI 3.0 has no words for it: it is to be said in others, by hand"

_NOT_IN_3_0 = frozenset((
    "$defs", "contains", "contentEncoding", "contentMediaType", "contentSchema", "dependentRequired",
    "dependentSchemas", "else", "if", "patternProperties", "prefixItems", "propertyNames", "then",
    "unevaluatedItems", "unevaluatedProperties",
))  # fmt: skip


def _is_sayable(keyword: str, value: object) -> bool:
    """Say whether OpenAPI 3.0 has a fact in the same words as 3.1."""
    if keyword in {"exclusiveMinimum", "exclusiveMaximum"}:
        return value is None or isinstance(value, bool)
    return keyword != "type" or not isinstance(value, list)


class _NoWordsError(Exception):
    """OpenAPI 3.0 cannot say what 3.1 says."""


def _in_3_0(schema: Part) -> Part:
    """Return a schema of OpenAPI 3.1, which refers to nothing, in the words of 3.0."""
    if not isinstance(schema, dict):
        return schema
    if _NOT_IN_3_0 & schema.keys():
        raise _NoWordsError
    made = {key: value for key, value in schema.items() if key not in {"$comment", "examples"}}
    if isinstance(types := made.get("type"), list):
        named = [one for one in types if one != "null"]
        if len(named) != 1:
            raise _NoWordsError
        made["type"] = named[0]
        made.update({"nullable": True} if "null" in types else {})
    if "const" in made:
        made["enum"] = [made.pop("const")]
    for keyword, bound, tighter in _EXCLUSIVE:
        limit = made.get(keyword)
        if isinstance(limit, int | float) and not isinstance(limit, bool):
            made[bound] = tighter(limit, made.get(bound, limit))
            made[keyword] = made[bound] == limit
    for key in _SCHEMA & made.keys():
        made[key] = _in_3_0(made[key])
    for key in _SCHEMAS & made.keys():
        made[key] = [_in_3_0(one) for one in made[key]]
    if "properties" in made:
        made["properties"] = {name: _in_3_0(one) for name, one in made["properties"].items()}
    return made


_EXCLUSIVE = (("exclusiveMinimum", "minimum", max), ("exclusiveMaximum", "maximum", min))
_SCHEMA = frozenset(("items", "additionalProperties", "not"))
_SCHEMAS = frozenset(("allOf", "anyOf", "oneOf"))


def _other_way(place: Place, changed: Place, node: Node) -> bool:
    """Say whether a field is not at a place only because values do not travel there."""
    directions = {("request" if "request" in one else "response") for one in (place, changed)}
    return len(directions) == 2 and bool(node.facts.get("readOnly") or node.facts.get("writeOnly"))


def _put(schema: MutableMapping[str, Any], keyword: str, value: object) -> None:
    # What is false by default is left out.
    if value is None or (value is False and keyword in {"nullable", "required"}):
        schema.pop(keyword, None)
    else:
        # A list that is in two places would be written once, with an anchor.
        schema[keyword] = copy.deepcopy(value)


def _insert(properties: MutableMapping[str, Any], name: str, schema: object) -> None:
    """Put a property before the last one, behind which the file has its blank line."""
    if isinstance(properties, CommentedMap) and properties:
        properties.insert(len(properties) - 1, name, schema)
    else:
        properties[name] = schema


def _require(schema: MutableMapping[str, Any], name: str, *, required: bool) -> None:
    needed = schema.get("required")
    if required:
        if needed is None:
            names = CommentedSeq([name])
            names.fa.set_flow_style()
            schema["required"] = names
            if isinstance(schema, CommentedMap):
                schema.move_to_end("required", last=False)
                schema.move_to_end("type", last=False)
        elif name not in needed:
            needed.append(name)
    elif needed is not None and name in needed:
        needed.remove(name)
        if not needed:
            del schema["required"]
