"""`claim`, `get`, `list` and `find`, against a sandbox."""

import io
import json
import signal
import threading
from uuid import UUID

import pytest

from dintero_claims_client.sandbox import Fault, FaultPlan, Operation, Sandbox

from .conftest import CLAIM


def take(sandbox: Sandbox, count: int) -> list[str]:
    """Let claims be taken without a request, and return their ids in the order of a list."""
    token = sandbox.rules.issue_token(
        sandbox.client, owner_id=sandbox.account_id, account_id=sandbox.account_id
    )
    grant = sandbox.rules.authenticate(token)
    taken = [sandbox.rules.claim(grant, CLAIM | {"ref": f"order-{number}"}) for number in range(count)]
    return [claim.id for claim in reversed(taken)]


def type_in(monkeypatch, text: str) -> None:
    """Put a text on stdin."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_a_claim_is_taken(run, sandbox, claim_file):
    """A claim is printed as it was taken, a field on a line, and nothing else is said."""
    finished = run("claim", claim_file())
    (taken,) = sandbox.ledger.claims
    assert finished.code == 0
    assert finished.err == ""
    lines = dict(line.split(maxsplit=1) for line in finished.out.splitlines())
    assert lines["id"] == taken.id
    assert lines["ref"] == "order-1"
    assert json.loads(lines["discounts"]) == CLAIM["discounts"]


def test_a_claim_is_taken_for_machines(run, sandbox, claim_file):
    """With --json the claim is one JSON object."""
    finished = run("claim", claim_file(), "--json")
    assert finished.code == 0
    assert finished.err == ""
    assert finished.out.count("\n") == 1
    assert finished.result["id"] == sandbox.ledger.claims[0].id
    assert finished.result["ref"] == "order-1"


def test_a_claim_from_stdin(run, sandbox, monkeypatch):
    """The file - is stdin; a byte order mark before the JSON does no harm."""
    type_in(monkeypatch, "\ufeff" + json.dumps(CLAIM))
    assert run("claim", "-").code == 0
    assert len(sandbox.ledger.claims) == 1


def test_a_claim_on_a_terminal(run, sandbox, claim_file, terminal):
    """On a terminal too, a claim is a field on a line."""
    assert sandbox.account_id in run("doctor").out
    finished = run("claim", claim_file())
    assert finished.code == 0
    assert "customer_id" in finished.out


def test_options_go_before_the_environment(run, sandbox, claim_file, monkeypatch):
    """Address, account and client can be given as options; the secret comes from the environment."""
    options = []
    for name, value in (("ACCOUNT_ID", sandbox.account_id), ("CLIENT_ID", sandbox.client_id)):
        options += [f"--{name.lower().replace('_', '-')}", value]
        monkeypatch.setenv(f"DINTERO_{name}", "wrong")
    assert run("claim", claim_file()).code == 2
    assert run("claim", claim_file(), *options, "--timeout", "20").code == 0


def test_a_claim_without_a_ref_goes_by_one_that_is_told(run, sandbox, claim_file):
    """A claim without a ref is given one, which is told before it is sent."""
    finished = run("claim", claim_file(ref=None))
    assert finished.code == 0
    (taken,) = sandbox.ledger.claims
    assert finished.err == f"the claim has no ref, and goes by {taken.ref}\n"
    assert str(UUID(taken.ref)) == taken.ref


def test_a_claim_without_a_ref_for_machines(run, sandbox, claim_file):
    """With --json nothing but JSON is written; the ref is in the claim."""
    finished = run("claim", claim_file(ref=None), "--json")
    assert finished.err == ""
    assert finished.result["ref"] == sandbox.ledger.claims[0].ref


def test_a_lost_answer_is_recovered(run, sandbox, claim_file):
    """A claim whose answer was lost is printed like any other, and was taken once."""
    sandbox.drop_after_commit()
    finished = run("claim", claim_file(ref=None), "--json")
    assert finished.code == 0
    (taken,) = sandbox.ledger.claims
    assert finished.result["id"] == taken.id


def test_a_ref_that_is_in_use(run, sandbox, claim_file):
    """A ref that another claim has ends with 5, and says how to see that claim."""
    assert run("claim", claim_file()).code == 0
    finished = run("claim", claim_file(customer_id="customer-2"))
    assert finished.code == 5
    assert finished.out == ""
    assert "dintero-claims find --ref order-1" in finished.err
    assert run("claim", claim_file(customer_id="customer-2"), "--json").error["status"] == 409


def test_the_same_claim_again(run, sandbox, claim_file):
    """A claim that exists is a conflict, or is printed where --if-exists return asks for it."""
    taken = run("claim", claim_file(), "--json").result
    assert run("claim", claim_file()).code == 5
    again = run("claim", claim_file(), "--json", "--if-exists", "return")
    assert again.code == 0
    assert again.result["id"] == taken["id"]
    assert len(sandbox.ledger.claims) == 1


def test_a_ref_that_has_a_claim_already(run, sandbox, claim_file):
    """Of a conflict it is said that the claim may be this one, until they were compared."""
    run("claim", claim_file())
    again = run("claim", claim_file())
    assert again.code == 5
    assert "this one from before, or another; --if-exists return tells which" in again.err
    other = run("claim", claim_file(customer_id="customer-2"), "--if-exists", "return")
    assert other.code == 5
    assert "this claim was not taken: another one has its ref" in other.err
    assert "--if-exists" not in other.err
    assert len(sandbox.ledger.claims) == 1


def test_a_claim_far_behind_in_the_list(run, sandbox, claim_file):
    """A ref that a single call does not find is settled by a batch of one row, which its error advises."""
    *_, claim_id = take(sandbox, 2_300)
    file = claim_file(ref="order-0")
    finished = run("claim", file, "--if-exists", "return", "--json")
    assert (finished.code, finished.error["taken"]) == (4, True)
    assert "dintero-claims batch run FILE" in finished.error["advice"]
    assert "--if-exists" not in finished.error["advice"]
    outcome = run("batch", "run", file, "--out", "-").result
    assert (outcome["outcome"], outcome["recovered"], outcome["claim"]["id"]) == ("taken", True, claim_id)
    assert len(sandbox.ledger.claims) == 2_300


def test_an_outcome_that_is_unknown(run, serve, claim_file):
    """A claim that may have been taken ends with 4, and says how to look it up."""
    sandbox = serve(Sandbox(faults=FaultPlan(retry_after=1000)))
    sandbox.drop_after_commit()
    # No wait that long fits into the call, so it ends at once.
    sandbox.fail_next(429)
    sandbox.fail_next(429, operation=Operation.LIST)
    finished = run("claim", claim_file())
    assert finished.code == 4
    assert finished.out == ""
    assert "dintero-claims find --ref order-1" in finished.err
    assert "--if-exists return" in finished.err
    assert run("find", "--ref", "order-1").code == 0


def test_refused_credentials(run, sandbox, claim_file, monkeypatch):
    """Credentials that are refused end with 3."""
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", "wrong-secret")
    finished = run("claim", claim_file(), "--json")
    assert finished.code == 3
    assert finished.error["error"] == "AuthenticationError"
    assert sandbox.ledger.claims == []


def test_too_many_requests(run, serve, claim_file):
    """A refusal for now ends with 1, and says when to come back."""
    serve(Sandbox(faults=FaultPlan(retry_after=1000))).fail_next(429)
    finished = run("claim", claim_file())
    assert finished.code == 1
    assert "repeat it in 1000 s" in finished.err


def test_missing_settings(run, claim_file):
    """Without settings the command says which is missing, and ends with 2."""
    finished = run("claim", claim_file())
    assert finished.code == 2
    assert "set DINTERO_ACCOUNT_ID" in finished.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "line 1, column 2: is not JSON"),
        (b'{\n"ref": order}', "line 2, column 8: is not JSON"),
        (b"", "is not JSON"),
        (b'{"ref": "a", "ref": "b"}', "'ref' is there twice"),
        (b'{"discounts": [{"refs": [{"amount": 1, "amount": 2}]}]}', "'amount' is there twice"),
        (b'{"amount": NaN}', "NaN is not a number"),
        (b'{"amount": -Infinity}', "-Infinity is not a number"),
        (b'{"amount": ' + b"9" * 5000 + b"}", "is not JSON that can be used"),
        (b"[" * 100_000, "nested too deep"),
        (b'{\n"ref": "\xff"}', "line 2: is not UTF-8"),
        (b"[]", "claim: must be an object"),
        (json.dumps(CLAIM | {"reff": "a"}).encode(), "'reff'"),
        (json.dumps(CLAIM | {"ref": ""}).encode(), "ref: must not be empty"),
        (json.dumps(CLAIM | {"discounts": []}).encode(), "discounts: must hold at least one"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_what_is_no_claim(run, sandbox, tmp_path, content, words, options):
    """What is no claim is refused with the place or the field, before anything is sent."""
    file = tmp_path / "claim.json"
    file.write_bytes(content)
    finished = run("claim", str(file), *options)
    assert finished.code == 2
    assert finished.out == ""
    assert words in finished.err
    assert sandbox.ledger.requests.total() == 0


def test_a_file_that_is_not_there(run, tmp_path):
    """A file that cannot be read is named, with the reason."""
    finished = run("claim", str(tmp_path / "none.json"))
    assert finished.code == 2
    assert "none.json: cannot be read: No such file or directory" in finished.err


def test_a_dry_run(run, claim_file):
    """A dry run needs no settings and sends nothing; for machines it prints what would be sent."""
    assert run("claim", claim_file(), "--dry-run") == (
        0,
        "the claim keeps all rules that can be checked here; nothing was sent\n",
        "",
    )
    would_send = run("claim", claim_file(), "--dry-run", "--json").result
    assert would_send == CLAIM | {"purchase_at": "2026-11-07T05:31:56+00:00"}


@pytest.mark.parametrize("by_option", [True, False])
def test_a_production_account_needs_live(run, serve, claim_file, monkeypatch, by_option):
    """A claim for a production account is sent with --live only; reading needs nothing more."""
    sandbox = serve(Sandbox("P12345678"))
    options = []
    if by_option:
        monkeypatch.setenv("DINTERO_ACCOUNT_ID", "T12345678")
        options = ["--account-id", "P12345678"]
    finished = run("claim", claim_file(), *options)
    assert finished.code == 2
    assert finished.out == ""
    assert "P12345678 is a production account" in finished.err
    assert "--live" in finished.err
    assert sandbox.ledger.requests.total() == 0
    assert run("list", *options).code == 0
    assert run("claim", claim_file(), "--live", *options).code == 0


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs a signal to a thread")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_interrupted(run, serve, claim_file, options):
    """Ctrl-C while a claim is under way ends with 130 and one line, which says how to look it up."""
    main_thread = threading.main_thread().ident

    async def interrupt(_seconds):
        signal.pthread_kill(main_thread, signal.SIGINT)

    serve(Sandbox(sleep=interrupt)).faults.next(Fault.LATENCY)
    finished = run("claim", claim_file(), *options)
    assert finished.code == 130
    assert finished.out == ""
    assert finished.err.count("\n") == 1
    assert "dintero-claims find --ref order-1" in finished.err


def test_get(run, sandbox):
    """A claim is found by its id, and an id that no claim has ends with 1."""
    (claim_id,) = take(sandbox, 1)
    assert run("get", claim_id, "--json").result["id"] == claim_id
    finished = run("get", "no-such-id")
    assert finished.code == 1
    assert finished.out == ""
    assert "Claim not found" in finished.err
    assert "what the server names is not in this account" in finished.err
    assert run("get", "..").code == 2


@pytest.mark.parametrize("arguments", [["get", "no-such-id"], ["get", ""], ["find", "--ref", ""], ["list"]])
def test_advice_to_who_reads(run, sandbox, monkeypatch, arguments):
    """Who only reads is told nothing about claiming."""
    if arguments == ["list"]:
        monkeypatch.setenv("DINTERO_CLIENT_SECRET", "wrong-secret")
    finished = run(*arguments)
    assert finished.code in {1, 2, 3}
    assert "nothing was claimed" not in finished.err
    assert "claim --help" not in finished.err
    assert "" not in arguments or f"see dintero-claims {arguments[0]} --help" in finished.err
    assert finished.err.count("\n") == 2


def test_find(run, sandbox):
    """A claim is found by its ref; where it is not, the command says what that proves, and ends with 1."""
    _, claim_id, _ = take(sandbox, 3)
    assert run("find", "--ref", "order-1", "--json").result["id"] == claim_id
    finished = run("find", "--ref", "order-9")
    assert finished.code == 1
    assert finished.out == ""
    assert "At most 2,000 claims are looked through" in finished.err
    error = run("find", "--ref", "order-9", "--json").error
    assert (error["error"], error["ref"], error["exit_code"]) == ("ClaimNotFound", "order-9", 1)


@pytest.mark.parametrize(
    ("options", "count", "requests"),
    [([], 100, 1), (["--limit", "7"], 7, 1), (["--limit", "150"], 150, 2), (["--all"], 230, 4)],
)
def test_list(run, sandbox, options, count, requests):
    """A list is a line for each claim, as many as are asked for, from no more pages than needed."""
    ids = take(sandbox, 230)
    finished = run("list", *options)
    assert finished.code == 0
    assert finished.err == ""
    lines = [line.split("\t") for line in finished.out.splitlines()]
    assert [line[0] for line in lines] == ids[:count]
    assert lines[0][1:] == ["order-229", "customer-1", "2026-11-07T05:31:56+00:00", ""]
    assert sandbox.ledger.requests[Operation.LIST, "200"] == requests


def test_a_limit_and_none(run, sandbox):
    """A limit together with --all is refused: one of them would be ignored."""
    finished = run("list", "--limit", "3", "--all")
    assert (finished.code, "--limit and --all" in finished.err) == (2, True)
    assert sandbox.ledger.requests.total() == 0


def test_list_for_machines(run, sandbox):
    """With --json a list is a JSON object on each line."""
    ids = take(sandbox, 3)
    finished = run("list", "--json")
    assert [json.loads(line)["id"] for line in finished.out.splitlines()] == ids


def test_list_on_a_terminal(run, sandbox, terminal):
    """On a terminal a list is a table with heads, in which the ids stay whole."""
    ids = take(sandbox, 2)
    lines = run("list").out.splitlines()
    assert any(line.startswith("id ") for line in lines)
    assert [line.split()[0] for line in lines if line.startswith(tuple(ids))] == ids


def test_an_empty_list(run, sandbox):
    """An account without claims has an empty list."""
    assert run("list") == (0, "", "")
    assert run("list", "--json") == (0, "", "")


def test_a_list_that_breaks_off(run, serve):
    """A list that cannot be read ends with 1 and the reason."""
    serve(Sandbox(faults=FaultPlan(retry_after=1000))).fail_next(429, operation=Operation.LIST)
    finished = run("list")
    assert finished.code == 1
    assert finished.out == ""
    assert "429" in finished.err


def test_as_a_process(sandbox, claim_file, run_process):
    """The installed command keeps stdout, stderr and the exit code apart."""
    taken = run_process("claim", claim_file(), "--json")
    assert (taken.code, taken.err) == (0, "")
    assert taken.result["id"] == sandbox.ledger.claims[0].id
    conflict = run_process("claim", claim_file(customer_id="customer-2"))
    assert (conflict.code, conflict.out) == (5, "")
    assert "\x1b" not in conflict.err
