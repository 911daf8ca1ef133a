"""What a change of the contract does to callers, and what is said of it."""

import copy
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dintero_claims_client
from contract import changes, report

from .seeded_changes import CHANGES, CONTRACT, changed, contract

SCRIPTS = Path(changes.__file__).parents[1]
_LEVELS = {"breaking": 2, "compatible": 1, "words": 0}


@pytest.mark.parametrize("seeded", CHANGES, ids=str)
def test_each_change_is_told_for_what_it_is(seeded):
    """A change is breaking, compatible, or words only, by the direction in which its values travel."""
    assert int(report.level(changes.compare(contract(), changed(seeded)))) == _LEVELS[seeded.level]


def test_the_table_in_the_documentation():
    """The documentation lists every seeded change, what that does to callers, and what the report says."""
    text = (CONTRACT.parent.parent / "docs" / "regenerating.md").read_text()
    table = text.partition("## What the report finds")[2]
    rows = [line.strip("|").split("|")[:3] for line in table.splitlines() if line.startswith("| ")][2:]
    said = {level: name for name, level in _LEVELS.items()}
    assert [[cell.strip() for cell in row] for row in rows] == [
        [
            seeded.name,
            seeded.level,
            said[int(report.level(changes.compare(contract(), changed(seeded))))],
        ]
        for seeded in CHANGES
    ]


def _found(name):
    """Return what a name of the report's table is in the library."""
    module, _, rest = name.partition(".")
    holder = dintero_claims_client
    if module.startswith("_"):
        holder, name = importlib.import_module(f"dintero_claims_client.{module}"), rest
    *above, last = name.split(".")
    for one in above:
        holder = getattr(holder, one)
    # A field of an attrs class without a default is none of the class itself.
    return hasattr(holder, last) or last in {field.name for field in getattr(holder, "__attrs_attrs__", ())}


def test_what_a_change_touches_is_there():
    """The table has every operation and schema of the contract, and what it names is in the library."""
    document = contract()
    operations = [operation["operationId"] for operation in changes.operations(document).values()]
    assert {*operations, *document["components"]["schemas"]} <= report.TOUCHES.keys()
    assert [name for names in report.TOUCHES.values() for name in names if not _found(name)] == []


TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
BASE, OTHER = {"$ref": "#/components/schemas/Base"}, {"$ref": "#/components/schemas/Other"}
SCHEMAS = {
    "Base": {"type": "object", "properties": {"ref": TEXT, "store": TEXT}},
    "Other": {"type": "object", "properties": {"number": NUMBER}},
}


def _fields(**fields):
    """Return a schema with these fields."""
    return {"type": "object", "properties": fields}


def _document(operation, *, version="3.0.3", schemas=SCHEMAS, **more):
    """Return a small contract with one operation."""
    operation = {"operationId": "make", "responses": {}, **operation}
    more = {"openapi": version, "paths": {"/things": {"post": operation}}, **more}
    return copy.deepcopy({**more, "components": {"schemas": schemas, **more.get("components", {})}})


def _sent(schema, **more):
    return _document({"requestBody": {"content": {"application/json": {"schema": schema}}}}, **more)


def _answered(schema, **more):
    response = {"description": "", "content": {"application/json": {"schema": schema}}}
    return _document({"responses": {"200": response}}, **more)


def _level(old, new):
    return {number: name for name, number in _LEVELS.items()}[int(report.level(changes.compare(old, new)))]


@pytest.mark.parametrize(
    ("old", "new", "sent", "answered"),
    [
        pytest.param(
            {"allOf": [BASE]},
            {"allOf": [BASE, {"required": ["ref"]}]},
            "breaking",
            "compatible",
            id="a field of another part is required",
        ),
        pytest.param(
            {"allOf": [BASE, {"required": ["ref"]}]},
            {"allOf": [BASE, {"required": ["store"]}]},
            "breaking",
            "breaking",
            id="another field of another part is required",
        ),
        pytest.param(
            TEXT | {"required": ["a"]},
            TEXT,
            "compatible",
            "breaking",
            id="what has no property is not required",
        ),
        pytest.param({"oneOf": [BASE]}, {}, "compatible", "breaking", id="alternatives are gone"),
        pytest.param({}, {"oneOf": [BASE]}, "breaking", "compatible", id="alternatives are new"),
        pytest.param(
            {"anyOf": [BASE]}, {"anyOf": [OTHER, BASE]}, "compatible", "breaking", id="one more alternative"
        ),
        pytest.param(
            {"anyOf": [BASE, OTHER]}, {"anyOf": [OTHER]}, "breaking", "compatible", id="one alternative less"
        ),
        pytest.param(
            {"oneOf": [BASE, OTHER]},
            {"oneOf": [TEXT, NUMBER, OTHER]},
            "breaking",
            "breaking",
            id="two alternatives for one",
        ),
        pytest.param(
            {"oneOf": [BASE, OTHER]}, {"oneOf": [OTHER, BASE]}, "words", "words", id="another order"
        ),
        pytest.param(
            {"anyOf": [BASE, NUMBER]},
            {"anyOf": [TEXT, NUMBER, SCHEMAS["Base"]]},
            "compatible",
            "breaking",
            id="an alternative is written out",
        ),
        pytest.param({"not": TEXT}, {"not": NUMBER}, "breaking", "breaking", id="not"),
        pytest.param(
            {"oneOf": [BASE], "discriminator": {"propertyName": "ref"}},
            {"oneOf": [BASE], "discriminator": {"propertyName": "store"}},
            "breaking",
            "breaking",
            id="discriminator",
        ),
        pytest.param({"const": "a"}, {"const": "b"}, "breaking", "breaking", id="another constant"),
        pytest.param({"const": "a"}, {"enum": ["a", "b"]}, "compatible", "breaking", id="a second value"),
        pytest.param(
            {"patternProperties": {"^a": TEXT}},
            {"patternProperties": {"^a": NUMBER}},
            "breaking",
            "breaking",
            id="patternProperties",
        ),
        pytest.param({}, {"propertyNames": TEXT}, "breaking", "compatible", id="propertyNames"),
        pytest.param({"contains": TEXT}, {}, "compatible", "breaking", id="contains"),
        pytest.param({"if": TEXT}, {"if": NUMBER}, "breaking", "breaking", id="if"),
        pytest.param({"then": TEXT}, {"then": TEXT | {"maxLength": 9}}, "breaking", "compatible", id="then"),
        pytest.param({"else": TEXT}, {"else": NUMBER}, "breaking", "breaking", id="else"),
        pytest.param(
            {"prefixItems": [TEXT]}, {"prefixItems": [NUMBER]}, "breaking", "breaking", id="prefixItems"
        ),
        pytest.param(
            {"prefixItems": [TEXT]},
            {"prefixItems": [TEXT, TEXT]},
            "breaking",
            "breaking",
            id="more prefixItems",
        ),
        pytest.param({}, {"dependentRequired": {"a": ["b"]}}, "breaking", "breaking", id="dependentRequired"),
        pytest.param(TEXT, TEXT | {"brandNew": 1}, "breaking", "breaking", id="a keyword that nobody knows"),
        pytest.param(TEXT, TEXT | {"x-new": 1, "title": "A"}, "words", "words", id="what only says more"),
        pytest.param(
            _fields(),
            _fields(id=TEXT | {"readOnly": True}) | {"required": ["id"]},
            "words",
            "compatible",
            id="a required field that only is answered",
        ),
        pytest.param(
            _fields(),
            _fields(id=TEXT | {"writeOnly": True}),
            "compatible",
            "words",
            id="a field that only is sent",
        ),
        pytest.param(
            {"additionalProperties": TEXT},
            {"additionalProperties": TEXT | {"maxLength": 9}},
            "breaking",
            "compatible",
            id="further fields become shorter",
        ),
        pytest.param(
            {"additionalProperties": {}},
            {"additionalProperties": True},
            "words",
            "words",
            id="all may be further",
        ),
        pytest.param(
            {"format": "email"}, {"format": "uri"}, "breaking", "breaking", id="one format for another"
        ),
        pytest.param(
            {"allOf": [BASE, OTHER]}, {"allOf": [BASE]}, "breaking", "breaking", id="a part is gone"
        ),
        pytest.param(
            {"allOf": [BASE]}, {"allOf": [BASE, OTHER]}, "compatible", "compatible", id="a part is new"
        ),
        pytest.param(
            {"allOf": [{"maxLength": 9}, {"maxLength": 7}]},
            {"allOf": [{"maxLength": 9}]},
            "compatible",
            "breaking",
            id="a second limit is gone",
        ),
        pytest.param(
            NUMBER, NUMBER | {"exclusiveMinimum": False}, "words", "words", id="what is not exclusive anyway"
        ),
        pytest.param(
            {"minimum": 1, "exclusiveMinimum": True},
            {"exclusiveMinimum": 1},
            "words",
            "words",
            id="exclusive in 3.1",
        ),
        pytest.param(
            {"minimum": 1},
            {"minimum": 1, "exclusiveMinimum": True},
            "breaking",
            "compatible",
            id="exclusive now",
        ),
    ],
)
def test_what_a_schema_says(old, new, sent, answered):
    """Every keyword counts, in the direction in which its values travel."""
    assert _level(_sent(old), _sent(new)) == sent
    assert _level(_answered(old), _answered(new)) == answered


@pytest.mark.parametrize("make", [_sent, _answered])
@pytest.mark.parametrize("holder", [lambda one: {"additionalProperties": one}, lambda one: {"not": one}])
def test_what_a_reference_is_to_may_change(make, holder):
    """A schema that is referred to changes what refers to it, wherever that is."""
    other = SCHEMAS | {"Base": {"type": "array"}}
    assert _level(make(holder(BASE)), make(holder(BASE), schemas=other)) == "breaking"


@pytest.mark.parametrize(("version", "level"), [("3.0.3", "words"), ("3.1.0", "breaking")])
def test_what_is_beside_a_reference(version, level):
    """What is beside a reference counts since OpenAPI 3.1."""
    old, new = _sent(BASE, version=version), _sent(BASE | {"maxProperties": 1}, version=version)
    assert _level(old, new) == level


def _taken(**parameter):
    return _document({"parameters": [{"name": "store", "in": "query", **parameter}]})


def _headed(**header):
    return _document({"responses": {"200": {"description": "", "headers": {"Next": header}}}})


def _encoded(**encoding):
    media = {"schema": _fields(a=TEXT), **encoding}
    return _document({"requestBody": {"content": {"multipart/form-data": media}}})


def _content(schema):
    return {"application/json": {"schema": schema}}


@pytest.mark.parametrize(
    ("old", "new", "level"),
    [
        (_taken(schema=TEXT), _taken(schema=TEXT, style="pipeDelimited"), "breaking"),
        (_taken(schema=TEXT), _taken(schema=TEXT, explode=False), "breaking"),
        (_taken(schema=TEXT), _taken(schema=TEXT, style="form", explode=True), "words"),
        (_taken(schema=TEXT), _taken(schema=TEXT, allowReserved=True), "breaking"),
        (_taken(content=_content(TEXT)), _taken(content=_content(NUMBER)), "breaking"),
        (_headed(schema=TEXT, required=True), _headed(schema=TEXT), "breaking"),
        (_headed(schema=TEXT), _headed(schema=TEXT, required=True), "compatible"),
        (_headed(schema=TEXT), _headed(schema=TEXT, explode=True), "breaking"),
        (_encoded(), _encoded(encoding={"a": {"contentType": "text/plain"}}), "breaking"),
        (_encoded(), _encoded(example={"a": "b"}), "words"),
    ],
)
def test_how_values_are_written(old, new, level):
    """How a parameter, a header and a body are written is part of what callers rely on."""
    assert _level(old, new) == level


def _at(*urls):
    return _document({}, servers=[{"url": url} for url in urls])


@pytest.mark.parametrize(
    ("old", "new", "level"),
    [
        (_at("https://api.example/v1"), _at("https://api.example/v2"), "breaking"),
        (_at("https://api.example/v1"), _at("https://api.example/v1/"), "words"),
        (_at("https://a.example"), _at("https://a.example", "https://b.example"), "compatible"),
        (_at("/v1"), _at(), "breaking"),
        (
            _at("https://api.example/v1"),
            _document(
                {}, servers=[{"url": "https://{h}/v1", "variables": {"h": {"default": "api.example"}}}]
            ),
            "words",
        ),
        (_at("/v1"), _document({"servers": [{"url": "/v2"}]}, servers=[{"url": "/v1"}]), "breaking"),
    ],
)
def test_where_the_server_is(old, new, level):
    """Callers have the address: another one breaks them, however it is said."""
    assert _level(old, new) == level


BEARER = {"type": "http", "scheme": "bearer"}


def _secured(name, scheme, **operation):
    schemes = {name: scheme}
    return _document(operation, security=[{name: []}], components={"securitySchemes": schemes})


def _flow(url):
    return {"type": "oauth2", "flows": {"clientCredentials": {"tokenUrl": url, "scopes": {"a": "words"}}}}


@pytest.mark.parametrize(
    ("old", "new", "level"),
    [
        (
            _secured("key", BEARER),
            _secured("key", {"type": "apiKey", "in": "header", "name": "X-Api-Key"}),
            "breaking",
        ),
        (_secured("key", _flow("/one")), _secured("key", _flow("/two")), "breaking"),
        (_secured("key", BEARER), _secured("key", BEARER, security=[{"key": ["admin"]}]), "breaking"),
        (_secured("key", BEARER), _secured("other", BEARER), "words"),
        (_secured("key", BEARER), _secured("key", BEARER, security=[{"key": []}]), "words"),
        (
            _secured("key", BEARER),
            _secured("key", {"type": "apiKey", "in": "header", "name": "Authorization"}),
            "words",
        ),
    ],
)
def test_the_way_in(old, new, level):
    """What an operation asks for counts, and not what that is called."""
    assert _level(old, new) == level


@pytest.mark.parametrize(
    "refer", [lambda ref: ref, lambda ref: {"allOf": [ref]}, lambda ref: {"oneOf": [ref], "not": ref}]
)
def test_a_schema_within_itself(refer):
    """A schema that holds itself is compared once, and ends."""
    node = {"$ref": "#/components/schemas/Node"}
    old, new = ({"Node": _fields(next=refer(node), value=value)} for value in (TEXT, NUMBER))
    assert _level(_sent(node, schemas=old), _sent(node, schemas=new)) == "breaking"


_TELL = """
import json, sys
import dintero_claims_client
from contract import changes, report
found = changes.compare(*json.load(sys.stdin))
print(report.report(found, found, [], [], version="1.0.0"))
print([(change.place, sorted(change.names)) for change in found])
"""


def test_it_is_told_alike_in_every_process():
    """Where something shared is told of does not depend on how a process orders its sets."""
    names = [f"field_{number}" for number in range(20)]
    longer = SCHEMAS | {"Base": _fields(ref=TEXT | {"maxLength": 9}, new=TEXT)}
    schema = _fields(**dict.fromkeys(names, BASE))
    documents = json.dumps([_sent(schema), _sent(schema, schemas=longer)])
    said = {
        subprocess.run(
            [sys.executable, "-c", _TELL],
            input=documents,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(SCRIPTS)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(said) == 1
    assert "field_0.ref" in said.pop()
