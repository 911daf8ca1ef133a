"""The doctor: what it shows of the settings, what it asks of the API, and how it tells what it found."""

import asyncio
import base64
import json
import re
import socket
from pathlib import Path

import pytest
import yaml

from dintero_claims_client import SPEC_VERSION, ConfigurationError
from dintero_claims_client._generated.contract import SPEC_SHA256
from dintero_claims_client.cli import doctor_api, doctor_scope
from dintero_claims_client.cli.doctor_network import Server
from dintero_claims_client.cli.doctor_tls import check_tls
from dintero_claims_client.sandbox import Operation, Sandbox

SECRET = "secret-of-the-test"
ORDER = [
    "settings", "secret", "environment", "proxy", "clock", "network", "TLS", "token", "scope", "list",
    "contract", "journal",
]  # fmt: skip


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    """Keep the proxies of whoever runs the tests out of them."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def no_dns(monkeypatch):
    """Let no name be known, so that nothing is sent anywhere."""

    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", fail)


def settings(finished) -> dict[str, tuple[str | None, str]]:
    """Return the settings of a report for machines: value and source by name."""
    return {item["name"]: (item["value"], item["source"]) for item in finished.result["settings"]}


def checks(finished) -> dict[str, tuple[str, str]]:
    """Return the checks of a report for machines: status, and what was said, by name."""
    assert finished.err == ""
    told = finished.result
    assert told["exit_code"] == finished.code
    assert told["ok"] == (finished.code == 0) == all(check["ok"] for check in told["checks"])
    found = {
        check["name"]: (check["status"], f"{check['message']} | {check['advice']}")
        for check in told["checks"]
    }
    return found | {check["name"]: ("skipped", check["reason"]) for check in told["skipped"]}


def diagnosis(finished) -> tuple[int, str, str]:
    """Return the exit code, the one check that failed, and what was said about it."""
    ((name, said),) = [
        (name, said) for name, (status, said) in checks(finished).items() if status == "failed"
    ]
    return finished.code, name, said


def jwt(**fields) -> str:
    """Return a token with these fields, which nobody has signed."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({}, fields)
    ]
    return f"{'.'.join(parts)}.signature"


@pytest.mark.parametrize(
    ("account_id", "kind", "status"), [("T12345678", "test", "ok"), ("P12345678", "production", "warning")]
)
def test_all_is_well(run, serve, claim_file, account_id, kind, status):
    """Where all is well it says so for each check, reads once, and claims nothing."""
    sandbox = serve(Sandbox(account_id))
    assert run("claim", claim_file(), "--live").code == 0
    sandbox.ledger.requests.clear()
    found = checks(run("doctor", "--json"))
    assert [name for name, (status, _) in found.items() if status == "ok"] == [
        *ORDER[:2],
        *(["environment"] if status == "ok" else []),
        "proxy",
        "network",
        "token",
        "list",
        "contract",
    ]
    assert f"complete, for a {kind} account" in found["settings"][1]
    assert found["environment"][0] == status
    requests = sandbox.ledger.requests
    assert requests == {(Operation.TOKEN, "200"): 1, (Operation.LIST, "200"): 1}


def test_every_check_is_listed(run, sandbox):
    """For people each check has a line, in this order, also those that were skipped."""
    finished = run("doctor")
    assert finished.code == 0
    found = re.findall(r"^(ok|WARNING|FAILED|skipped): (\w+): .", finished.out, re.MULTILINE)
    assert [name for _, name in found] == ORDER
    assert {name: word for word, name in found}["journal"] == "skipped"


def test_where_settings_come_from(run, sandbox, monkeypatch):
    """Each setting has its value and its source; the secret is only said to be set."""
    monkeypatch.setenv("DINTERO_ACCOUNT_ID", "T00000000")
    finished = run("doctor", "--json", "--account-id", sandbox.account_id)
    assert finished.code == 0
    assert finished.result["ok"] is True
    assert settings(finished) == {
        "account_id": (sandbox.account_id, "--account-id"),
        "client_id": (sandbox.client_id, "$DINTERO_CLIENT_ID"),
        "client_secret": ("set", "$DINTERO_CLIENT_SECRET"),
        "base_url": (f"{settings(finished)['base_url'][0]}", "$DINTERO_BASE_URL"),
        "timeout": ("30.0", "default"),
        "trust_env": ("False", "default"),
    }


def test_which_contract(run, sandbox):
    """It tells which contract the library was made from, for people and for machines."""
    assert run("doctor").out.splitlines()[0] == f"contract {SPEC_VERSION} (sha256 {SPEC_SHA256})"
    contract = run("doctor", "--json").result["contract"]
    assert contract == {"version": SPEC_VERSION, "sha256": SPEC_SHA256}


@pytest.fixture
def secret_file(sandbox, monkeypatch, tmp_path):
    """Return the file that the secret comes from, which only its owner may read."""
    file = tmp_path / "secret"
    file.write_text(f"{sandbox.client_secret}\n", encoding="utf-8")
    file.chmod(0o600)
    monkeypatch.delenv("DINTERO_CLIENT_SECRET")
    monkeypatch.setenv("DINTERO_CLIENT_SECRET_FILE", str(file))
    return file


def test_a_secret_in_a_file(run, sandbox, secret_file):
    """A secret that comes from a file is said to, and is not shown."""
    finished = run("doctor", "--json")
    assert finished.code == 0
    assert settings(finished)["client_secret"] == ("set", "$DINTERO_CLIENT_SECRET_FILE")
    assert checks(finished)["secret"][0] == "ok"
    assert sandbox.client_secret not in finished.out


@pytest.mark.parametrize(("mode", "status"), [(0o600, "ok"), (0o640, "warning"), (0o644, "warning")])
def test_a_secret_file_that_others_may_read(run, secret_file, mode, status):
    """A file that others may read works, with a warning that says how to mend it."""
    secret_file.chmod(mode)
    finished = run("doctor", "--json")
    assert finished.code == 0
    found, said = checks(finished)["secret"]
    assert found == status
    assert (f"its mode is {mode:03o}" in said and "chmod 600" in said) == (status == "warning")


def test_an_empty_secret_file(run, sandbox, secret_file):
    """An empty file is found without a request, and asking for a token is left."""
    secret_file.write_text("\n", encoding="utf-8")
    finished = run("doctor", "--json")
    code, check, said = diagnosis(finished)
    assert (code, check) == (2, "secret")
    assert "is empty" in said
    assert checks(finished)["token"] == ("skipped", "see secret")
    assert not sandbox.ledger.requests


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: (file.unlink(), file.mkdir())])
def test_a_secret_file_that_cannot_be_read(run, secret_file, spoil):
    """What is no file that can be read is a wrong setting; the others are shown, and the way is looked at."""
    spoil(secret_file)
    finished = run("doctor", "--json")
    code, check, said = diagnosis(finished)
    assert (code, check) == (2, "settings")
    assert "that this user can read" in said
    assert settings(finished)["client_secret"] == (
        None,
        "cannot be read: see $DINTERO_CLIENT_SECRET and $DINTERO_CLIENT_SECRET_FILE",
    )
    assert settings(finished)["account_id"][0] == "T12345678"
    assert checks(finished)["network"][0] == "ok"


def test_a_secret_file_that_is_gone_since(run, secret_file, monkeypatch):
    """A file that goes away while the doctor looks is a wrong setting too."""
    reads = iter([secret_file.read_text(encoding="utf-8")] * 2)
    monkeypatch.setattr(
        Path, "read_text", lambda *_, **__: next(reads, None) or Path("/nowhere/at/all").stat()
    )
    code, check, said = diagnosis(run("doctor", "--json"))
    assert (code, check) == (2, "secret")
    assert "cannot be read: ConfigurationError" in said


@pytest.mark.parametrize(
    ("secret", "status", "words"),
    [
        (f'"{SECRET}"', "warning", "is in quotes"),
        (f"\u2018{SECRET}\u2019", "warning", "is in quotes"),
        (f"{SECRET} ", "warning", "white space"),
        (f"DINTERO_CLIENT_SECRET={SECRET}", "warning", "name of a variable"),
        (f"{SECRET}\n", "failed", "white space"),
        (f"{SECRET}\nmore", "failed", "a line break in it"),
        (f"\ufeff{SECRET}", "failed", "cannot be seen"),
    ],
)
def test_a_secret_that_was_copied_with_more(run, sandbox, monkeypatch, secret, status, words):
    """What came along with a secret is named, before and beside what the server says to it."""
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", secret)
    finished = run("doctor", "--json")
    found, said = checks(finished)["secret"]
    assert (found, finished.code) == (status, 2 if status == "failed" else 3)
    assert words in said
    assert SECRET not in finished.out


@pytest.mark.parametrize("value", ['"{}"', " {}"])
def test_other_settings_that_were_copied_with_more(run, sandbox, monkeypatch, value):
    """An account in quotes is refused, and a client in quotes is asked about, both with the reason."""
    monkeypatch.setenv("DINTERO_CLIENT_ID", value.format(sandbox.client_id))
    finished = run("doctor", "--json")
    status, said = checks(finished)["settings"]
    assert (status, finished.code) == ("warning", 3)
    assert "client_id " in said
    monkeypatch.setenv("DINTERO_ACCOUNT_ID", value.format(sandbox.account_id))
    code, check, said = diagnosis(run("doctor", "--json"))
    assert (code, check) == (2, "settings")
    assert "account_id " in said.partition("|")[2]


def test_nothing_is_set(run, monkeypatch):
    """Without settings, those that are missing are named, and the way to the server is looked at."""
    monkeypatch.setenv("DINTERO_BASE_URL", "http://127.0.0.1:1/v1")
    finished = run("doctor")
    assert finished.code == 2
    assert "missing: set $DINTERO_CLIENT_SECRET" in finished.out
    assert "FAILED: settings: account_id: is missing; set DINTERO_ACCOUNT_ID" in finished.out
    assert (
        "$DINTERO_ACCOUNT_ID, $DINTERO_CLIENT_ID, $DINTERO_CLIENT_SECRET; without an account" in finished.out
    )
    assert "FAILED: network: " in finished.out
    assert "skipped: token: see settings" in finished.out


def test_the_address_that_is_not_set(run, no_dns):
    """Without an address it is Dintero's, and a test account there is as it should be."""
    finished = run("doctor", "--json", "--account-id", "T12345678")
    assert settings(finished)["base_url"] == ("https://api.dintero.com/v1", "default")
    assert checks(finished)["environment"] == ("ok", "test account T12345678 at api.dintero.com | None")


def test_an_address_that_is_not_encrypted(run, no_dns, monkeypatch):
    """http:// is refused in words of the command, and not called this machine unless it is."""
    monkeypatch.setenv("DINTERO_CLIENT_ID", "client-1")
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", "secret-of-mine")
    options = ["--account-id", "T12345678", "--base-url", "http://api.dintero.com/v1"]
    finished = run("doctor", *options)
    assert finished.code == 2
    assert "http:// sends the secret in the clear; use https://\n" in finished.out
    assert "to this machine" not in finished.out
    listed = run("list", *options)
    assert listed.err.startswith("error: base_url: http:// sends the secret in the clear; use https://\n")


def test_http_to_another_machine(monkeypatch):
    """That http:// is not encrypted is said of another machine, where there is a way to it."""
    for host, words in (("127.0.0.1", "to this machine"), ("192.0.2.1", "nothing is encrypted")):
        check, _ = asyncio.run(check_tls(Server.of(f"http://{host}/v1"), None, seconds=1))
        assert (check.status, words in check.message) == ("skipped", True)


def test_a_production_account(run, no_dns):
    """A production account is said loudly, with what a claim does there."""
    finished = run("doctor", "--account-id", "P12345678")
    line = next(line for line in finished.out.splitlines() if line.startswith("WARNING: environment: "))
    assert "PRODUCTION: production account P12345678 at api.dintero.com" in line
    assert "spends a customer's discount" in line


def test_a_production_account_at_a_sandbox(run, sandbox):
    """A production account with a sandbox's address is said to be a mixture, besides being refused."""
    finished = run("doctor", "--json", "--account-id", "P12345678")
    assert finished.code == 3
    status, said = checks(finished)["environment"]
    assert status == "warning"
    assert "PRODUCTION, and yet a stand-in" in said
    assert "https://api.dintero.com/v1" in said


def test_an_environment_that_contradicts_itself(run, monkeypatch):
    """Two secrets are one too many; all else is shown, and looked at."""
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("DINTERO_CLIENT_SECRET_FILE", "secret")
    monkeypatch.setenv("DINTERO_BASE_URL", "not a URL")
    monkeypatch.setenv("DINTERO_CLIENT_ID", "client-1")
    finished = run("doctor", "--json", "--account-id", "T12345678")
    assert settings(finished)["account_id"] == ("T12345678", "--account-id")
    code, check, said = diagnosis(finished)
    assert (code, check) == (2, "settings")
    assert "one of them" in said
    assert "not both" in said
    assert checks(finished)["network"] == ("skipped", "base_url names no server")


@pytest.mark.parametrize("password", ["hunter-two", "hunter/-two", "1/hunter@-two"])
def test_credentials_in_the_address(run, sandbox, no_dns, password):
    """A password in a base URL is refused, and not shown, also where it has a slash or an @ in it."""
    finished = run("doctor", "--json", "--base-url", f"https://user:{password}@api.dintero.com/v1")
    assert checks(finished)["settings"][0] == "failed"
    assert not re.search("hunter|-two", finished.out + finished.err)
    assert settings(finished)["base_url"][0] == "https://[secret]@api.dintero.com/v1"


def test_a_wrong_account_id(run, sandbox):
    """An account id that cannot be one is a wrong setting; another account's is refused with the token."""
    assert diagnosis(run("doctor", "--json", "--account-id", "12345678"))[:2] == (2, "settings")
    code, check, said = diagnosis(run("doctor", "--json", "--account-id", "T00000000"))
    assert (code, check) == (3, "token")
    assert "not for this account" in said


def test_a_wrong_secret(run, sandbox, monkeypatch):
    """A secret that the token endpoint refuses is told from a token that the API refuses."""
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", SECRET)
    finished = run("doctor", "--json")
    code, check, said = diagnosis(finished)
    assert (code, check) == (3, "token")
    assert "the secret is wrong, or the secret has expired" in said
    assert checks(finished)["list"] == ("skipped", "there is no token")


def test_a_token_that_the_api_refuses(run, sandbox):
    """A token that the API refuses twice was good for the token endpoint."""
    sandbox.expire_tokens(operation=Operation.LIST, times=2)
    code, check, said = diagnosis(run("doctor", "--json"))
    assert (code, check) == (3, "list")
    assert "refuses a token that was just given" in said


def test_a_token_endpoint_in_trouble(run, sandbox):
    """A token is asked for once: who looks for what is wrong does not wait until it is well again."""
    sandbox.fail_next(503, operation=Operation.TOKEN)
    code, check, said = diagnosis(run("doctor", "--json"))
    assert (code, check) == (1, "token")
    assert "try again later" in said
    assert sandbox.ledger.requests == {(Operation.TOKEN, "503"): 1}


def test_a_wrong_path(run, sandbox):
    """An address without its version has no token endpoint."""
    base_url = settings(run("doctor", "--json"))["base_url"][0]
    code, check, said = diagnosis(run("doctor", "--json", "--base-url", base_url.removesuffix("/v1")))
    assert (code, check) == (2, "token")
    assert "there is no such address" in said


@pytest.mark.parametrize(
    ("method", "answer", "code", "check", "words"),
    [
        ("POST", (200, b"<html>Log in</html>"), 1, "token", "something else than the API"),
        ("POST", (302, b""), 2, "token", "there is no such address"),
        ("POST", (404, b""), 2, "token", "there is no such address"),
        ("POST", (503, b""), 1, "token", "try again later"),
        ("POST", (429, b""), 1, "token", "try again later"),
        ("POST", None, 1, "token", "the connection broke"),
        ("GET", (200, b"<html>Log in</html>"), 1, "list", "something else than the API"),
        ("GET", (302, b""), 1, "list", "there is no such address"),
        ("GET", (400, b""), 1, "list", "None"),
        ("GET", (403, b""), 1, "list", "the scope write:discounts, and check account_id"),
        ("GET", (404, b""), 1, "list", "there is no such address"),
        ("GET", (500, b""), 1, "list", "try again later"),
        ("GET", None, 1, "list", "the connection broke"),
    ],
)
def test_what_a_server_may_answer(run, answers, method, answer, code, check, words):
    """What a server answers is put into words, with what to do."""
    answers.by_method[method] = answer
    found_code, found_check, said = diagnosis(run("doctor", "--json"))
    assert (found_code, found_check) == (code, check)
    assert words in said


def test_in_words(run, answers):
    """For people, a check that failed is followed by what to do."""
    answers.by_method["GET"] = (403, b"")
    finished = run("doctor")
    assert finished.err == ""
    lines = finished.out.splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith("FAILED: "))
    assert lines[place].startswith("FAILED: list: 403")
    assert lines[place + 1].startswith("  ask whoever manages")


def test_a_server_that_writes_to_the_terminal(run, answers):
    """What a server says is shown, and obeyed by no terminal."""
    body = {"error": {"message": "go \x1b[2J away"}}
    answers.by_method["GET"] = (403, json.dumps(body).encode())
    assert "FAILED: list: 403 go \\x1b[2J away" in run("doctor").out


def test_nobody_answers(run, answers):
    """A server that takes the connection and says nothing is waited for as long as was asked."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        base_url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        finished = run("doctor", "--json", "--base-url", base_url, "--timeout", "1")
    code, check, said = diagnosis(finished)
    assert (code, check) == (1, "token")
    assert "nobody answered in time" in said


@pytest.mark.parametrize(
    ("told", "status", "words"),
    [
        ({"scope": "read:discounts write:discounts"}, "ok", "it has write:discounts"),
        ({"scope": ["admin:discounts"]}, "ok", "it has admin:discounts"),
        ({"scopes": ["write:discounts:/available_for_receipt"]}, "ok", "available_for_receipt"),
        (
            {"permissions": ["read:discounts"], "scope": 7},
            "warning",
            "the token has read:discounts; claiming needs",
        ),
        ({"scope": ""}, "warning", "the token has no scope"),
        ({"scope": "not-a-scope SECRET"}, "warning", "the token has no scope"),
        ({"sub": "client-1"}, "skipped", "does not say"),
    ],
)
def test_what_a_token_allows(run, answers, told, status, words):
    """A token that lists its scopes and has none for claiming is warned of; the token itself is not shown."""
    token = jwt(**told)
    answers.by_method["POST"] = (200, json.dumps({"access_token": token, "expires_in": 3600}).encode())
    finished = run("doctor", "--json")
    assert finished.code == 0
    found, said = checks(finished)["scope"]
    assert found == status
    assert words in said
    assert not any(part in finished.out for part in [*token.split(".")[1:], "not-a-scope"])


def test_a_missing_scope(run, answers):
    """A 403 to the list and a token without the scope are one cause, which is named."""
    token = jwt(scope="read:discounts")
    answers.by_method["POST"] = (200, json.dumps({"access_token": token, "expires_in": 3600}).encode())
    answers.by_method["GET"] = (403, b"")
    finished = run("doctor", "--json")
    assert finished.code == 1
    found = checks(finished)
    assert found["scope"][0] == found["list"][0] == "failed"
    assert "to give it write:discounts" in found["scope"][1]


@pytest.mark.parametrize(
    "token",
    ["opaque", "a.b", "a.!.c", "a.bm9uZQ.c", "a.W10.c", f"a.{base64.b64encode(b'[' * 100_000).decode()}.c"],
)
def test_tokens_that_say_nothing(token):
    """A token that is no JWT is not read."""
    assert doctor_scope.scopes_in(token) is None


def test_the_scopes_are_the_contracts():
    """The scopes that are enough for claiming are those of the contract."""
    contract = yaml.safe_load((Path(__file__).parents[2] / "openapi" / "discounts.yaml").read_text())
    path = contract["paths"]["/accounts/{aid}/discounts/available_for_receipt/claims"]
    assert list(doctor_scope.CLAIMING) == path["post"]["x-scopes"]


def test_a_secret_that_is_gone_for_the_token():
    """The file may go away after all has been looked at: then it is named."""
    assert "DINTERO_CLIENT_SECRET_FILE" in doctor_api._advice(
        "token", ConfigurationError("client_secret: failed")
    )
