"""The provider's documents: what is read of them, cut out, and converted."""

import copy
import json

import pytest
import yaml
from openapi_spec_validator import validate

from contract import documents, extract, swagger2

TOKEN, OTHER = "/accounts/{oid}/auth/token", "/accounts/{oid}/other"

# What a provider of Swagger 2.0 publishes: references of every kind, one of them to itself, and much else.
SWAGGER = {
    "swagger": "2.0",
    "info": {"title": "All", "version": "1", "x-logo": {"url": "logo.svg"}},
    "host": "api.example",
    "basePath": "/v1",
    "schemes": ["https"],
    "consumes": ["application/json"],
    "produces": ["application/json"],
    "securityDefinitions": {
        "basic": {"type": "basic"},
        "key": {"type": "apiKey", "name": "X-Key", "in": "header"},
        "unused": {"type": "apiKey", "name": "X-Other", "in": "header"},
        "flow": {
            "type": "oauth2", "flow": "application", "tokenUrl": "https://api.example/token",
            "scopes": {"read": "to read"},
        },
    },
    "parameters": {
        "oid": {"name": "oid", "in": "path", "required": True, "type": "string", "maxLength": 9},
        "unused": {"name": "u", "in": "query", "type": "string"},
        "token": {"name": "body", "in": "body", "required": True, "schema": {"$ref": "#/definitions/Grant"}},
    },
    "responses": {
        "Wrong": {"description": "wrong", "schema": {"$ref": "#/definitions/Error"}},
        "Unused": {"description": "unused"},
    },
    "definitions": {
        "Grant": {
            "type": "object",
            "discriminator": "kind",
            "required": ["kind"],
            "properties": {"kind": {"type": "string"}, "at": {"type": "string", "format": "date-time"}},
        },
        "Error": {
            "type": "object",
            "properties": {
                "error": {"$ref": "#/definitions/Detail"},
                "nested": {"type": "array", "items": {"$ref": "#/definitions/Error"}},
            },
        },
        "Detail": {"type": "object", "properties": {"message": {"type": "string", "x-nullable": True}}},
        "Unused": {"type": "object"},
    },
    "paths": {
        TOKEN: {
            "parameters": [{"$ref": "#/parameters/oid"}],
            "post": {
                "operationId": "get_token",
                "security": [{"basic": []}, {"flow": ["read"]}],
                "parameters": [
                    {"$ref": "#/parameters/token"},
                    {"name": "ids", "in": "query", "type": "array", "items": {"type": "string"},
                     "collectionFormat": "multi"},
                    {"name": "names", "in": "query", "type": "array", "items": {"type": "string"}},
                ],
                "responses": {
                    200: {
                        "description": "the token",
                        "headers": {"X-Left": {"type": "integer", "description": "how many are left"}},
                        "schema": {"type": "object", "example": {"$ref": "is a value here"}},
                        "examples": {"application/json": {"access_token": "x"}},
                    },
                    400: {"$ref": "#/responses/Wrong"},
                },
            },
        },
        OTHER: {
            "post": {
                "security": [{"key": []}],
                "consumes": ["multipart/form-data"],
                "produces": ["image/png"],
                "parameters": [
                    {"name": "oid", "in": "path", "required": True, "type": "string"},
                    {"name": "picture", "in": "formData", "required": True, "type": "file"},
                    {"name": "size", "in": "formData", "type": "integer", "minimum": 1},
                ],
                "responses": {"200": {"description": "a picture", "schema": {"type": "file"}}},
            },
        },
    },
}  # fmt: skip


@pytest.fixture
def document():
    """Return a specification in Swagger 2.0, free to be changed."""
    return json.loads(json.dumps(SWAGGER))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("json", json.dumps(SWAGGER)),
        ("yaml", yaml.safe_dump(json.loads(json.dumps(SWAGGER)))),
        ("page", f"# Get token\n\n```sh\ncurl x\n```\n\n````yaml post /token\n{json.dumps(SWAGGER)}\n````\n"),
    ],
)
def test_a_document_is_read_from_any_form(tmp_path, document, name, text):
    """A specification is read as JSON, as YAML, and from the page of documentation that it is embedded in."""
    path = tmp_path / name
    path.write_text(text)
    assert documents.read_document(path) == document


def test_dates_stay_text(tmp_path):
    """What YAML takes for a date is the text that it is in JSON."""
    path = tmp_path / "a.yaml"
    path.write_text("openapi: 3.0.0\ninfo: {version: 2024-04-01, title: t}\npaths: {}\n")
    assert documents.read_document(path)["info"]["version"] == "2024-04-01"


@pytest.mark.parametrize(
    "text",
    ["", "a: [", "openapi: 3.0.0\n", "swagger: '1.2'\npaths: {}\n", "# A page\n\nwithout any\n", "[1, 2]"],
)
def test_what_is_no_specification_is_refused(tmp_path, text):
    """Anything that is no OpenAPI document, and holds none, is refused with its name."""
    path = tmp_path / "given"
    path.write_text(text)
    with pytest.raises(documents.DocumentError, match="given: holds no OpenAPI document"):
        documents.read_document(path)


def test_a_cut_has_all_that_it_refers_to_and_nothing_else(document):
    """An operation is cut out with the closure of its references, each part untouched and in its place."""
    before = copy.deepcopy(document)
    cut = extract.extract(document, [TOKEN])
    assert document == before
    assert list(cut["paths"]) == [TOKEN]
    assert list(cut["definitions"]) == ["Grant", "Error", "Detail"]
    assert list(cut["parameters"]) == ["oid", "token"]
    assert list(cut["responses"]) == ["Wrong"]
    assert list(cut["securityDefinitions"]) == ["basic", "flow"]
    for part in ("definitions", "parameters", "responses", "paths"):
        assert all(document[part][name] == value for name, value in cut[part].items())
    validate(cut)


def test_a_path_that_moved_is_named(document):
    """A document without the path is refused, and told where it may have gone."""
    document["paths"]["/v2/auth/token"] = document["paths"].pop(TOKEN)
    with pytest.raises(
        extract.MissingPathError, match=r"auth/token is not in.*may have moved to /v2/auth/token"
    ):
        extract.extract(document, [TOKEN])
    del document["paths"]["/v2/auth/token"]
    with pytest.raises(extract.MissingPathError, match=r"auth/token is not in the document$"):
        extract.extract({**document, "paths": {}}, [TOKEN])


@pytest.mark.parametrize(
    ("ref", "why"),
    [
        ("#/definitions/Nowhere", "#/definitions/Nowhere: refers to nothing"),
        ("other.yaml#/definitions/Error", "other.yaml#/definitions/Error: refers to another document"),
        ("https://example.com/a", "https://example.com/a: refers to another document"),
    ],
)
def test_references_that_lead_nowhere_are_refused(document, ref, why):
    """A reference to nothing, or to another document, is refused with what it says."""
    document["definitions"]["Detail"]["properties"]["message"] = {"$ref": ref}
    with pytest.raises(documents.DocumentError, match=why):
        extract.extract(document, [TOKEN])


def test_swagger_2_becomes_openapi_3(document):
    """What Swagger 2.0 says is said in OpenAPI 3.0, in its own places, and is valid there."""
    made = swagger2.converted(document)
    validate(made)
    assert made["servers"] == [{"url": "https://api.example/v1"}]
    post = made["paths"][TOKEN]["post"]
    assert made["paths"][TOKEN]["parameters"] == [{"$ref": "#/components/parameters/oid"}]
    assert [one["name"] for one in post["parameters"]] == ["ids", "names"]
    assert [(one["style"], one["explode"]) for one in post["parameters"]] == [("form", True), ("form", False)]
    assert post["requestBody"] == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Grant"}}},
    }
    assert post["responses"]["400"] == {"$ref": "#/components/responses/Wrong"}
    ok = post["responses"]["200"]
    assert ok["headers"]["X-Left"] == {"description": "how many are left", "schema": {"type": "integer"}}
    assert ok["content"]["application/json"]["schema"]["example"] == {"$ref": "is a value here"}
    assert ok["content"]["application/json"]["example"] == {"access_token": "x"}
    schemas = made["components"]["schemas"]
    assert schemas["Grant"]["discriminator"] == {"propertyName": "kind"}
    assert schemas["Detail"]["properties"]["message"] == {"type": "string", "nullable": True}
    assert schemas["Error"]["properties"]["nested"]["items"] == {"$ref": "#/components/schemas/Error"}
    assert made["components"]["parameters"]["oid"]["schema"] == {"type": "string", "maxLength": 9}
    assert made["components"]["securitySchemes"] == {
        "basic": {"type": "http", "scheme": "basic"},
        "key": {"type": "apiKey", "name": "X-Key", "in": "header"},
        "unused": {"type": "apiKey", "name": "X-Other", "in": "header"},
        "flow": {
            "type": "oauth2",
            "flows": {
                "clientCredentials": {"tokenUrl": "https://api.example/token", "scopes": {"read": "to read"}}
            },
        },
    }


def test_forms_and_files_become_bodies(document):
    """Fields of a form are the body that they are, and a file is bytes."""
    post = swagger2.converted(document)["paths"][OTHER]["post"]
    assert [one["name"] for one in post["parameters"]] == ["oid"]
    assert post["requestBody"] == {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["picture"],
                    "properties": {
                        "picture": {"type": "string", "format": "binary"},
                        "size": {"type": "integer", "minimum": 1},
                    },
                }
            }
        },
    }
    assert post["responses"]["200"]["content"] == {
        "image/png": {"schema": {"type": "string", "format": "binary"}}
    }
    del document["paths"][OTHER]["post"]["parameters"][1]
    made = swagger2.converted(document)["paths"][OTHER]["post"]["requestBody"]
    assert (list(made["content"]), made["required"]) == (["application/x-www-form-urlencoded"], False)


@pytest.mark.parametrize(
    ("scheme", "why"), [({"type": "magic"}, "'magic'"), ({"type": "oauth2", "flow": "magic"}, "'magic'")]
)
def test_what_openapi_3_has_no_words_for_is_refused(document, scheme, why):
    """A security scheme that is none is refused, rather than left out."""
    document["securityDefinitions"]["basic"] = scheme
    with pytest.raises(documents.DocumentError, match=why):
        swagger2.converted(document)
