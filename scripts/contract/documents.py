"""Reading the provider's documents: a specification, or a documentation page with one operation in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

import yaml

Json = Mapping[str, Any]
Part: TypeAlias = Any
"""Whatever a document has in a place: what is read here is not ours, and is looked at before it is used."""

# What a page of documentation holds its slice of a specification in.
_FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


class DocumentError(Exception):
    """A document cannot be used; the message says why, for whoever gave it."""


class _Loader(yaml.SafeLoader):
    """YAML as JSON has it: dates stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_document(path: Path) -> dict[str, Any]:
    """Return the specification in a file; raises `DocumentError`."""
    document, _ = read_source(path)
    return document


def read_source(path: Path) -> tuple[dict[str, Any], bool]:
    """Return the specification in a file, and whether it is only the slice that a page of documentation has.

    Raises `DocumentError`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{path}: cannot be read: {error}") from None
    if (document := parse(text)) is not None:
        return document, False
    for match in _FENCED.finditer(text):
        if (document := parse(match[1])) is not None:
            return document, True
    raise DocumentError(f"{path}: holds no OpenAPI document (3.x or Swagger 2.0), and no slice of one")


def parse(text: str) -> dict[str, Any] | None:
    """Return the OpenAPI document that a text is; None for anything else."""
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - `_Loader` is a SafeLoader, and makes no objects
    except (yaml.YAMLError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    document = cast("dict[str, Any]", value)
    version = str(document.get("openapi") or document.get("swagger") or "")
    if not isinstance(document.get("paths"), dict) or not re.match(r"3\.|2\.0$", version):
        return None
    # Numbers as keys, such as statuses, become text, as in JSON.
    return cast("dict[str, Any]", json.loads(json.dumps(document)))


def is_swagger(document: Json) -> bool:
    """Say whether a document is Swagger 2.0."""
    return "swagger" in document


_NAMED = frozenset(("properties", "patternProperties"))
_VALUES = frozenset(("example", "examples", "default", "enum", "const"))
"""What may hold anything, and refers to nothing; a property may be called so."""


def references(value: object) -> Iterator[str]:
    """Give all references in a part of a document."""
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        ref = fields.get("$ref")
        if isinstance(ref, str):
            yield ref
        for key, item in fields.items():
            if key in _NAMED and isinstance(item, dict):
                for one in cast("dict[str, object]", item).values():
                    yield from references(one)
            elif key not in _VALUES and not key.startswith("x-"):
                yield from references(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from references(item)


def target(document: Json, ref: str) -> Part:
    """Return what a reference is to; raises `DocumentError` where that is not in the document."""
    if not ref.startswith("#/"):
        raise DocumentError(f"{ref}: refers to another document, which is not read")
    value: Part = document
    for step in ref.removeprefix("#/").split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(value, dict) or name not in value:
            raise DocumentError(f"{ref}: refers to nothing")
        value = value[name]
    return value


def resolved(document: Json, value: Part) -> Json:
    """Return what a reference within a document refers to, or the value itself; empty where there is none."""
    while isinstance(value, dict) and isinstance(ref := value.get("$ref"), str):
        value = target(document, ref)
    return cast("Json", value) if isinstance(value, dict) else {}
