"""Cutting operations out of a whole specification, with everything that they refer to."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence
from typing import Any

from .documents import METHODS, DocumentError, Json, Part, plain, references, resolved, target


class MissingPathError(Exception):
    """A specification has not the operations that are looked for; the message names the path."""


def extract(document: Json, paths: Sequence[str]) -> dict[str, Any]:
    """Return a document of these paths alone, and of what they refer to, transitively; nothing is changed.

    Raises `MissingPathError` where one is not there, and `DocumentError` for a reference to nothing or to
    another document.
    """
    given = document["paths"]
    missing = [path for path in paths if path not in given]
    if missing:
        raise MissingPathError("; ".join(_where(path, list(given)) for path in missing))
    cut: dict[str, Any] = {
        key: document[key]
        for key in ("swagger", "openapi", "info", "host", "basePath", "schemes", "consumes", "produces",
                    "servers", "security")
        if key in document
    }  # fmt: skip
    cut["paths"] = {path: given[path] for path in paths}
    pending = list(references(cut["paths"]))
    done: set[str] = set()
    while pending:
        ref = pending.pop()
        if ref in done:
            continue
        done.add(ref)
        value = target(document, ref)
        resolved(document, value)  # Refuses a circle.
        _put(cut, ref, value)
        pending += references(value)
        if isinstance(value, dict) and "discriminator" in value:
            pending += _subtypes(document, ref)
    _put_security(document, cut)
    ordered: dict[str, Any] = _ordered(document, cut)
    return ordered


def whole(document: Json) -> dict[str, Any]:
    """Return all paths of a document, cut out as `extract` does."""
    return extract(document, list(document["paths"]))


def graft(stated: Json, page: Json, paths: Sequence[str]) -> dict[str, Any]:
    """Return what is stated with the operations of a page in place of those before; both are OpenAPI 3.

    Raises `MissingPathError` where the page has none of these paths.
    """
    given = page["paths"]
    found = [path for path in paths if path in given]
    if not found:
        raise MissingPathError("; ".join(_where(path, list(given)) for path in paths))
    grafted = copy.deepcopy(dict(stated))
    for path in found:
        item = grafted["paths"].setdefault(path, {})
        for method in METHODS:
            if method in given[path]:
                # By themselves: what a page names may be something else in another place.
                operation = plain(page, given[path][method])
                shared = plain(page, given[path].get("parameters", []))
                own = operation.get("parameters", [])
                named = {(one["name"], one["in"]) for one in own}
                before = plain(stated, item.get("parameters", []))
                added = [one for one in shared if one not in before and (one["name"], one["in"]) not in named]
                if added:
                    operation["parameters"] = [*added, *own]
                item[method] = operation
    return grafted


def _subtypes(document: Json, base: str) -> list[str]:
    """Return all schemas that are made of a base, which a discriminator may choose without naming them."""
    place = base.rpartition("/")[0]
    found = [base]
    for ref in found:  # It grows.
        for name, schema in target(document, place).items():
            made_of = schema.get("allOf", ()) if isinstance(schema, dict) else ()
            one = f"{place}/{name.replace('~', '~0').replace('/', '~1')}"
            if any(part.get("$ref") == ref for part in made_of) and one not in found:
                found.append(one)
    return found


def _put(cut: dict[str, Any], ref: str, value: object) -> None:
    steps = [step.replace("~1", "/").replace("~0", "~") for step in ref.removeprefix("#/").split("/")]
    if steps[0] == "paths":
        raise DocumentError(f"{ref}: refers to a part of an operation")
    place = cut
    for step in steps[:-1]:
        place = place.setdefault(step, {})
    place[steps[-1]] = value


def _put_security(document: Json, cut: dict[str, Any]) -> None:
    """Add the security schemes that are used."""
    used = {
        name
        for holder in (cut, *(item[m] for item in cut["paths"].values() for m in METHODS if m in item))
        for requirement in holder.get("security", ())
        for name in requirement
    }
    for names, schemes in (
        (("securityDefinitions",), document.get("securityDefinitions", {})),
        (("components", "securitySchemes"), document.get("components", {}).get("securitySchemes", {})),
    ):
        for name in sorted(used & schemes.keys()):
            place = cut
            for step in names:
                place = place.setdefault(step, {})
            place[name] = schemes[name]


def _ordered(document: Json, cut: Part) -> Part:
    """Return the cut in the order of the document, so that the same one gives the same bytes."""
    if not isinstance(cut, dict) or not isinstance(document, dict):
        return cut
    return {key: _ordered(document[key], cut[key]) for key in document if key in cut}


def _where(path: str, paths: Sequence[str]) -> str:
    """Say that a path is gone, and which ones are like it."""
    tail = path.rstrip("/").rpartition("/")[2]
    alike = [other for other in paths if other.rstrip("/").endswith(f"/{tail}")]
    alike = alike or difflib.get_close_matches(path, paths, n=3, cutoff=0.8)
    moved = f"; it may have moved to {', '.join(alike[:3])}" if alike else ""
    return f"{path} is not in the document{moved}"
