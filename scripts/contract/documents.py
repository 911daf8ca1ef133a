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

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
"""What of a path is an operation."""

# What a page of documentation holds its slice of a specification in.
_FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


class DocumentError(Exception):
    """A document cannot be used; the message says why, for whoever gave it."""


class _Loader(yaml.SafeLoader):
    """YAML 1.2, and values as JSON has them: `NO`, `12:30` and dates stay text.

    Nothing is a value here that is text for PyYAML, so that what it writes is read as the same.
    """


_READ = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+",
    "float": r"[-+]?[0-9]+\.[0-9]*(?:[eE][-+][0-9]+)?|\.[0-9]+",
    "merge": r"<<",
}
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, re.compile(f"(?:{_READ[name]})$"))
        for tag, _ in resolvers
        if (name := tag.rpartition(":")[2]) in _READ
    ]
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


_NAMED = frozenset((
    "properties", "patternProperties", "dependentSchemas", "$defs", "definitions", "headers", "encoding",
    "links", "callbacks",
))  # fmt: skip
"""What holds parts by names, which may be any words."""
_VALUES = frozenset(("example", "examples", "default", "enum", "const", "value"))
"""What may hold anything, and refers to nothing; a property may be called so."""


def references(value: object) -> Iterator[str]:
    """Give all references in a part of a document."""
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        ref = fields.get("$ref")
        if isinstance(ref, str):
            yield ref
        for key, item in fields.items():
            named = cast("dict[str, object]", item) if isinstance(item, dict) else {}
            if named and key in _NAMED:
                yield from references(list(named.values()))
            elif named and key == "responses":
                # One of them may be called `default`.
                yield from references([one for name, one in named.items() if not name.startswith("x-")])
            elif named and key == "examples":
                # In Swagger 2.0 they are values, and named by media types.
                yield from references([one for name, one in named.items() if "/" not in name])
            elif named and key == "discriminator":
                yield from _mapped(named.get("mapping"))
            elif key not in _VALUES and not key.startswith("x-"):
                yield from references(item)
    elif isinstance(value, list):
        for item in cast("list[object]", value):
            yield from references(item)


def _mapped(mapping: object) -> Iterator[str]:
    """Give the schemas that a discriminator chooses from; a name alone is that of a schema."""
    if isinstance(mapping, dict):
        for one in cast("dict[str, object]", mapping).values():
            yield str(one) if "/" in str(one) else f"#/components/schemas/{one}"


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
    """Return what a reference within a document refers to, or the value itself; empty where there is none.

    Raises `DocumentError` as `target` does, and where references lead in a circle.
    """
    followed: set[str] = set()
    while isinstance(value, dict) and isinstance(ref := value.get("$ref"), str):
        if ref in followed:
            raise DocumentError(f"{ref}: refers to itself")
        followed.add(ref)
        value = target(document, ref)
    return cast("Json", value) if isinstance(value, dict) else {}


def plain(document: Json, value: Part, within: tuple[str, ...] = ()) -> Part:
    """Return a copy of a part of a document that refers to nothing."""
    if isinstance(value, dict):
        ref = value.get("$ref")
        if isinstance(ref, str):
            # What holds itself ends where it begins anew.
            return {} if ref in within else plain(document, resolved(document, value), (*within, ref))
        return {key: plain(document, one, within) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(document, one, within) for one in value]
    return value
