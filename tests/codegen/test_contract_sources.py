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


@pytest.mark.parametrize("text", ["NO", "on", "yes", "Off", "12:30", "12:30.5", "1_000", "="])
def test_words_and_times_stay_text(tmp_path, text):
    """What only YAML 1.1 takes for a truth value or a number is text, and is so again when it was written."""
    path = tmp_path / "a.yaml"
    path.write_text(f"openapi: 3.0.0\npaths: {{}}\nx-a: [{text}]\n")
    document = documents.read_document(path)
    assert document["x-a"] == [text]
    path.write_text(yaml.safe_dump(document))
    assert documents.read_document(path) == document


def test_values_stay_values(tmp_path):
    """Truth values, numbers and null are what they are in YAML 1.2."""
    path = tmp_path / "a.yaml"
    path.write_text("openapi: 3.0.0\npaths: {}\nx-a: [true, FALSE, 12, -3, 0x1F, 1.5, null, ~, ]\n")
    assert documents.read_document(path)["x-a"] == [True, False, 12, -3, 31, 1.5, None, None]


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


def _answering(answers, **components):
    operation = {"responses": answers}
    return {"openapi": "3.0.3", "info": {"title": "t", "version": "1"}, "paths": {OTHER: {"get": operation}},
            "components": components}  # fmt: skip


def _answer(**more):
    return {"description": "an answer", "content": {"application/json": {"schema": {}, **more}}}


def test_a_cut_has_what_the_default_response_refers_to(document):
    """A response that is called `default` is a response, in both versions of OpenAPI."""
    cut = extract.extract(
        _answering({"default": {"$ref": "#/components/responses/R"}}, responses={"R": _answer()}), [OTHER]
    )
    assert list(cut["components"]["responses"]) == ["R"]
    responses = document["paths"][TOKEN]["post"]["responses"]
    responses["default"] = responses.pop("400")
    cut = extract.extract(document, [TOKEN])
    assert list(cut["definitions"]) == ["Grant", "Error", "Detail"]
    validate(cut)


def test_a_cut_has_the_examples_and_headers_by_their_names():
    """A shared example comes along, what it has for a value refers to nothing, and any word is a name."""
    value = {"$ref": "is a value here"}
    answer = _answer(examples={"default": {"$ref": "#/components/examples/A"}, "b": {"value": value}})
    answer["headers"] = {"x-left": {"$ref": "#/components/headers/Left"}}
    stated = _answering(
        {"200": answer, "x-more": value},
        examples={"A": {"value": value}, "B": {}},
        headers={"Left": {"schema": {"type": "integer"}}},
    )
    cut = extract.extract(stated, [OTHER])
    assert cut["components"] == {
        "examples": {"A": {"value": value}},
        "headers": {"Left": {"schema": {"type": "integer"}}},
    }


def test_examples_of_swagger_2_are_values(document):
    """What an example of Swagger 2.0 has in it refers to nothing."""
    ok = document["paths"][TOKEN]["post"]["responses"]["200"]
    ok["examples"] = {"application/json": {"$ref": "is a value here"}}
    assert extract.extract(document, [TOKEN])["paths"][TOKEN]["post"]["responses"]["200"] == ok


def test_a_cut_has_what_a_discriminator_chooses_from():
    """The schemas that a mapping names come along, be it by a reference or by their names."""
    mapping = {"cat": "#/components/schemas/Cat", "dog": "Dog"}
    pet = {"type": "object", "discriminator": {"propertyName": "kind", "mapping": mapping}}
    schemas = {"Pet": pet, "Cat": {"type": "object"}, "Dog": {"type": "object"}, "Unused": {}}
    answer = _answer(schema={"$ref": "#/components/schemas/Pet"})
    cut = extract.extract(_answering({"200": answer}, schemas=schemas), [OTHER])
    assert list(cut["components"]["schemas"]) == ["Pet", "Cat", "Dog"]
    mapping["dog"] = "Nowhere"
    with pytest.raises(documents.DocumentError, match="schemas/Nowhere: refers to nothing"):
        extract.extract(_answering({"200": answer}, schemas=schemas), [OTHER])


def test_a_cut_has_all_that_are_made_of_a_base(document):
    """What a discriminator chooses by its name alone comes along, and what is made of that."""
    document["definitions"] |= {
        "Secret": {"allOf": [{"$ref": "#/definitions/Grant"}, {"$ref": "#/definitions/Unused"}]},
        "Long/Secret": {"allOf": [{"$ref": "#/definitions/Secret"}]},
        "Other": {"allOf": [{"$ref": "#/definitions/Error"}]},
    }
    cut = extract.extract(document, [TOKEN])
    assert list(cut["definitions"]) == ["Grant", "Error", "Detail", "Unused", "Secret", "Long/Secret"]


def test_references_in_a_circle_are_refused(document):
    """References that lead to each other, and to nothing else, are refused."""
    document["responses"]["Wrong"] = {"$ref": "#/responses/Unused"}
    document["responses"]["Unused"] = {"$ref": "#/responses/Wrong"}
    with pytest.raises(documents.DocumentError, match="refers to itself"):
        extract.extract(document, [TOKEN])
    with pytest.raises(documents.DocumentError, match="refers to itself"):
        documents.resolved(document, {"$ref": "#/responses/Wrong"})


def test_a_page_keeps_what_it_says_of_a_parameter_of_the_path():
    """A path's parameter on a page is dropped only where it was stated, or its operation says otherwise."""
    size, name = ({"name": name, "in": "query", "schema": {"type": "string"}} for name in ("size", "name"))
    stated, page = _answering({"200": _answer()}), _answering({"200": _answer()})
    stated["paths"][OTHER]["parameters"] = [size, name]
    page["paths"][OTHER]["parameters"] = [{**size, "required": True}, name]
    grafted = extract.graft(stated, page, [OTHER])["paths"][OTHER]
    assert grafted["parameters"] == [size, name]
    assert grafted["get"]["parameters"] == [{**size, "required": True}]
    own = page["paths"][OTHER]["get"]["parameters"] = [{**size, "description": "of the operation"}]
    assert extract.graft(stated, page, [OTHER])["paths"][OTHER]["get"]["parameters"] == own


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
        ("#/paths/~1accounts~1{oid}~1auth~1token/post", "refers to a part of an operation"),
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
    assert (list(made["content"]), made["required"]) == (["multipart/form-data"], False)
    del document["paths"][OTHER]["post"]["consumes"]
    made = swagger2.converted(document)["paths"][OTHER]["post"]["requestBody"]
    assert (list(made["content"]), made["required"]) == (["application/x-www-form-urlencoded"], False)


def test_lists_in_a_form_stay_written_as_they_were(document):
    """How the values of a field are told apart is said beside the body's schema."""
    document["paths"][OTHER]["post"]["parameters"].append(
        {"name": "ids", "in": "formData", "type": "array", "items": {"type": "string"}}
    )
    made = swagger2.converted(document)
    validate(made)
    (content,) = made["paths"][OTHER]["post"]["requestBody"]["content"].values()
    assert content["encoding"] == {"ids": {"style": "form", "explode": False}}


def test_what_the_operation_says_of_a_parameter_replaces_what_the_path_says(document):
    """An operation's own body, and its own field of a form, are instead of the path's."""
    document["paths"][TOKEN]["parameters"].append(
        {"name": "body", "in": "body", "schema": {"$ref": "#/definitions/Detail"}}
    )
    document["paths"][OTHER]["parameters"] = [{"name": "size", "in": "formData", "type": "string"}]
    made = swagger2.converted(document)
    (body,) = made["paths"][TOKEN]["post"]["requestBody"]["content"].values()
    assert body["schema"] == {"$ref": "#/components/schemas/Grant"}
    (form,) = made["paths"][OTHER]["post"]["requestBody"]["content"].values()
    assert form["schema"]["properties"]["size"] == {"type": "integer", "minimum": 1}


def test_a_parameter_that_may_be_null_says_so_in_its_schema(document):
    """Where a parameter, a header or a field may be null, its schema in OpenAPI 3.0 allows that."""
    document["parameters"]["oid"]["x-nullable"] = True
    made = swagger2.converted(document)["components"]["parameters"]["oid"]
    assert made["schema"] == {"type": "string", "maxLength": 9, "nullable": True}
    assert "x-nullable" not in made


def test_a_list_within_a_list_is_written_as_usual(document):
    """What is the default of Swagger 2.0 needs no words, and leaves none behind."""
    inner = {"type": "array", "items": {"type": "string"}, "collectionFormat": "csv"}
    document["paths"][TOKEN]["post"]["parameters"][1]["items"] = inner
    made = swagger2.converted(document)
    validate(made)
    schema = made["paths"][TOKEN]["post"]["parameters"][0]["schema"]
    assert schema["items"] == {"type": "array", "items": {"type": "string"}}


def _list(where, written, **more):
    items = {"type": "string", **more}
    return {"name": "a", "in": where, "type": "array", "items": items, "collectionFormat": written}


@pytest.mark.parametrize(
    ("parameter", "why"),
    [
        (_list("query", "tsv"), "'tsv'"),
        (_list("formData", "tsv"), "'tsv'"),
        (_list("header", "pipes"), "'pipes'"),
        (_list("query", "csv", type="array", items={"type": "string"}, collectionFormat="ssv"), "'ssv'"),
    ],
)
def test_a_list_that_openapi_3_has_no_words_for_is_refused(document, parameter, why):
    """How values are told apart is refused where it cannot be said, rather than left out."""
    document["paths"][OTHER]["post"]["parameters"].append(parameter)
    with pytest.raises(documents.DocumentError, match=why):
        swagger2.converted(document)


def test_a_list_in_a_header_of_a_response_is_written_as_usual(document):
    """A list in a header has the style of headers, and another one is refused."""
    header = {"type": "array", "items": {"type": "string"}}
    document["responses"]["Wrong"]["headers"] = {"X-All": header}
    made = swagger2.converted(document)
    validate(made)
    assert made["components"]["responses"]["Wrong"]["headers"]["X-All"]["style"] == "simple"
    header["collectionFormat"] = "ssv"
    with pytest.raises(documents.DocumentError, match="'ssv'"):
        swagger2.converted(document)


def test_a_shared_response_has_the_media_types_of_its_operation(document):
    """Where an operation answers in other media types, a shared response does too."""
    wrong = {"$ref": "#/responses/Wrong"}
    document["paths"][OTHER]["post"]["responses"]["400"] = wrong
    made = swagger2.converted(document)
    assert made["paths"][OTHER]["post"]["responses"]["400"] == {
        "description": "wrong",
        "content": {"image/png": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    assert made["paths"][TOKEN]["post"]["responses"]["400"] == {"$ref": "#/components/responses/Wrong"}


@pytest.mark.parametrize(
    ("scheme", "why"), [({"type": "magic"}, "'magic'"), ({"type": "oauth2", "flow": "magic"}, "'magic'")]
)
def test_what_openapi_3_has_no_words_for_is_refused(document, scheme, why):
    """A security scheme that is none is refused, rather than left out."""
    document["securityDefinitions"]["basic"] = scheme
    with pytest.raises(documents.DocumentError, match=why):
        swagger2.converted(document)
