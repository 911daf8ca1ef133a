"""What of a change of theirs ours follows, and what is left to people, schema by schema."""

import copy

import pytest

from contract import facts, merge

PATH = "/claims"


def _document(version="3.0.3", components=None, **properties):
    """Return a contract with one operation, to which these properties are sent."""
    schema = {"type": "object", "properties": properties}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Sent"}}}}
    return {
        "openapi": version,
        "paths": {PATH: {"post": {"requestBody": body, "responses": {}}}},
        "components": {"schemas": {"Sent": schema, **(components or {})}},
    }


def _merged(before, after):
    """Return what ours is then, where it was as theirs before; and what is left to people."""
    ours = copy.deepcopy(before)
    merged = merge.merge(before, after, ours, [PATH])
    assert ours["openapi"] == before["openapi"]
    return ours["components"]["schemas"]["Sent"]["properties"], [str(one) for one in merged.conflicts]


CUSTOMER = {"type": "string", "maxLength": 255}
PARTS = {"allOf": [{"$ref": "#/components/schemas/Customer"}, {"description": "Whose it is."}]}


def test_a_schema_in_parts_says_the_same():
    """What is said in parts of a schema is what is said at once, and is no change."""
    before = _document(ref=CUSTOMER)
    after = _document(ref=PARTS, components={"Customer": CUSTOMER})
    assert facts.read(before, [PATH]).keys() == facts.read(after, [PATH]).keys()
    assert _merged(before, after) == ({"ref": CUSTOMER}, [])


def test_a_change_in_a_part_is_followed():
    """A limit that changes in a part of a schema changes ours, of several the tightest."""
    before = _document(ref=CUSTOMER)
    short = {"allOf": [{"$ref": "#/components/schemas/Customer"}, {"maxLength": 10}]}
    after = _document(ref=short, components={"Customer": CUSTOMER})
    assert _merged(before, after) == ({"ref": {"type": "string", "maxLength": 10}}, [])


def test_what_is_required_in_another_part():
    """A part may require what another part holds."""
    before, after = _document(ref=CUSTOMER), _document(ref=CUSTOMER)
    after["components"]["schemas"]["Sent"]["allOf"] = [{"required": ["ref"]}]
    ours = copy.deepcopy(before)
    assert merge.merge(before, after, ours, [PATH]).conflicts == []
    assert ours["components"]["schemas"]["Sent"]["required"] == ["ref"]


def test_a_schema_that_is_part_of_itself_is_read():
    """A document that makes no sense there is read to its end all the same."""
    document = _document(ref=CUSTOMER)
    document["components"]["schemas"]["Sent"]["allOf"] = [{"$ref": "#/components/schemas/Sent"}]
    assert len(facts.read(document, [PATH])) == 5


@pytest.mark.parametrize("word", ["oneOf", "anyOf"])
def test_an_alternative_that_is_gone_is_left_to_people(word):
    """Ours keeps it, and says so."""
    before = _document(ref={word: [{"type": "string"}, {"type": "integer"}]})
    after = _document(ref={word: [{"type": "string"}]})
    kept, conflicts = _merged(before, after)
    assert kept == before["components"]["schemas"]["Sent"]["properties"]
    (conflict,) = conflicts
    assert conflict.endswith("is gone there; it is to be removed by hand")


def test_a_field_that_holds_what_it_is_in_is_left_to_people():
    """It cannot be written out, so that it is told and not brought in."""
    before, after = _document(ref=CUSTOMER), _document(ref=CUSTOMER)
    after["components"]["schemas"]["Sent"]["properties"]["parent"] = {"$ref": "#/components/schemas/Sent"}
    kept, conflicts = _merged(before, after)
    assert kept == {"ref": CUSTOMER}
    (conflict,) = conflicts
    assert conflict.endswith("it holds itself, and is to be added by hand")


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        (
            {"type": "number", "exclusiveMinimum": 0},
            {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        ),
        (
            {"type": "number", "maximum": 5, "exclusiveMaximum": 9},
            {"type": "number", "maximum": 5, "exclusiveMaximum": False},
        ),
        ({"const": "pos"}, {"enum": ["pos"]}),
        (
            {"type": "array", "items": {"type": ["integer", "null"]}},
            {"type": "array", "items": {"type": "integer", "nullable": True}},
        ),
        (
            {"type": "object", "properties": {"a": {"const": 1}}, "anyOf": [{"const": 2}]},
            {"type": "object", "properties": {"a": {"enum": [1]}}, "anyOf": [{"enum": [2]}]},
        ),
    ],
)
def test_what_openapi_3_1_says_is_said_in_3_0(stated, said):
    """A new field comes into ours in the words that ours has for it."""
    kept, conflicts = _merged(_document(ref=CUSTOMER), _document("3.1.0", ref=CUSTOMER, store=stated))
    assert (kept["store"], conflicts) == (said, [])


@pytest.mark.parametrize(
    "stated",
    [
        {"type": ["string", "integer"]},
        {"type": "object", "patternProperties": {"^a": {}}},
        {"type": "array", "items": {"contains": {"type": "string"}}},
    ],
)
def test_what_3_0_has_no_words_for_is_left_to_people(stated):
    """A new field that ours cannot state is told, and not brought in."""
    kept, conflicts = _merged(_document(ref=CUSTOMER), _document("3.1.0", ref=CUSTOMER, store=stated))
    assert kept == {"ref": CUSTOMER}
    (conflict,) = conflicts
    assert "OpenAPI 3.0 has no words for it" in conflict


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"type": "integer"}, {"type": ["integer", "string"]}),
        ({"type": "integer", "minimum": 1}, {"type": "integer", "exclusiveMinimum": 1}),
    ],
)
def test_a_change_that_3_0_has_no_words_for_is_left_to_people(before, after):
    """A rule of a field that ours cannot state is told, and the field stays as it was but for what can be."""
    _, conflicts = _merged(_document(ref=before), _document("3.1.0", ref=after))
    (conflict,) = conflicts
    assert "OpenAPI 3.0 has no words for it" in conflict


def test_a_list_in_two_places_is_two_lists():
    """What comes into two places of ours is written out in both."""
    before = _document(ref={"type": "string"}, old={"type": "string"})
    values = ["a", "b"]
    after = _document(ref={"type": "string", "enum": values}, old={"type": "string", "enum": values})
    kept, _ = _merged(before, after)
    assert kept["ref"]["enum"] == kept["old"]["enum"] == values
    assert kept["ref"]["enum"] is not kept["old"]["enum"]
