"""What the provider changes, brought into ours: what follows, what stays, and what is said."""

import copy
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from contract import deviations, documents, report

ROOT = Path(__file__).resolve().parents[2]
CLAIMS = "/accounts/{aid}/discounts/available_for_receipt/claims"
NOTHING, COMPATIBLE, BREAKING, REFUSED, CRASHED = 0, 1, 2, 3, 4


@pytest.fixture
def upstream():
    """Return what the provider states now, free to be changed."""
    return documents.read_document(ROOT / "openapi/upstream/discounts.yaml")


class Checkout:
    """A copy of the contract, into which a change is brought."""

    def __init__(self, root):
        self.root = root
        for name in ("openapi", "scripts"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        (root / "dintero_claims_client").mkdir()
        shutil.copy(ROOT / "dintero_claims_client/_version.py", root / "dintero_claims_client")
        self.contract = root / "openapi/discounts.yaml"
        self.upstream = root / "openapi/upstream/discounts.yaml"

    def update(self, document, *more, date="2027-01-02"):
        source = self.root / "given.yaml"
        source.write_text(
            document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False)
        )
        return subprocess.run(
            [sys.executable, self.root / "scripts/update_spec.py", source, "--date", date, *more],
            check=False,
            capture_output=True,
            text=True,
        )

    def refuses(self, document, said, *more, code=REFUSED):
        """See that a document is refused with these words, and that nothing changes."""
        before = self.files()
        done = self.update(document, *more)
        assert (done.returncode, done.stdout) == (code, "")
        assert said in done.stderr
        assert self.files() == before

    def files(self):
        return self.contract.read_bytes(), self.upstream.read_bytes()

    def ours(self):
        return documents.read_document(self.contract)

    def problems(self):
        return deviations.problems(
            documents.read_document(self.upstream), self.ours(), list(self.ours()["paths"])
        )


@pytest.fixture
def checkout(tmp_path):
    """Return a copy of the contract."""
    return Checkout(tmp_path)


def _field(schemas, schema, field):
    return schemas[schema]["properties"][field]


def _claim(document):
    return document["components"]["schemas"]["Claim"]


def _ours(checkout, name):
    return checkout.ours()["components"]["schemas"][name]


def test_all_that_differs_is_marked_and_all_marks_are_needed(upstream):
    """Ours differs from what the provider states only where it says why, and says so nowhere else."""
    ours = documents.read_document(ROOT / "openapi/discounts.yaml")
    assert deviations.problems(upstream, ours, list(ours["paths"])) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda d: _field(d, "ClaimRequest", "ref").update(maxLength=5),
            "not marked: .*request.ref: maxLength",
        ),
        (
            lambda d: d["ClaimRequest"]["properties"].update(new={"type": "string"}),
            "not marked: .*request.new: only ours",
        ),
        (lambda d: d["Claim"]["properties"].pop("created_by"), "not marked: .*created_by: only theirs"),
        (
            lambda d: _field(d, "Claim", "created_at").update(format="date"),
            "not marked: .*format is 'date-time' there",
        ),
        (
            lambda d: _field(d, "Claim", "id").update(format="uuid"),
            "nothing differs in format: Upstream adds",
        ),
        (
            lambda d: _field(d, "Claim", "type").update({"x-deviation": "for no reason"}),
            "nothing differs: for no",
        ),
    ],
)
def test_a_difference_without_a_mark_and_a_mark_without_a_difference(upstream, change, said):
    """What is not marked, and what is marked without need, is named with its place."""
    ours = copy.deepcopy(documents.read_document(ROOT / "openapi/discounts.yaml"))
    change(ours["components"]["schemas"])
    problems = deviations.problems(upstream, ours, list(ours["paths"]))
    # A schema of ours is in several places.
    assert problems
    assert all(re.match(said, problem) for problem in problems), problems


def test_the_same_again_changes_nothing(checkout, upstream):
    """A document that states what was stated before changes no byte."""
    before = checkout.files()
    done = checkout.update(upstream)
    assert (done.returncode, done.stdout) == (NOTHING, "# The contract changes: nothing\n")
    assert (checkout.root / "contract-change.md").read_text() == done.stdout
    assert checkout.files() == before


def test_where_ours_was_theirs_it_follows(checkout, upstream):
    """A new field, a limit and a dropped field come into ours; its comments, order and marks stay."""
    _claim(upstream)["properties"]["store"] = {"type": "string", "maxLength": 40}
    _claim(upstream)["properties"]["customer_id"]["maxLength"] = 500
    del _claim(upstream)["properties"]["type"]
    before = checkout.contract.read_text().splitlines()
    done = checkout.update(upstream)
    assert done.returncode == BREAKING
    request, claim = _ours(checkout, "ClaimRequest"), _ours(checkout, "Claim")
    assert request["properties"]["store"] == {"type": "string", "maxLength": 40}
    # All of a claim may be null, what is new too.
    assert claim["properties"]["store"] == {"type": "string", "maxLength": 40, "nullable": True}
    assert request["properties"]["customer_id"]["maxLength"] == 500
    assert "type" not in request["properties"]
    assert "type" not in claim["properties"]
    assert checkout.problems() == []
    after = checkout.contract.read_text().splitlines()
    gone = [line for line in before if line.strip().startswith(("#", "x-deviation")) and line not in after]
    assert gone == []
    assert checkout.ours()["info"]["version"] == "2027-01-02"
    # What they state is stated now: the same again is nothing.
    files = checkout.files()
    assert checkout.update(upstream).returncode == NOTHING
    assert checkout.files() == files


def test_what_ours_changed_on_purpose_stays_and_is_to_be_settled(checkout, upstream):
    """A change of theirs in a place where ours differs is a conflict, told with the reason of the mark."""
    _claim(upstream)["properties"]["customer_id"]["minLength"] = 3
    _claim(upstream)["required"].append("ref")
    done = checkout.update(upstream)
    assert done.returncode == BREAKING
    assert _ours(checkout, "ClaimRequest")["properties"]["customer_id"]["minLength"] == 1
    assert _ours(checkout, "ClaimRequest")["required"] == ["purchase_at", "customer_id", "discounts", "ref"]
    assert "required" not in _ours(checkout, "Claim")
    settle = done.stdout.partition("## To settle")[2]
    for said in (
        "request.customer_id: minLength was None there, and is 3 now; ours is 1, because: Upstream states",
        "response 200[].ref (and in 2 more): required was False there, and is True now; ours is False, ",
    ):
        assert said in settle


def test_one_schema_of_ours_for_what_differs_now_is_a_conflict(checkout, upstream):
    """Where theirs becomes two schemas and ours is one, nothing is taken for the other."""
    other = copy.deepcopy(_claim(upstream))
    other["properties"]["store"] = {"type": "string"}
    upstream["components"]["schemas"]["Other"] = other
    content = upstream["paths"][CLAIMS]["post"]["responses"]["200"]["content"]
    content["application/json"]["schema"]["$ref"] = "#/components/schemas/Other"
    done = checkout.update(upstream)
    assert "store" not in _ours(checkout, "Claim")["properties"]
    assert "response 200.store: is new there; ours has one schema for this and for GET" in done.stdout


def test_operations_and_statuses_that_are_new_are_told(checkout, upstream):
    """What ours has no place for is named, and nothing is guessed."""
    upstream["paths"][CLAIMS]["delete"] = {"responses": {"204": {"description": "gone"}}}
    upstream["paths"][CLAIMS]["post"]["responses"]["202"] = {"description": "later"}
    done = checkout.update(upstream)
    assert f"DELETE {CLAIMS}: is new there; ours does not have this operation" in done.stdout
    assert "response 202: is new there; it is to be added by hand" in done.stdout


def _page(document, path, method):
    """Return a page of documentation with one operation in it, as a document of its own."""
    item = document["paths"][path]
    kept = {key: item[key] for key in (method, "parameters") if key in item}
    slice_ = {**document, "paths": {path: kept}}
    return f"# {method}\n\nWords.\n\n````yaml {method} {path}\n{yaml.safe_dump(slice_)}````\n"


def test_a_page_is_about_its_operation_alone(checkout, upstream):
    """A documentation page brings what its one operation changes; the others stay as they were stated."""
    assert checkout.update(_page(upstream, CLAIMS, "post")).returncode == NOTHING
    # In a schema that other operations of this page's document do not have.
    _claim(upstream)["properties"]["ref"]["maxLength"] = 64
    before = checkout.ours()
    done = checkout.update(_page(upstream, CLAIMS, "post"))
    assert done.returncode == BREAKING
    assert _ours(checkout, "ClaimRequest")["properties"]["ref"]["maxLength"] == 64
    # Ours has one schema for what all operations answer.
    assert "maxLength" not in _ours(checkout, "Claim")["properties"]["ref"]
    assert "response 200.ref: maxLength was None there, and is 64 now; ours has one schema" in done.stdout
    assert checkout.ours()["paths"] == before["paths"]
    stated = documents.read_document(checkout.upstream)
    assert stated["paths"][CLAIMS]["get"] == upstream["paths"][CLAIMS]["get"]


def test_a_page_of_something_else_changes_nothing(checkout, upstream):
    """A page of another operation is refused as a document without the path is."""
    upstream["paths"] = {"/other": {"post": {"responses": {"200": {"description": "ok"}}}}}
    checkout.refuses(_page(upstream, "/other", "post"), f"{CLAIMS} is not in the document")


def test_another_way_in_is_to_be_settled(checkout, upstream):
    """That another authorization is asked for is told, and nothing is guessed."""
    upstream["components"]["securitySchemes"]["JWT"] = {"type": "apiKey", "in": "header", "name": "X-Key"}
    before = checkout.ours()
    done = checkout.update(upstream)
    assert "security was 'http bearer' there, and is 'apiKey header X-Key' now; it is to be" in done.stdout
    assert checkout.ours()["paths"] == before["paths"]


def test_words_alone_are_no_change(checkout, upstream):
    """Other descriptions are told, and change neither ours nor the exit code."""
    before = checkout.contract.read_bytes()
    _claim(upstream)["properties"]["ref"]["description"] = "another"
    done = checkout.update(upstream)
    assert done.returncode == NOTHING
    assert "words only" in done.stdout
    assert checkout.contract.read_bytes() == before


def test_a_document_without_the_path_changes_nothing(checkout, upstream):
    """It is refused with a code of its own, and with the path."""
    upstream["paths"]["/v2" + CLAIMS] = upstream["paths"].pop(CLAIMS)
    said = f"{CLAIMS} is not in the document; it may have moved to /v2{CLAIMS}"
    checkout.refuses(upstream, said)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("nothing", "holds no OpenAPI document"),
        (
            lambda d: _claim(d)["properties"].update(a={"$ref": "#/components/schemas/No"}),
            "refers to nothing",
        ),
        (lambda d: _claim(d)["properties"].update(a={"$ref": "a.yaml"}), "refers to another document"),
        (
            lambda d: d["paths"][CLAIMS]["post"]["responses"].update(default={"$ref": "#/components/no"}),
            "#/components/no: refers to nothing",
        ),
        (
            lambda d: d["components"]["schemas"].update(Claim={"$ref": "#/components/schemas/Claim"}),
            "#/components/schemas/Claim: refers to itself",
        ),
        (
            lambda d: d["components"]["schemas"].update(
                Claim={"allOf": [{"$ref": "#/components/schemas/Claim"}]}
            ),
            "given.yaml: has a schema that is made of itself",
        ),
        (lambda d: _claim(d)["properties"]["ref"].update(maxLength="long"), "given.yaml: is not valid"),
    ],
)
def test_a_document_that_cannot_be_used_changes_nothing(checkout, upstream, document, said):
    """It is refused with the reason."""
    if callable(document):
        document(upstream)
        document = upstream
    checkout.refuses(document, said)


def test_a_contract_that_is_not_valid_is_not_written(checkout, upstream):
    """What comes of the merge is refused where it is no valid contract, and nothing is changed."""
    text = checkout.contract.read_text()
    checkout.contract.write_text(text.replace("operationId: get_claim", "operationId: list_claims"))
    _claim(upstream)["properties"]["store"] = {"type": "string"}
    checkout.refuses(upstream, "openapi/discounts.yaml: is not valid")


def test_a_crash_looks_like_no_verdict(checkout, upstream):
    """A failure that nobody has thought of has an exit code of its own, and changes nothing."""
    (checkout.root / "dintero_claims_client/_version.py").write_text("")
    _claim(upstream)["properties"]["store"] = {"type": "string"}
    checkout.refuses(upstream, "Traceback", code=CRASHED)


def test_a_contract_that_refers_to_nothing_is_not_written(checkout, upstream):
    """A contract with a reference to nothing in it is refused with its name, and nothing is changed."""
    text = checkout.contract.read_text()
    unused = '\n  schemas:\n    Unused: {$ref: "#/components/schemas/No"}\n'
    checkout.contract.write_text(text.replace("\n  schemas:\n", unused))
    _claim(upstream)["properties"]["store"] = {"type": "string"}
    checkout.refuses(upstream, "openapi/discounts.yaml: /components/schemas/No: refers to nothing")


def test_a_report_that_cannot_be_written_looks_like_no_verdict(checkout, upstream):
    """Where the report cannot be written nothing is changed, and the exit code is that of a failure."""
    _claim(upstream)["properties"]["store"] = {"type": "string"}
    report = checkout.root / "nowhere/report.md"
    checkout.refuses(upstream, "Traceback", "--report", str(report), code=CRASHED)


def test_what_is_stated_is_written_without_anchors(checkout, upstream):
    """What one thing becomes in several places is written in each of them."""
    page = _page(upstream, CLAIMS, "get")
    document = {
        "swagger": "2.0",
        "info": {"title": "Discounts", "version": "1"},
        "consumes": ["application/json", "application/xml"],
        "produces": ["application/json"],
        **_swagger(documents.read_document(checkout.upstream)),
    }
    (body,) = (one for one in document["paths"][CLAIMS]["post"]["parameters"] if one.get("in") == "body")
    body["schema"] = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
    assert checkout.update(document).returncode == BREAKING
    checkout.update(page)
    stated = checkout.upstream.read_text()
    assert "application/xml" in stated
    assert not re.search(r"[&*]id\d", stated)


def test_swagger_2_is_as_good(checkout):
    """The same said in Swagger 2.0 is the same; it is kept as it was stated."""
    document = {
        "swagger": "2.0",
        "info": {"title": "Discounts", "version": "1"},
        "host": "api.dintero.com",
        "basePath": "/v1",
        "schemes": ["https"],
        "consumes": ["application/json"],
        "produces": ["application/json"],
        **_swagger(documents.read_document(checkout.upstream)),
    }
    done = checkout.update(document)
    assert (done.returncode, done.stderr) == (NOTHING, "")
    assert documents.is_swagger(documents.read_document(checkout.upstream))
    _swagger_claim = document["definitions"]["Claim"]
    _swagger_claim["properties"]["store"] = {"type": "string"}
    assert checkout.update(document).returncode == COMPATIBLE
    assert _ours(checkout, "ClaimRequest")["properties"]["store"] == {"type": "string"}


def _swagger(document):
    """Say in Swagger 2.0 what a document of OpenAPI 3 says; only what ours needs."""
    text = yaml.safe_dump(document["paths"]).replace("#/components/schemas/", "#/definitions/")
    paths = yaml.safe_load(text.replace("#/components/parameters/", "#/parameters/"))
    for item in paths.values():
        for operation in (value for key, value in item.items() if key != "parameters"):
            for response in operation["responses"].values():
                if "content" in response:
                    response["schema"] = response.pop("content")["application/json"]["schema"]
            body = operation.pop("requestBody", None)
            if body is not None:
                schema = body["content"]["application/json"]["schema"]
                operation.setdefault("parameters", []).append(
                    {"name": "body", "in": "body", "required": True, "schema": schema}
                )
        for holder in item.values():
            for parameter in holder if isinstance(holder, list) else holder.get("parameters", ()):
                if parameter.get("in") != "body":
                    parameter.update(parameter.pop("schema", {}))
    aid = dict(document["components"]["parameters"]["aid"])
    return {
        "security": document["security"],
        # Swagger 2.0 has no word for a bearer.
        "securityDefinitions": {"JWT": {"type": "apiKey", "name": "Authorization", "in": "header"}},
        "paths": paths,
        "parameters": {"aid": {**aid, **aid.pop("schema")}},
        "definitions": document["components"]["schemas"],
    }


@pytest.mark.parametrize(
    ("version", "level", "asked"),
    [
        ("0.1.0", report.Level.BREAKING, "0.2.0"),
        ("0.1.0", report.Level.COMPATIBLE, "0.1.1"),
        ("1.4.2", report.Level.BREAKING, "2.0.0"),
        ("1.4.2", report.Level.COMPATIBLE, "1.5.0"),
        ("1.4.2", report.Level.DOCUMENTATION, "1.4.2"),
    ],
)
def test_the_version_that_a_change_asks_for(version, level, asked):
    """It is the next one by Semantic Versioning; before 1.0, what breaks is a minor one."""
    assert report.next_version(version, level) == asked
