"""A contract as facts at places, so that two of them can be compared whatever their parts are called.

References are followed, so that it makes no difference what is written inline; what a direction does not
carry (read-only fields in a request) is left out. A fact is a keyword of a place and its value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Literal, cast

import attrs

from .documents import METHODS, Json, Part, resolved
from .security import ways_in

Place = tuple[str, ...]
"""An operation, a part of it, and the way down from there."""

Direction = Literal["request", "response"]

MARK, MARKED = "x-deviation", "x-deviates"
"""Why ours differs from the provider's at this place; and in which keywords, here and below."""

KEYWORDS = (
    "type", "format", "enum", "default", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum",
    "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "multipleOf",
    "maxProperties", "minProperties", "readOnly", "writeOnly",
)  # fmt: skip


HOLDS_ITSELF = "holds itself"
"""The fact of a place whose schema is one that it is within; nothing below it is read."""


@attrs.frozen(eq=False)
class Node:
    """A place: its facts, and the object in the document that says so.

    `holder` and `key` are where the document has it, for what is to be removed.
    """

    facts: Mapping[str, Any]
    source: MutableMapping[str, Any]
    holder: MutableMapping[str, Any] | None = None
    key: str = ""


Nodes = dict[Place, Node]


def read(document: Json, paths: Sequence[str]) -> Nodes:
    """Return the places of these paths' operations, in the order of the document."""
    nodes: Nodes = {}
    for path in paths:
        item = document["paths"].get(path, {})
        for method in METHODS:
            if method in item:
                _Reader(document, nodes).operation(f"{method.upper()} {path}", item, method)
    return nodes


class _Reader:
    def __init__(self, document: Json, nodes: Nodes) -> None:
        self._document = document
        self._nodes = nodes

    def operation(self, name: str, item: Json, method: str) -> None:
        operation = item[method]
        facts = {key: operation[key] for key in ("operationId", "tags") if key in operation}
        facts["security"] = ways_in(self._document, operation)
        self._add((name,), facts, operation, cast("Any", item), method)
        for one in (*item.get("parameters", ()), *operation.get("parameters", ())):
            parameter = self._resolved(one)
            place = (name, f"{parameter.get('in')} parameter {parameter.get('name')}")
            self._add(place, {"required": bool(parameter.get("required"))}, parameter)
            self._schema((*place, "value"), parameter, "schema", "request")
        body = self._resolved(operation.get("requestBody"))
        if body:
            place = (name, "request")
            self._add(place, {"required": bool(body.get("required"))}, body, operation, "requestBody")
            self._content(place, body, "request")
        responses = operation.get("responses", {})
        for status in responses:
            response, place = self._resolved(responses[status]), (name, f"response {status}")
            self._add(place, {}, response, responses, status)
            headers = response.get("headers", {})
            for header in headers:
                one, at = self._resolved(headers[header]), (*place, f"header {header}")
                self._add(at, {"required": bool(one.get("required"))}, one, headers, header)
                self._schema((*at, "value"), one, "schema", "response")
            self._content(place, response, "response")

    def _content(self, place: Place, holder: Json, direction: Direction) -> None:
        content = holder.get("content", {})
        for media in content:
            at = (*place, media)
            self._add(at, {}, content[media], content, media)
            self._schema((*at, "value"), content[media], "schema", direction)

    def _schema(
        self,
        place: Place,
        holder: Part,
        key: str,
        direction: Direction,
        *,
        facts: Mapping[str, Any] | None = None,
        within: tuple[int, ...] = (),
    ) -> None:
        if key not in holder:
            return
        schema = self._resolved(holder[key])
        if id(schema) in within:
            self._add(place, {HOLDS_ITSELF: True, **(facts or {})}, schema, holder, key)
            return
        within = (*within, id(schema))
        parts = list(self._parts(schema))
        whole = _together(parts)
        own = {name: whole[name] for name in KEYWORDS if name in whole}
        types = own.get("type")
        if isinstance(types, list):
            named = [one for one in cast("list[str]", types) if one != "null"]
            own["type"] = named[0] if len(named) == 1 else named
        own["nullable"] = bool(whole.get("nullable")) or (isinstance(types, list) and "null" in types)
        more = whole.get("additionalProperties", True)
        own["additionalProperties"] = more if isinstance(more, bool) else "by a schema"
        self._add(place, {**own, **(facts or {})}, schema, holder, key)
        needed = {name for part in parts for name in part.get("required", ())}
        for part in parts:
            properties = part.get("properties", {})
            for name in properties:
                one = self._resolved(properties[name])
                if one.get("readOnly" if direction == "request" else "writeOnly"):
                    continue
                required = {"required": name in needed}
                at = (*place, f".{name}")
                self._schema(at, properties, name, direction, facts=required, within=within)
        for step, word in (("[]", "items"), ("{}", "additionalProperties")):
            for part in parts:
                if part.get(word) and isinstance(part[word], dict):
                    self._schema((*place, step), part, word, direction, within=within)
        for word in ("oneOf", "anyOf"):
            for index, choice in enumerate(whole.get(word, ())):
                at = (*place, f"{word} {index}")
                self._schema(at, {"": choice}, "", direction, within=within)
                # What is in a list is not removed by its name.
                self._nodes[at] = attrs.evolve(self._nodes[at], holder=None)

    def _parts(self, schema: Json, within: tuple[int, ...] = ()) -> Iterator[Json]:
        if id(schema) in within:
            return
        yield schema
        for one in schema.get("allOf", ()):
            yield from self._parts(self._resolved(one), (*within, id(schema)))

    def _resolved(self, value: Part) -> Part:
        return resolved(self._document, value)

    def _add(
        self,
        place: Place,
        facts: Mapping[str, Any],
        source: Part,
        holder: Part = None,
        key: str = "",
    ) -> None:
        self._nodes[place] = Node(facts, source, holder, key)


def _together(parts: Sequence[Json]) -> Json:
    """Return what the parts of a schema say together; of limits the tightest, else what is said first."""
    whole: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            tighter = min if key in _AT_MOST else max if key in _AT_LEAST else None
            whole[key] = tighter(whole[key], value) if tighter and key in whole else whole.get(key, value)
    return whole


_AT_MOST = frozenset(("maximum", "maxLength", "maxItems", "maxProperties"))
_AT_LEAST = frozenset(("minimum", "minLength", "minItems", "minProperties"))


def shown(place: Place) -> str:
    """Return a place for people."""
    operation, *rest = place
    text = " ".join(step for step in rest if step not in {"value", "application/json"})
    return f"{operation}: {text.replace(' .', '.').replace(' [', '[')}".removesuffix(": ")
