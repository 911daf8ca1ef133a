"""The doctor: what it shows of the settings, and what it says of the common mistakes."""

import socket

import pytest
import trustme

from dintero_claims_client import SPEC_VERSION, APIStatusError, AuthenticationError, ConfigurationError
from dintero_claims_client._generated.contract import SPEC_SHA256
from dintero_claims_client.cli import doctor
from dintero_claims_client.sandbox import Operation, Sandbox

SECRET = "secret-of-the-test"


def settings(finished) -> dict[str, tuple[str | None, str]]:
    """Return the settings of a report for machines: value and source by name."""
    return {item["name"]: (item["value"], item["source"]) for item in finished.result["settings"]}


def diagnosis(finished) -> tuple[int, str, str]:
    """Return the exit code, the check that failed, and what was said about it."""
    assert finished.err == ""
    *passed, failed = finished.result["checks"]
    assert all(check["ok"] for check in passed)
    assert failed["ok"] is False
    assert finished.result["ok"] is False
    assert finished.result["exit_code"] == finished.code
    return finished.code, failed["name"], f"{failed['message']} | {failed['advice']}"


@pytest.mark.parametrize(("account_id", "kind"), [("T12345678", "test"), ("P12345678", "production")])
def test_all_is_well(run, serve, claim_file, account_id, kind):
    """Where all is well it says so for each check, reads once, and claims nothing."""
    sandbox = serve(Sandbox(account_id))
    assert run("claim", claim_file(), "--live").code == 0
    sandbox.ledger.requests.clear()
    finished = run("doctor")
    assert finished.code == 0
    assert finished.err == ""
    assert finished.out.splitlines()[-3:] == [
        f"ok: settings: complete, for a {kind} account",
        "ok: token: the credentials are good",
        "ok: list: claims can be read",
    ]
    requests = sandbox.ledger.requests
    assert requests == {(Operation.TOKEN, "200"): 1, (Operation.LIST, "200"): 1}


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
    }


def test_which_contract(run, sandbox):
    """It tells which contract the library was made from, for people and for machines."""
    assert run("doctor").out.splitlines()[0] == f"contract {SPEC_VERSION} (sha256 {SPEC_SHA256})"
    contract = run("doctor", "--json").result["contract"]
    assert contract == {"version": SPEC_VERSION, "sha256": SPEC_SHA256}


def test_a_secret_in_a_file(run, sandbox, monkeypatch, tmp_path):
    """A secret that comes from a file is said to."""
    file = tmp_path / "secret"
    file.write_text(sandbox.client_secret, encoding="utf-8")
    monkeypatch.delenv("DINTERO_CLIENT_SECRET")
    monkeypatch.setenv("DINTERO_CLIENT_SECRET_FILE", str(file))
    finished = run("doctor", "--json")
    assert finished.code == 0
    assert settings(finished)["client_secret"] == ("set", "$DINTERO_CLIENT_SECRET_FILE")
    assert sandbox.client_secret not in finished.out


def test_nothing_is_set(run):
    """Without settings, those that are missing are named with their variables."""
    finished = run("doctor")
    assert finished.code == 2
    assert "missing: set $DINTERO_CLIENT_SECRET" in finished.out
    assert "https://api.dintero.com/v1" in finished.out
    assert "FAILED: settings: account_id: is missing; set DINTERO_ACCOUNT_ID" in finished.out


def test_an_environment_that_contradicts_itself(run, monkeypatch):
    """Two secrets are one too many; what the environment holds is then not known, and not shown."""
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", SECRET)
    monkeypatch.setenv("DINTERO_CLIENT_SECRET_FILE", "secret")
    finished = run("doctor", "--json", "--account-id", "T12345678")
    assert settings(finished) == {"account_id": ("T12345678", "--account-id")}
    code, check, said = diagnosis(finished)
    assert (code, check) == (2, "settings")
    assert "one of them" in said
    assert run("doctor").out.splitlines()[1].startswith("FAILED: settings: ")


def test_credentials_in_the_address(run, sandbox):
    """A password in a base URL is refused, and not shown."""
    finished = run("doctor", "--json", "--base-url", "https://user:hunter-two@api.dintero.com/v1")
    assert diagnosis(finished)[:2] == (2, "settings")
    assert "hunter-two" not in finished.out
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
    code, check, said = diagnosis(run("doctor", "--json"))
    assert (code, check) == (3, "token")
    assert "the secret is wrong" in said


def test_a_token_that_the_api_refuses(run, sandbox):
    """A token that the API refuses twice was good for the token endpoint."""
    sandbox.expire_tokens(operation=Operation.LIST, times=2)
    code, check, said = diagnosis(run("doctor", "--json"))
    assert (code, check) == (3, "list")
    assert "refuses a token that was just given" in said


def test_a_wrong_path(run, sandbox):
    """An address without its version has no token endpoint."""
    base_url = settings(run("doctor", "--json"))["base_url"][0]
    code, check, said = diagnosis(run("doctor", "--json", "--base-url", base_url.removesuffix("/v1")))
    assert (code, check) == (3, "token")
    assert "there is no such address" in said


@pytest.mark.parametrize(
    ("method", "answer", "code", "check", "words"),
    [
        ("POST", (200, b"<html>Log in</html>"), 1, "token", "something else than the API"),
        ("POST", (302, b""), 3, "token", "there is no such address"),
        ("POST", (503, b""), 1, "server", "try again later"),
        ("POST", (429, b""), 1, "server", "try again later"),
        ("POST", None, 1, "token", "the connection broke"),
        ("GET", (200, b"<html>Log in</html>"), 1, "list", "something else than the API"),
        ("GET", (200, b'{"claims": []}'), 1, "list", "something else than the API"),
        ("GET", (302, b""), 1, "list", "there is no such address"),
        ("GET", (400, b""), 1, "list", "None"),
        ("GET", (403, b""), 1, "list", "scope on discounts"),
        ("GET", (404, b""), 1, "list", "there is no such address"),
        ("GET", (500, b""), 1, "server", "try again later"),
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
    *_, token, failed, advice = finished.out.splitlines()
    assert token == "ok: token: the credentials are good"
    assert failed.startswith("FAILED: list: 403")
    assert advice.startswith("  ask whoever manages")


def test_nobody_listens(run, answers):
    """A port on which nobody listens is said to be one."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        code, check, said = diagnosis(run("doctor", "--json", "--base-url", f"http://127.0.0.1:{port}/v1"))
    assert (code, check) == (1, "token")
    assert "nobody listens there" in said


def test_nobody_answers(run, answers):
    """A server that takes the connection and says nothing is waited for as long as was asked."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        base_url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        finished = run("doctor", "--json", "--base-url", base_url, "--timeout", "0.1")
    code, check, said = diagnosis(finished)
    assert (code, check) == (1, "token")
    assert "nobody answered in time" in said


def test_a_host_without_a_name(run, answers, monkeypatch):
    """A name that cannot be resolved is said to be the reason."""

    def fail(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    code, check, said = diagnosis(run("doctor", "--json", "--base-url", "https://api.dintero.invalid/v1"))
    assert (code, check) == (1, "token")
    assert "the name of the host is not known" in said


def test_a_certificate_that_is_not_trusted(run, serve):
    """A certificate that is not trusted is told from a server that is not there."""
    certificate = trustme.CA().issue_cert("127.0.0.1")
    with (
        certificate.private_key_pem.tempfile() as key,
        certificate.cert_chain_pems[0].tempfile() as chain,
    ):
        serve(Sandbox(), certfile=chain, keyfile=key)
        code, check, said = diagnosis(run("doctor", "--json"))
    assert (code, check) == (1, "token")
    assert "whose authority must be trusted" in said


def test_a_server_without_tls(run, sandbox):
    """A server that speaks no TLS at an https:// address is told from one that is not there."""
    base_url = settings(run("doctor", "--json"))["base_url"][0]
    finished = run("doctor", "--json", "--base-url", base_url.replace("http:", "https:"))
    code, check, said = diagnosis(finished)
    assert (code, check) == (1, "token")
    assert "speaks no TLS" in said


def test_a_secret_file_that_is_gone(run, answers, monkeypatch):
    """A secret's file that cannot be read any more when the token is fetched is a wrong setting."""

    def fail():
        raise OSError

    monkeypatch.setattr(
        "dintero_claims_client.cli.connection.Connection.options", lambda _: {"client_secret": fail}
    )
    code, check, said = diagnosis(run("doctor", "--json"))
    assert (code, check) == (2, "token")
    assert "$DINTERO_CLIENT_SECRET_FILE" in said


def test_what_a_401_means():
    """A 401 after one token request is the token endpoint's, and after two the API's."""
    refused = AuthenticationError("refused", status=401)
    assert doctor._failed_check(refused, token_requests=1) == "token"
    assert doctor._failed_check(refused, token_requests=2) == "list"
    assert doctor._advice("token", AuthenticationError("refused", status=400)) == doctor._advice(
        "list", APIStatusError("moved", status=301)
    )
    assert doctor._failed_check(ConfigurationError("secret"), token_requests=1) == "token"
