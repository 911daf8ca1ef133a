"""The doctor on answers that another contract has, and on a sandbox of another version."""

import json

import pytest

from dintero_claims_client import SPEC_VERSION
from dintero_claims_client._generated.contract import SPEC_SHA256
from dintero_claims_client.cli.doctor_contract import check_contract

from .conftest import CLAIM
from .test_doctor import checks, diagnosis

KNOWN = CLAIM | {"id": "claim-1", "created_at": "2026-11-07T05:31:56Z", "deleted_at": None}


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({}, "ok", f"the fields of the contract {SPEC_VERSION}, and no others"),
        ({"state": "open", "amount": 1}, "warning", "does not know: amount, state"),
        ({"discounts": [{"id": "d", "campaign": 1}]}, "warning", "does not know: discounts[].campaign"),
        ({"discounts": [{"refs": [{"unit": "g"}]}]}, "warning", "does not know: discounts[].refs[].unit"),
        ({"discounts": None}, "ok", "and no others"),
        ({"discounts": "all"}, "warning", "of another form than the contract's: discounts"),
        (
            {"discounts": [{"refs": [{"amount": "1"}]}]},
            "warning",
            "form than the contract's: discounts[].refs[].amount",
        ),
        ({"discounts": [{"id": 1}]}, "warning", "of another form than the contract's: discounts[].id"),
        ({"purchase_at": "now", "type": 1}, "warning", "form than the contract's: purchase_at, type"),
        ({"customer_id": ...}, "warning", "a claim has no customer_id"),
        ({"purchase_at": ..., "when": "now"}, "warning", "does not know: when; and no purchase_at"),
        ({"id": ...}, "failed", "a claim has no id"),
        ({"id": 7}, "failed", "of another form than the contract's: id"),
    ],
)
def test_a_claim_of_another_contract(run, answers, changes, status, words):
    """Fields that are new, gone or of another form are named, with the contract that this version knows."""
    claim = {name: value for name, value in (KNOWN | changes).items() if value is not ...}
    answers.by_method["GET"] = (200, json.dumps([claim]).encode())
    finished = run("doctor", "--json")
    assert finished.code == (1 if status == "failed" else 0)
    found, said = checks(finished)["contract"]
    assert found == status
    assert words in said
    assert (f"this version knows the contract {SPEC_VERSION}; look for" in said) == (status != "ok")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"next": null, "claims": []}', "the list is an object and no array; its fields: claims, next"),
        (b'"claims"', "the list is no array of objects"),
        (b"[1]", "the list is no array of objects"),
    ],
)
def test_a_list_of_another_form(run, answers, body, words):
    """A list that is not one is of another contract, and cannot be read."""
    answers.by_method["GET"] = (200, body)
    found = checks(run("doctor", "--json"))
    assert found["list"][0] == found["contract"][0] == "failed"
    assert words in found["contract"][1]


@pytest.mark.parametrize("body", [b"<html>", b"[]x", b"[" * 100_000])
def test_an_answer_that_is_no_list(run, answers, body):
    """What is no JSON says nothing of a contract."""
    answers.by_method["GET"] = (200, body)
    finished = run("doctor", "--json")
    assert diagnosis(finished)[1] == "list"
    assert checks(finished)["contract"] == ("skipped", "no claim was read")


def test_an_account_without_claims(run, answers):
    """Where there is no claim there is nothing to compare."""
    found = checks(run("doctor", "--json"))
    assert found["contract"] == ("skipped", "the account has no claim to compare with")


def test_the_sandbox_has_the_same(run, sandbox):
    """A sandbox of the same version is known by its contract, also without a claim."""
    found = checks(run("doctor", "--json"))
    assert found["contract"][0] == "ok"


def test_a_sandbox_of_another_version(run, sandbox, monkeypatch):
    """A sandbox of another contract is told, with the later of both to look for."""
    monkeypatch.setattr("dintero_claims_client.cli.doctor_contract.SPEC_VERSION", "2020-01-01")
    finished = run("doctor", "--json")
    assert finished.code == 0
    found, said = checks(finished)["contract"]
    assert found == "warning"
    assert f"the sandbox has the contract {SPEC_VERSION} (sha256 {SPEC_SHA256[:8]})" in said
    assert f"whose changelog names the contract {SPEC_VERSION}" in said


def test_an_edited_contract_of_the_same_version():
    """Two documents of one version that differ are two contracts."""
    found = check_contract([], None, (SPEC_VERSION, "0" * 64))
    assert found.status == "warning"
