"""What changed between two contracts, and whom it breaks: the rules alone.

A change is judged by the direction in which a value travels. What callers send may become freer without
breaking them, and not stricter; what the server answers may become stricter, and not freer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Literal

import attrs

from .documents import Json, resolved

Direction = Literal["request", "response"]

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


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


def compare(old: Json, new: Json) -> list[Change]:
    """Return all differences between two documents, in the order of their places."""
    found = list(_Comparison(old, new).changes())
    return sorted(set(found), key=lambda change: (change.operation, change.place, change.what))


_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_TYPED_FORMATS = frozenset(("date-time", "date", "uuid", "binary"))
"""Formats that the generated code has a type for."""
_WORDS = ("description", "summary", "title", "example", "examples", "externalDocs", "deprecated")


@attrs.frozen
class _Place:
    """Where a comparison is: in which operation, which part of it, which way values travel."""

    operation: str
    path: str
    direction: Direction
    names: frozenset[str]

    def at(self, step: str) -> _Place:
        return attrs.evolve(self, path=f"{self.path}{step}")

    def within(self, name: str | None) -> _Place:
        return self if name is None else attrs.evolve(self, names=self.names | {name})

    def change(self, what: str, level: Level) -> Change:
        return Change(self.operation, self.path, what, level, self.names)

    def tighter(self, what: str) -> Change:
        """Return a change by which fewer values are allowed than before."""
        return self.change(what, Level.BREAKING if self.direction == "request" else Level.COMPATIBLE)

    def freer(self, what: str) -> Change:
        """Return a change by which more values are allowed than before."""
        return self.change(what, Level.COMPATIBLE if self.direction == "request" else Level.BREAKING)

    def broken(self, what: str) -> Change:
        return self.change(what, Level.BREAKING)

    def fine(self, what: str) -> Change:
        return self.change(what, Level.COMPATIBLE)


class _Comparison:
    def __init__(self, old: Json, new: Json) -> None:
        self._old, self._new = old, new
        self._seen: set[tuple[str, str, Direction, str]] = set()

    def changes(self) -> Iterator[Change]:
        before, after = operations(self._old), operations(self._new)
        for name in before.keys() | after.keys():
            old, new = before.get(name), after.get(name)
            place = _Place(name, "operation", "request", frozenset(_ids(old, new)))
            if old is None:
                yield place.fine("is new")
            elif new is None:
                yield place.broken("is gone")
            else:
                yield from self._operation(old, new, place)
        yield from self._security(
            self._old, self._new, _Place("all operations", "security", "request", frozenset())
        )

    def _operation(self, old: Json, new: Json, place: _Place) -> Iterator[Change]:
        if old.get("operationId") != new.get("operationId"):
            was, now = old.get("operationId"), new.get("operationId")
            yield place.broken(f"operationId was {was!r}, is {now!r}: it names the module")
        if old.get("tags") != new.get("tags"):
            yield place.broken("its tag is another: it names the package")
        yield from self._words(old, new, place)
        yield from self._security(old, new, place)
        yield from self._parameters(old, new, place)
        yield from self._body(old, new, place)
        yield from self._responses(old, new, place)

    def _security(self, old: Json, new: Json, place: _Place) -> Iterator[Change]:
        for name in ("security", "x-scopes"):
            if old.get(name) != new.get(name):
                yield place.broken(f"{name} was {old.get(name)!r}, is {new.get(name)!r}")

    def _parameters(self, old: Json, new: Json, place: _Place) -> Iterator[Change]:
        before, after = self._by_name(self._old, old), self._by_name(self._new, new)
        for key in before.keys() | after.keys():
            one, other = before.get(key), after.get(key)
            at = attrs.evolve(place, path=f"parameter {key[1]} in {key[0]}")
            if one is None:
                required = bool(other and other.get("required"))
                yield at.broken("is new and required") if required else at.fine("is new")
            elif other is None:
                yield at.broken("is gone")
            else:
                yield from self._required(bool(one.get("required")), bool(other.get("required")), at)
                yield from self._words(one, other, at)
                yield from self.schemas(one.get("schema", {}), other.get("schema", {}), at)

    @staticmethod
    def _by_name(document: Json, operation: Json) -> dict[tuple[str, str], Json]:
        found = [resolved(document, one) for one in operation.get("parameters", ())]
        return {(str(one.get("in")), str(one.get("name"))): one for one in found}

    def _body(self, old: Json, new: Json, place: _Place) -> Iterator[Change]:
        before = resolved(self._old, old.get("requestBody"))
        after = resolved(self._new, new.get("requestBody"))
        at = attrs.evolve(place, path="request body")
        if bool(before) != bool(after):
            required = bool(after) and bool(after.get("required"))
            yield at.fine("is new") if after and not required else at.broken("is new" if after else "is gone")
            return
        yield from self._required(bool(before.get("required")), bool(after.get("required")), at)
        yield from self._words(before, after, at)
        yield from self._content(before, after, at)

    def _content(self, old: Json, new: Json, place: _Place) -> Iterator[Change]:
        before, after = old.get("content", {}), new.get("content", {})
        for media in before.keys() | after.keys():
            if media not in after:
                yield place.broken(f"{media} is gone")
            elif media not in before:
                yield place.fine(f"{media} is new")
            else:
                one, other = before[media].get("schema", {}), after[media].get("schema", {})
                yield from self.schemas(one, other, place)

    def _responses(self, old: Json, new: Json, place: _Place) -> Iterator[Change]:
        before, after = old.get("responses", {}), new.get("responses", {})
        for status in before.keys() | after.keys():
            at = attrs.evolve(place, path=f"response {status}", direction="response")
            is_success = str(status).startswith("2")
            if status not in after:
                yield at.broken("is gone") if is_success else at.fine("is gone")
            elif status not in before:
                yield at.broken("is a new success") if is_success else at.fine("is new")
            else:
                one, other = resolved(self._old, before[status]), resolved(self._new, after[status])
                yield from self._words(one, other, at)
                yield from self._headers(one.get("headers", {}), other.get("headers", {}), at)
                yield from self._content(one, other, at)

    def _headers(self, old: Json, new: Json, place: _Place) -> Iterator[Change]:
        for name in old.keys() | new.keys():
            at = place.at(f" header {name}")
            if name not in new:
                yield at.broken("is gone")
            elif name not in old:
                yield at.fine("is new")
            else:
                one, other = resolved(self._old, old[name]), resolved(self._new, new[name])
                yield from self.schemas(one.get("schema", {}), other.get("schema", {}), at)

    @staticmethod
    def _words(old: Json, new: Json, place: _Place) -> Iterator[Change]:
        for name in _WORDS:
            if old.get(name) != new.get(name):
                yield place.change(f"{name} changed", Level.DOCUMENTATION)

    @staticmethod
    def _required(old: bool, new: bool, place: _Place) -> Iterator[Change]:
        if new and not old:
            yield place.tighter("is now required")
        elif old and not new:
            yield place.freer("is no longer required")

    # Schemas.

    def schemas(self, old: Json, new: Json, place: _Place) -> Iterator[Change]:
        """Compare two schemas, each of its own document."""
        name, other_name = ref_name(old), ref_name(new)
        if name is not None and other_name is not None:
            key = (name, other_name, place.direction, place.operation)
            if key in self._seen:
                return
            self._seen.add(key)
            if name != other_name:
                yield place.broken(f"schema {name} is now {other_name}: it names the model")
        place = place.within(name).within(other_name)
        one, other = resolved(self._old, old), resolved(self._new, new)
        if one == other and "$ref" not in str(one):
            return
        yield from self._words(one, other, place)
        yield from self._types(one, other, place)
        yield from self._bounds(one, other, place)
        yield from self._values(one, other, place)
        yield from self._properties(one, other, place)
        for word in ("allOf", "oneOf", "anyOf"):
            yield from self._alternatives(word, one.get(word, ()), other.get(word, ()), place)
        if "items" in one and "items" in other:
            yield from self.schemas(one["items"], other["items"], place.at("[]"))
        elif ("items" in one) != ("items" in other):
            yield place.broken("what its items are is " + ("new" if "items" in other else "gone"))

    def _types(self, old: Json, new: Json, place: _Place) -> Iterator[Change]:
        one, other = _types_of(old), _types_of(new)
        if one != other:
            what = f"type was {_shown(one)}, is {_shown(other)}"
            if one == {"integer"} and other == {"number"}:
                yield place.freer(what)
            elif one == {"number"} and other == {"integer"}:
                yield place.tighter(what)
            else:
                yield place.broken(what)
        if _is_nullable(old) != _is_nullable(new):
            may = _is_nullable(new)
            what = "may now be null" if may else "may no longer be null"
            yield place.freer(what) if may else place.tighter(what)
        before, after = old.get("format"), new.get("format")
        if before != after:
            what = f"format was {before!r}, is {after!r}"
            if {before, after} & _TYPED_FORMATS:
                yield place.broken(f"{what}: its type in Python is another")
            elif after is None:
                yield place.freer(what)
            else:
                yield place.tighter(what)
        for name in ("readOnly", "writeOnly"):
            if bool(old.get(name)) != bool(new.get(name)):
                yield place.broken(f"{name} is now {str(bool(new.get(name))).lower()}")

    @staticmethod
    def _bounds(old: Json, new: Json, place: _Place) -> Iterator[Change]:
        for name in (*_UPPER, *_LOWER):
            before, after = old.get(name), new.get(name)
            if before == after:
                continue
            what = f"{name} was {before!r}, is {after!r}"
            if isinstance(before, bool) or isinstance(after, bool):
                is_tighter = bool(after)
            elif before is None or after is None:
                is_tighter = before is None
            else:
                is_tighter = after < before if name in _UPPER else after > before
            yield place.tighter(what) if is_tighter else place.freer(what)
        for name in ("pattern", "multipleOf"):
            before, after = old.get(name), new.get(name)
            if before != after:
                what = f"{name} was {before!r}, is {after!r}"
                if after is None:
                    yield place.freer(what)
                elif before is None:
                    yield place.tighter(what)
                else:
                    # Whether one pattern allows less than another cannot be told.
                    yield place.broken(what)
        if bool(old.get("uniqueItems")) != bool(new.get("uniqueItems")):
            what = f"uniqueItems is now {str(bool(new.get('uniqueItems'))).lower()}"
            yield place.tighter(what) if new.get("uniqueItems") else place.freer(what)

    @staticmethod
    def _values(old: Json, new: Json, place: _Place) -> Iterator[Change]:
        before, after = old.get("enum"), new.get("enum")
        if before is None and after is not None:
            yield place.tighter(f"only {after!r} are allowed now")
        elif after is None and before is not None:
            yield place.freer("is no longer an enum")
        elif before is not None and after is not None:
            gone = [value for value in before if value not in after]
            added = [value for value in after if value not in before]
            if gone:
                yield place.tighter(f"values are gone: {gone!r}")
            if added:
                yield place.freer(f"values are new: {added!r}")
        if old.get("default") != new.get("default"):
            yield place.broken(f"default was {old.get('default')!r}, is {new.get('default')!r}")

    def _properties(self, old: Json, new: Json, place: _Place) -> Iterator[Change]:
        before, after = old.get("properties", {}), new.get("properties", {})
        needed, now_needed = set(old.get("required", ())), set(new.get("required", ()))
        for name in before.keys() | after.keys():
            at = place.at(f".{name}")
            if name not in after:
                yield at.broken("is gone")
            elif name not in before:
                is_needed = name in now_needed and place.direction == "request"
                yield at.broken("is new and required") if is_needed else at.fine("is new")
            else:
                yield from self._required(name in needed, name in now_needed, at)
                yield from self.schemas(before[name], after[name], at)
        one, other = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if one != other:
            if other is False:
                yield place.broken("further fields are no longer allowed")
            elif one is False:
                yield place.fine("further fields are allowed now")
            else:
                yield place.broken("what further fields may be is another")

    def _alternatives(
        self, key: str, old: Sequence[Json], new: Sequence[Json], place: _Place
    ) -> Iterator[Change]:
        if len(old) == len(new):
            for index, (one, other) in enumerate(zip(old, new, strict=True)):
                yield from self.schemas(one, other, place.at(f" {key}[{index}]"))
        elif key == "allOf":
            what = f"allOf has {len(new)} parts instead of {len(old)}"
            yield place.tighter(what) if len(new) > len(old) else place.freer(what)
        else:
            what = f"{key} has {len(new)} alternatives instead of {len(old)}"
            yield place.freer(what) if len(new) > len(old) else place.tighter(what)


def operations(document: Json) -> dict[str, Json]:
    """Return a document's operations by method and path, each with the parameters of its path."""
    found: dict[str, Json] = {}
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method in item:
                parameters = [*item.get("parameters", ()), *item[method].get("parameters", ())]
                found[f"{method.upper()} {path}"] = {**item[method], "parameters": parameters}
    return found


def ref_name(schema: Json) -> str | None:
    """Return the name of the schema that a reference is to."""
    ref = schema.get("$ref")
    return ref.rpartition("/")[2] if isinstance(ref, str) else None


def _types_of(schema: Json) -> frozenset[str]:
    given = schema.get("type")
    names = given if isinstance(given, list) else [] if given is None else [given]
    return frozenset(str(name) for name in names if name != "null")


def _is_nullable(schema: Json) -> bool:
    given = schema.get("type")
    return bool(schema.get("nullable")) or (isinstance(given, list) and "null" in given)


def _shown(types: frozenset[str]) -> str:
    return " or ".join(sorted(types)) or "any"


def _ids(*operations: Json | None) -> Iterator[str]:
    for operation in operations:
        if operation is not None and isinstance(name := operation.get("operationId"), str):
            yield name
