"""Swagger 2.0 as OpenAPI 3.0, for what is cut out of a specification."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .documents import METHODS, DocumentError, Json, Part, resolved

_PLACES = {
    "#/definitions/": "#/components/schemas/",
    "#/parameters/": "#/components/parameters/",
    "#/responses/": "#/components/responses/",
}

_OF_SCHEMA = (
    "type", "format", "items", "default", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum",
    "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "enum", "multipleOf",
    "x-nullable",
)  # fmt: skip
"""What Swagger 2.0 says of a parameter itself, and OpenAPI 3.0 of its schema."""

_STYLES: Mapping[str, Mapping[str, Any]] = {
    "csv": {"style": "form", "explode": False},
    "ssv": {"style": "spaceDelimited", "explode": False},
    "pipes": {"style": "pipeDelimited", "explode": False},
    "multi": {"style": "form", "explode": True},
}

# Of a path, and of a header.
_SIMPLE: Mapping[str, Mapping[str, Any]] = {"csv": {"style": "simple", "explode": False}}

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

_FLOWS = {
    "implicit": "implicit",
    "password": "password",
    "application": "clientCredentials",
    "accessCode": "authorizationCode",
}


def converted(document: Json) -> dict[str, Any]:
    """Return a Swagger 2.0 document as OpenAPI 3.0.3; raises `DocumentError` for what it has no words for."""
    made: dict[str, Any] = {"openapi": "3.0.3", "info": document.get("info", {})}
    servers = list(_servers(document))
    if servers:
        made["servers"] = servers
    if "security" in document:
        made["security"] = document["security"]
    made["paths"] = {path: _path(item, document) for path, item in document["paths"].items()}
    components: dict[str, Any] = {}
    for name, one in document.get("parameters", {}).items():
        # A body is no parameter any more: it is put where it is used.
        if one.get("in") not in {"body", "formData"}:
            components.setdefault("parameters", {})[name] = _parameter(one)
    for name, one in document.get("responses", {}).items():
        components.setdefault("responses", {})[name] = _response(one, document.get("produces", ()))
    for name, one in document.get("definitions", {}).items():
        components.setdefault("schemas", {})[name] = _schema(one)
    for name, one in document.get("securityDefinitions", {}).items():
        components.setdefault("securitySchemes", {})[name] = _scheme(one)
    if components:
        made["components"] = components
    return {**made, **_extensions(document)}


def _servers(document: Json) -> Iterator[dict[str, str]]:
    if "host" in document:
        for scheme in document.get("schemes", ["https"]):
            yield {"url": f"{scheme}://{document['host']}{document.get('basePath', '')}"}
    elif "basePath" in document:
        yield {"url": document["basePath"]}


def _path(item: Json, document: Json) -> dict[str, Any]:
    made: dict[str, Any] = {}
    shared = item.get("parameters", ())
    for key, value in item.items():
        if key in METHODS:
            made[key] = _operation(value, shared, document)
        elif key == "parameters":
            kept = [
                _parameter_or_ref(one) for one in value if _place(one, document) not in {"body", "formData"}
            ]
            if kept:
                made[key] = kept
        else:
            made[key] = value
    return made


def _operation(operation: Json, shared: Sequence[Json], document: Json) -> dict[str, Any]:
    given = operation.get("parameters", ())
    shared_produces = document.get("produces", ())
    produces = operation.get("produces", shared_produces)
    made: dict[str, Any] = {}
    for key, value in operation.items():
        if key == "responses":
            made[key] = {
                # A shared one has the media types of the document; with others it is written out.
                str(status): _as_schema_ref(one)
                if "$ref" in one and produces == shared_produces
                else _response(resolved(document, one), produces)
                for status, one in value.items()
            }
        elif key == "parameters":
            made[key] = [
                _parameter_or_ref(one) for one in given if _place(one, document) not in {"body", "formData"}
            ]
        elif key not in {"consumes", "produces", "schemes"}:
            made[key] = value
    consumes = operation.get("consumes", document.get("consumes", ()))
    # One of the operation is in place of the path's; of bodies there is one, whatever it is called.
    found = {
        (one.get("in"), one.get("in") == "body" or one.get("name")): one
        for one in (resolved(document, parameter) for parameter in (*shared, *given))
    }
    body = _body(list(found.values()), consumes)
    if body is not None:
        made["requestBody"] = body
    if not made.get("parameters", True):
        del made["parameters"]
    return made


def _place(parameter: Json, document: Json) -> str:
    return str(resolved(document, parameter).get("in"))


def _parameter_or_ref(parameter: Json) -> dict[str, Any]:
    return _as_schema_ref(parameter) if "$ref" in parameter else _parameter(parameter)


def _parameter(parameter: Json) -> dict[str, Any]:
    made = {key: value for key, value in parameter.items() if key not in {*_OF_SCHEMA, "collectionFormat"}}
    schema = _schema({key: parameter[key] for key in _OF_SCHEMA if key in parameter})
    # What documentation tools show beside the schema belongs to it in OpenAPI 3.0.
    if "x-example" in made:
        made["example"] = made.pop("x-example")
    if parameter.get("type") == "array":
        made |= _style(parameter, _STYLES if made.get("in") == "query" else _SIMPLE)
    return {**made, "schema": schema}


def _style(holder: Json, styles: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    given = holder.get("collectionFormat", "csv")
    if given not in styles:
        raise DocumentError(f"the collectionFormat {given!r} is nothing that OpenAPI 3.0 has words for there")
    return styles[given]


def _body(parameters: Sequence[Json], consumes: Sequence[str]) -> dict[str, Any] | None:
    fields = [one for one in parameters if one.get("in") == "formData"]
    for one in parameters:
        if one.get("in") == "body":
            made: dict[str, Any] = {k: one[k] for k in ("description", "required") if k in one}
            made["content"] = {
                media: {"schema": _schema(one.get("schema", {}))}
                for media in consumes or ("application/json",)
            }
            return made
    if not fields:
        return None
    has_file = any(one.get("type") == "file" for one in fields)
    # A file needs the one; the other is usual where neither is stated.
    forms = _FORMS[1:] if has_file else [one for one in _FORMS if one in consumes] or _FORMS[:1]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            one["name"]: {
                **{k: one[k] for k in ("description",) if k in one},
                **_schema({k: one[k] for k in _OF_SCHEMA if k in one}),
            }
            for one in fields
        },
    }
    needed = [one["name"] for one in fields if one.get("required")]
    if needed:
        schema["required"] = needed
    content: dict[str, Any] = {"schema": schema}
    encoding = {one["name"]: _style(one, _STYLES) for one in fields if one.get("type") == "array"}
    if encoding:
        content["encoding"] = encoding
    return {"required": bool(needed), "content": dict.fromkeys(forms, content)}


def _response(response: Json, produces: Sequence[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"description": response.get("description", "")}
    if "headers" in response:
        made["headers"] = {name: _header(one) for name, one in response["headers"].items()}
    examples = response.get("examples", {})
    if "schema" in response:
        made["content"] = {
            media: {
                "schema": _schema(response["schema"]),
                **({"example": examples[media]} if media in examples else {}),
            }
            for media in produces or ("application/json",)
        }
    return {**made, **_extensions(response)}


def _header(header: Json) -> dict[str, Any]:
    words = {key: value for key, value in header.items() if key not in {*_OF_SCHEMA, "collectionFormat"}}
    if header.get("type") == "array":
        words |= _style(header, _SIMPLE)
    return {**words, "schema": _schema({key: header[key] for key in _OF_SCHEMA if key in header})}


def _schema(schema: Part) -> Part:
    """Convert a schema, and all in it."""
    if isinstance(schema, list):
        return [_schema(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref":
            made[key] = _moved(value)
        elif key == "x-nullable":
            made["nullable"] = value
        elif key == "collectionFormat":
            # Of a list within a list, for which OpenAPI 3.0 has no words but for what is usual.
            _style(schema, {"csv": {}})
        elif key == "discriminator" and isinstance(value, str):
            made[key] = {"propertyName": value}
        elif key in {"properties", "patternProperties"}:
            made[key] = {name: _schema(one) for name, one in value.items()}
        elif key in {"example", "default", "enum", "required"} or key.startswith("x-"):
            # Values, and no schemas.
            made[key] = value
        else:
            made[key] = _schema(value)
    if made.get("type") == "file":
        made |= {"type": "string", "format": "binary"}
    return made


def _as_schema_ref(value: Json) -> dict[str, Any]:
    return {"$ref": _moved(value["$ref"])}


def _moved(ref: str) -> str:
    for old, new in _PLACES.items():
        if ref.startswith(old):
            return new + ref.removeprefix(old)
    raise DocumentError(f"{ref}: refers to what OpenAPI 3.0 has no place for")


def _scheme(scheme: Json) -> dict[str, Any]:
    kept = {key: scheme[key] for key in scheme if key == "description" or key.startswith("x-")}
    match scheme.get("type"):
        case "basic":
            return {"type": "http", "scheme": "basic", **kept}
        case "apiKey":
            return {"type": "apiKey", "name": scheme.get("name"), "in": scheme.get("in"), **kept}
        case "oauth2":
            flow = {key: scheme[key] for key in ("authorizationUrl", "tokenUrl") if key in scheme}
            name = _FLOWS.get(str(scheme.get("flow")))
            if name is None:
                raise DocumentError(f"a security scheme has the flow {scheme.get('flow')!r}, which is none")
            return {
                "type": "oauth2",
                "flows": {name: {**flow, "scopes": scheme.get("scopes", {})}},
                **kept,
            }
        case other:
            raise DocumentError(f"a security scheme is of the type {other!r}, which is none")


def _extensions(value: Json) -> dict[str, Any]:
    return {key: value[key] for key in value if key.startswith("x-")}
