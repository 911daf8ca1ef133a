"""What changed between two contracts, and whom it breaks: paths, parameters, bodies, answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from .documents import METHODS, Json, resolved
from .levels import Change, Place, both
from .schemas import Schemas, compare_required, compare_words
from .security import ways_in

_OF_VALUE = frozenset(("name", "in", "required", "schema", "content"))
_OF_MEDIA = frozenset(("schema",))


def compare(old: Json, new: Json) -> list[Change]:
    """Return all differences between two documents, in the order of their places."""
    found = list(_Comparison(old, new).changes())
    # No sets: their order is another in each process, and what sorts alike would be told in it.
    return sorted(dict.fromkeys(found), key=lambda change: (change.operation, change.place, change.what))


class _Comparison:
    def __init__(self, old: Json, new: Json) -> None:
        self._old, self._new = old, new
        self._schemas = Schemas(old, new)

    def changes(self) -> Iterator[Change]:
        before, after = operations(self._old), operations(self._new)
        for name in both(before, after):
            old, new = before.get(name), after.get(name)
            place = Place(name, "operation", "request", frozenset(_ids(old, new)))
            if old is None:
                yield place.fine("is new")
            elif new is None:
                yield place.broken("is gone")
            else:
                yield from self._operation(old, new, place)

    def _operation(self, old: Json, new: Json, place: Place) -> Iterator[Change]:
        if old.get("operationId") != new.get("operationId"):
            was, now = old.get("operationId"), new.get("operationId")
            yield place.broken(f"operationId was {was!r}, is {now!r}: it names the module")
        if old.get("tags") != new.get("tags"):
            yield place.broken("its tag is another: it names the package")
        yield from compare_words(old, new, place)
        yield from self._servers(old, new, place)
        yield from self._security(old, new, place)
        yield from self._parameters(old, new, place)
        yield from self._body(old, new, place)
        yield from self._responses(old, new, place)

    def _servers(self, old: Json, new: Json, place: Place) -> Iterator[Change]:
        before, after = _servers(self._old, old), _servers(self._new, new)
        for url in both(before, after):
            if url not in after:
                yield place.broken(f"the server {url} is gone")
            elif url not in before:
                yield place.fine(f"the server {url} is new")

    def _security(self, old: Json, new: Json, place: Place) -> Iterator[Change]:
        was, now = ways_in(self._old, old), ways_in(self._new, new)
        if was != now:
            yield place.broken(f"security was {was}, is {now}")
        if old.get("x-scopes") != new.get("x-scopes"):
            yield place.broken(f"x-scopes was {old.get('x-scopes')!r}, is {new.get('x-scopes')!r}")

    def _parameters(self, old: Json, new: Json, place: Place) -> Iterator[Change]:
        before, after = self._by_name(self._old, old), self._by_name(self._new, new)
        for key in both(before, after):
            one, other = before.get(key), after.get(key)
            at = attrs.evolve(place, path=f"parameter {key[1]} in {key[0]}")
            if one is None:
                required = bool(other and other.get("required"))
                yield at.broken("is new and required") if required else at.fine("is new")
            elif other is None:
                yield at.broken("is gone")
            else:
                yield from self._value(one, other, at, "form" if key[0] in {"query", "cookie"} else "simple")

    def _value(self, old: Json, new: Json, place: Place, style: str) -> Iterator[Change]:
        """Compare two parameters or headers, which are written in a style unless they say otherwise."""
        yield from compare_required(bool(old.get("required")), bool(new.get("required")), place)
        yield from compare_words(old, new, place)
        yield from self._schemas.compare(old.get("schema", {}), new.get("schema", {}), place)
        yield from self._content(old, new, place)
        yield from self._schemas.others(_written(old, style), _written(new, style), _OF_VALUE, place)

    @staticmethod
    def _by_name(document: Json, operation: Json) -> dict[tuple[str, str], Json]:
        found = [resolved(document, one) for one in operation.get("parameters", ())]
        return {(str(one.get("in")), str(one.get("name"))): one for one in found}

    def _body(self, old: Json, new: Json, place: Place) -> Iterator[Change]:
        before = resolved(self._old, old.get("requestBody"))
        after = resolved(self._new, new.get("requestBody"))
        at = attrs.evolve(place, path="request body")
        if bool(before) != bool(after):
            required = bool(after) and bool(after.get("required"))
            yield at.fine("is new") if after and not required else at.broken("is new" if after else "is gone")
            return
        yield from compare_required(bool(before.get("required")), bool(after.get("required")), at)
        yield from compare_words(before, after, at)
        yield from self._content(before, after, at)

    def _content(self, old: Json, new: Json, place: Place) -> Iterator[Change]:
        before, after = old.get("content", {}), new.get("content", {})
        for media in both(before, after):
            if media not in after:
                yield place.broken(f"{media} is gone")
            elif media not in before:
                yield place.fine(f"{media} is new")
            else:
                one, other = before[media], after[media]
                yield from self._schemas.compare(one.get("schema", {}), other.get("schema", {}), place)
                yield from self._schemas.others(one, other, _OF_MEDIA, place)

    def _responses(self, old: Json, new: Json, place: Place) -> Iterator[Change]:
        before, after = old.get("responses", {}), new.get("responses", {})
        for status in both(before, after):
            at = attrs.evolve(place, path=f"response {status}", direction="response")
            is_success = str(status).startswith("2")
            if status not in after:
                yield at.broken("is gone") if is_success else at.fine("is gone")
            elif status not in before:
                yield at.broken("is a new success") if is_success else at.fine("is new")
            else:
                one, other = resolved(self._old, before[status]), resolved(self._new, after[status])
                yield from compare_words(one, other, at)
                yield from self._headers(one.get("headers", {}), other.get("headers", {}), at)
                yield from self._content(one, other, at)

    def _headers(self, old: Json, new: Json, place: Place) -> Iterator[Change]:
        for name in both(old, new):
            at = place.at(f" header {name}")
            if name not in new:
                yield at.broken("is gone")
            elif name not in old:
                yield at.fine("is new")
            else:
                one, other = resolved(self._old, old[name]), resolved(self._new, new[name])
                yield from self._value(one, other, at, "simple")


def operations(document: Json) -> dict[str, Json]:
    """Return a document's operations by method and path, each with the parameters of its path."""
    found: dict[str, Json] = {}
    for path, item in document.get("paths", {}).items():
        for method in METHODS:
            if method in item:
                parameters = [*item.get("parameters", ()), *item[method].get("parameters", ())]
                shared = {"servers": item["servers"]} if "servers" in item else {}
                found[f"{method.upper()} {path}"] = {**shared, **item[method], "parameters": parameters}
    return found


def _servers(document: Json, operation: Json) -> list[str]:
    """Return where an operation is, with what its variables are by default."""
    urls: list[str] = []
    for server in operation.get("servers") or document.get("servers") or [{"url": "/"}]:
        url = str(server.get("url"))
        for name, variable in server.get("variables", {}).items():
            url = url.replace(f"{{{name}}}", str(variable.get("default")))
        urls.append(url.rstrip("/") or "/")
    return urls


def _written(value: Json, style: str) -> dict[str, Any]:
    """Return a parameter or header with how it is written, also where it leaves that unsaid."""
    style = value.get("style", style)
    unsaid = {"style": style, "explode": style == "form", "allowReserved": False, "allowEmptyValue": False}
    return {**unsaid, **value}


def _ids(*operations: Json | None) -> Iterator[str]:
    for operation in operations:
        if operation is not None and isinstance(name := operation.get("operationId"), str):
            yield name
