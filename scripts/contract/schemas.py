"""What the change of a schema does to callers, down to the last keyword."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import attrs

from .documents import Json, Part, plain, target
from .levels import Change, Direction, Level, Place, both

_LIMITS = (
    "maximum", "minimum", "maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties",
)  # fmt: skip
_EXCLUSIVE = {"maximum": "exclusiveMaximum", "minimum": "exclusiveMinimum"}
_TYPED_FORMATS = frozenset(("date-time", "date", "uuid", "binary"))
"""Formats that the generated code has a type for."""
_WORDS = ("description", "summary", "title", "example", "examples", "externalDocs", "deprecated", "$comment")
_PARTS = ("contains", "propertyNames", "then", "else")
"""Schemas within a schema, of which one that allows less makes the whole allow less."""

# What is looked at by rules of its own. Whatever else differs is breaking, because nobody knows what it does.
_OF_SCHEMA = frozenset((
    "type", "nullable", "format", "readOnly", "writeOnly", "pattern", "multipleOf", "uniqueItems", "enum",
    "const", "default", "properties", "required", "additionalProperties", "patternProperties", "allOf",
    "oneOf", "anyOf", "items", "prefixItems", "$defs", *_PARTS, *_LIMITS, *_EXCLUSIVE.values(),
))  # fmt: skip


class Schemas:
    """Compares schemas of two documents."""

    def __init__(self, old: Json, new: Json) -> None:
        self._old, self._new = old, new
        self._seen: set[tuple[str, str, Direction, str]] = set()

    def compare(self, old: Part, new: Part, place: Place) -> Iterator[Change]:
        """Compare two schemas, each of its own document."""
        if _refers(old) or _refers(new):
            # Shared, and perhaps within itself: told of once in an operation.
            key = (repr(old), repr(new), place.direction, place.operation)
            if key in self._seen:
                return
            self._seen.add(key)
        name, other_name = _model(old), _model(new)
        if name is not None and other_name is not None and name != other_name:
            yield place.broken(f"schema {name} is now {other_name}: it names the model")
        one, names = _flat(self._old, old)
        other, other_names = _flat(self._new, new)
        place = attrs.evolve(place, names=place.names | names | other_names)
        if one == other and "$ref" not in str(one):
            return
        yield from compare_words(one, other, place)
        yield from self._types(one, other, place)
        yield from self._bounds(one, other, place)
        yield from self._values(one, other, place)
        yield from self._properties(one, other, place)
        yield from self._further(one, other, place)
        for word in ("allOf", "oneOf", "anyOf"):
            yield from self._alternatives(word, one.get(word, ()), other.get(word, ()), place)
        if "items" in one and "items" in other:
            yield from self.compare(one["items"], other["items"], place.at("[]"))
        elif ("items" in one) != ("items" in other):
            yield place.broken("what its items are is " + ("new" if "items" in other else "gone"))
        first, now_first = one.get("prefixItems", ()), other.get("prefixItems", ())
        if len(first) != len(now_first):
            yield place.broken(f"prefixItems has {len(now_first)} parts instead of {len(first)}")
        else:
            for index, pair in enumerate(zip(first, now_first, strict=True)):
                yield from self.compare(*pair, place.at(f"[{index}]"))
        yield from self._parts(
            {k: one[k] for k in _PARTS if k in one}, {k: other[k] for k in _PARTS if k in other}, place
        )
        yield from self.others(one, other, _OF_SCHEMA, place)

    def _parts(self, old: Json, new: Json, place: Place) -> Iterator[Change]:
        for name in both(old, new):
            if name not in new:
                yield place.freer(f"{name} is gone")
            elif name not in old:
                yield place.tighter(f"{name} is new")
            else:
                yield from self.compare(old[name], new[name], place.at(f" {name}"))

    def _types(self, old: Json, new: Json, place: Place) -> Iterator[Change]:
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
            elif before is None:
                yield place.tighter(what)
            else:
                # No value need have both.
                yield place.broken(what)
        for name in ("readOnly", "writeOnly"):
            if bool(old.get(name)) != bool(new.get(name)):
                yield place.broken(f"{name} is now {str(bool(new.get(name))).lower()}")

    @staticmethod
    def _bounds(old: Json, new: Json, place: Place) -> Iterator[Change]:
        for name in _LIMITS:
            limit, now = _limit(old, name), _limit(new, name)
            if limit != now:
                keys = dict.fromkeys((name, _EXCLUSIVE.get(name, name)))
                what = ", ".join(
                    f"{key} was {old.get(key)!r}, is {new.get(key)!r}"
                    for key in keys
                    if old.get(key) != new.get(key)
                )
                yield place.tighter(what) if now > limit else place.freer(what)
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
    def _values(old: Json, new: Json, place: Place) -> Iterator[Change]:
        # A constant is an enum of one value.
        before, after = ([one["const"]] if "const" in one else one.get("enum") for one in (old, new))
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

    def _properties(self, old: Json, new: Json, place: Place) -> Iterator[Change]:
        before, needed = _fields(self._old, old, place.direction)
        after, now_needed = _fields(self._new, new, place.direction)
        for name in both(both(before, after), both(needed, now_needed)):
            at = place.at(f".{name}")
            if name in before and name not in after:
                yield at.broken("is gone")
            elif name in after and name not in before:
                is_needed = name in now_needed and name not in needed and place.direction == "request"
                yield at.broken("is new and required") if is_needed else at.fine("is new")
            else:
                # In both, or in neither, where something else says what it is.
                yield from compare_required(name in needed, name in now_needed, at)
                if name in before:
                    yield from self.compare(before[name], after[name], at)

    def _further(self, old: Json, new: Json, place: Place) -> Iterator[Change]:
        # A schema that says nothing allows all.
        one, other = (schema.get("additionalProperties", True) for schema in (old, new))
        one, other = (True if more == {} else more for more in (one, other))
        if isinstance(one, dict) and isinstance(other, dict):
            yield from self.compare(one, other, place.at("{}"))
        elif one != other:
            if other is False:
                yield place.broken("further fields are no longer allowed")
            elif one is False:
                yield place.fine("further fields are allowed now")
            else:
                yield place.broken("what further fields may be is another")
        yield from self._parts(old.get("patternProperties", {}), new.get("patternProperties", {}), place)

    def _alternatives(
        self, key: str, old: Sequence[Part], new: Sequence[Part], place: Place
    ) -> Iterator[Change]:
        pairs: list[tuple[Part, Part]] = []
        gone, added = list(old), list(new)
        for one in old:
            same = next((other for other in added if self._is_same(one, other)), None)
            if same is not None:
                gone.remove(one)
                added.remove(same)
                pairs.append((one, same))
        if len(gone) == len(added):
            pairs += zip(gone, added, strict=True)
            gone, added = [], []
        for one, other in pairs:
            yield from self.compare(one, other, place.at(f" {key}[{new.index(other)}]"))
        what = f"{key} has {len(new)} parts instead of {len(old)}"
        # One more of several choices allows more; the first ones, and what must hold too, allow less.
        is_freer_with_more = key != "allOf" and bool(old) and bool(new)
        if gone and added:
            yield place.broken(what)
        elif gone or added:
            yield place.freer(what) if bool(added) == is_freer_with_more else place.tighter(what)

    def _is_same(self, old: Part, new: Part) -> bool:
        """Say whether two schemas have one name, or say the same."""
        if (name := _model(old)) is not None and name == _model(new):
            return True
        return _flat(self._old, old)[0] == _flat(self._new, new)[0]

    def others(self, old: Json, new: Json, handled: Collection[str], place: Place) -> Iterator[Change]:
        """Compare the keywords that there are no rules for."""
        for key in both(old, new):
            if key in handled or key in _WORDS or key.startswith("x-"):
                continue
            if plain(self._old, old.get(key)) != plain(self._new, new.get(key)):
                yield place.broken(f"{key} changed")


def compare_words(old: Json, new: Json, place: Place) -> Iterator[Change]:
    """Tell of words that changed."""
    for name in _WORDS:
        if old.get(name) != new.get(name):
            yield place.change(f"{name} changed", Level.DOCUMENTATION)


def compare_required(old: bool, new: bool, place: Place) -> Iterator[Change]:
    """Tell of what became required, or no longer is."""
    if new and not old:
        yield place.tighter("is now required")
    elif old and not new:
        yield place.freer("is no longer required")


def ref_name(schema: Json) -> str | None:
    """Return the name of the schema that a reference is to."""
    ref = schema.get("$ref")
    return ref.rpartition("/")[2] if isinstance(ref, str) else None


def _refers(schema: Part) -> bool:
    return isinstance(schema, dict) and ("$ref" in schema or "allOf" in schema)


def _model(schema: Part) -> str | None:
    """Return the name of the schema that a schema is, perhaps with something said beside it."""
    if not isinstance(schema, dict):
        return None
    parts = schema.get("allOf", ())
    return ref_name(schema) or (_model(parts[0]) if len(parts) == 1 else None)


def _flat(document: Json, schema: Part) -> tuple[dict[str, Any], frozenset[str]]:
    """Return a schema with what it refers to and the parts of its allOf in it, and the names of those.

    What parts say differently of one keyword stays in its allOf.
    """
    made: dict[str, Any] = {}
    more: list[dict[str, Any]] = []
    names: set[str] = set()
    for name, part in _parts_of(document, schema):
        names |= {name} if name is not None else set()
        for key, value in part.items():
            if key == "properties":
                fields = made.setdefault(key, {})
                for field, one in value.items():
                    is_other = field in fields and fields[field] != one
                    fields[field] = {"allOf": [fields[field], one]} if is_other else one
            elif key == "required":
                made[key] = both(made.get(key, ()), value)
            elif made.setdefault(key, value) != value and key not in _WORDS and not key.startswith("x-"):
                more.append({key: value})
    return ({**made, "allOf": more} if more else made), frozenset(names)


def _parts_of(
    document: Json, schema: Part, name: str | None = None, within: tuple[str, ...] = ()
) -> Iterator[tuple[str | None, Json]]:
    if not isinstance(schema, dict):
        # In OpenAPI 3.1: everything, or nothing.
        yield name, {"not": {}} if schema is False else {}
        return
    ref = schema.get("$ref")
    own: Json = schema
    if isinstance(ref, str) and str(document.get("openapi", "3.0")) < "3.1":
        # What is beside a reference counts since OpenAPI 3.1.
        own = {}
    yield name, {key: own[key] for key in own if key not in {"$ref", "allOf"}}
    if isinstance(ref, str) and ref not in within:
        yield from _parts_of(document, target(document, ref), ref_name(schema), (*within, ref))
    for one in own.get("allOf", ()):
        yield from _parts_of(document, one, None, within)


def _fields(document: Json, schema: Json, direction: Direction) -> tuple[dict[str, Part], list[str]]:
    """Return the fields that travel in a direction, and which of them are required."""
    word = "readOnly" if direction == "request" else "writeOnly"
    fields = schema.get("properties", {})
    kept = {name: one for name, one in fields.items() if not _flat(document, one)[0].get(word)}
    return kept, [name for name in schema.get("required", ()) if name in kept or name not in fields]


def _limit(schema: Json, name: str) -> tuple[float, bool]:
    """Return how tight a limit is, the greater the tighter, and whether the limit itself is not allowed."""
    limit, exclusive = schema.get(name), schema.get(_EXCLUSIVE.get(name, ""))
    sign = -1 if name.startswith("max") else 1
    # No length is below zero.
    found: list[tuple[float, bool]] = [(0 if sign > 0 and name not in _EXCLUSIVE else -math.inf, False)]
    if limit is not None:
        # OpenAPI 3.0 says beside a limit that it is exclusive, 3.1 in place of it.
        found.append((sign * limit, exclusive is True))
    if exclusive is not None and not isinstance(exclusive, bool):
        found.append((sign * exclusive, True))
    return max(found)


def _types_of(schema: Json) -> frozenset[str]:
    given = schema.get("type")
    names = given if isinstance(given, list) else [] if given is None else [given]
    return frozenset(str(name) for name in names if name != "null")


def _is_nullable(schema: Json) -> bool:
    given = schema.get("type")
    return bool(schema.get("nullable")) or (isinstance(given, list) and "null" in given)


def _shown(types: frozenset[str]) -> str:
    return " or ".join(sorted(types)) or "any"
