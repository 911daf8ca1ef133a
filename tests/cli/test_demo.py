"""The demonstration: how it judges, and that it ends well."""

import os
import signal
import subprocess
import sys

import pytest

from dintero_claims_client import ClaimsClient, NotSentError, RetryPolicy
from dintero_claims_client.cli import demo
from dintero_claims_client.cli.demo import Record, Report, Said, Told, Verdict, compare
from dintero_claims_client.cli.demo_batch import BatchReport
from dintero_claims_client.sandbox import Fault, Ledger, Sandbox, SandboxServer

from .conftest import COMMAND

MINE = Record("order-1", "id-1", "customer-1")
TAKEN = Told("order-1", "customer-1", Said.TAKEN, MINE)
REFUSED = Told("order-1", "customer-1", Said.REFUSED, error="NotSentError")
UNKNOWN = Told("order-1", "customer-1", Said.UNKNOWN)


@pytest.mark.parametrize(
    ("told", "ledger", "verdict"),
    [
        (TAKEN, [MINE], Verdict.TAKEN),
        (TAKEN, [], Verdict.LOST),
        (REFUSED, [MINE], Verdict.LOST),
        (REFUSED, [], Verdict.REFUSED),
        (UNKNOWN, [], Verdict.UNKNOWN),
        (UNKNOWN, [MINE], Verdict.UNKNOWN),
        (TAKEN, [MINE, MINE], Verdict.DOUBLED),
        (REFUSED, [MINE, MINE], Verdict.DOUBLED),
        (UNKNOWN, [MINE, MINE], Verdict.DOUBLED),
        (TAKEN, [Record("order-1", "id-2", "customer-1")], Verdict.MISATTRIBUTED),
        (TAKEN, [Record("order-1", "id-1", "customer-2")], Verdict.MISATTRIBUTED),
        (Told("order-1", "customer-2", Said.TAKEN, MINE), [MINE], Verdict.MISATTRIBUTED),
    ],
)
def test_the_judgement_of_one_claim(told, ledger, verdict):
    """What the client said is compared with what the ledger holds under the same ref."""
    assert +compare([told], ledger) == {verdict: 1}


@pytest.mark.parametrize("ref", ["order-2", None])
def test_a_claim_that_was_never_sent(ref):
    """A claim in the ledger that was never sent is misattributed, also one without a ref."""
    assert compare([TAKEN], [MINE, Record(ref, "id-2", "customer-1")]) == {
        Verdict.TAKEN: 1,
        Verdict.MISATTRIBUTED: 1,
    }


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ({Verdict.TAKEN: 1999}, 0),
        ({Verdict.TAKEN: 1999, Verdict.UNKNOWN: 1}, 4),
        ({Verdict.TAKEN: 1999, Verdict.REFUSED: 1}, 1),
        ({Verdict.TAKEN: 1999, Verdict.LOST: 1}, 1),
        ({Verdict.TAKEN: 1999, Verdict.DOUBLED: 1}, 1),
        ({Verdict.TAKEN: 1999, Verdict.MISATTRIBUTED: 1}, 1),
        ({Verdict.TAKEN: 1999, Verdict.UNKNOWN: 1, Verdict.LOST: 1}, 1),
    ],
)
def test_the_exit_code(verdicts, code):
    """Only claims that were all taken end with 0, and those that are only unknown with 4."""
    report = Report(
        verdicts=demo.Counter(verdicts),
        refusals=demo.Counter(),
        retried=0,
        recovered=0,
        replayed=0,
        tokens=1,
        faults=demo.Counter(),
        seconds=1.0,
    )
    assert report.exit_code == code
    assert report.conclusion().startswith("1,999 taken, ")


def test_it_ends_well(run):
    """With faults on, every claim is taken, and the last line says so."""
    finished = run("demo", "--count", "80", "--batch", "0", "--concurrency", "20", "--fault-rate", "0.3")
    assert finished.code == 0
    assert finished.err == ""
    *rows, last = finished.out.splitlines()
    assert last == "80 taken, 0 doubled, 0 lost"
    assert any(row.split() == ["tokens", "fetched", "4"] for row in rows)


def test_for_machines(run):
    """With --json the report is one JSON object."""
    finished = run("demo", "--count", "8", "--batch", "0", "--concurrency", "3", "--json")
    assert finished.code == 0
    assert finished.err == ""
    assert finished.result["taken"] == 8
    assert set(finished.result["faults"]) == {fault.value for fault in Fault}
    assert finished.result["faults"]["expire_token"] == 3
    assert finished.result["tokens_fetched"] == 4
    assert finished.result["replayed_401"] >= 3


def test_it_ends_with_a_batch_that_is_killed(run):
    """The batch is killed before its end, resumed, and every row of it is taken once."""
    finished = run("demo", "--count", "8", "--batch", "60", "--fault-rate", "0.1", "--json")
    assert finished.code == 0
    batch = finished.result["batch"]
    assert 30 <= batch.pop("killed_after") < 60
    assert batch == {"rows": 60, "taken": 60, "doubled": 0, "lost": 0}


@pytest.mark.parametrize(
    ("found", "code"),
    [({}, 0), ({"taken": 9}, 1), ({"doubled": 1}, 1)],
    ids=["good", "one lost", "one doubled"],
)
def test_the_exit_code_of_a_batch(found, code):
    """Only a batch whose rows were all taken, once, ends the demonstration with 0."""
    report = BatchReport(**{"rows": 10, "killed_after": 5, "taken": 10, "doubled": 0, "lost": 0} | found)
    assert report.exit_code == code
    assert report.conclusion().startswith("a batch of 10, killed when 5 were taken, and resumed: ")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_claims_than_parts(run, count):
    """A demonstration may be as short as one claim."""
    finished = run("demo", "--count", str(count), "--batch", "0", "--fault-rate", "0")
    assert finished.code == 0
    assert finished.out.endswith(f"\n{count} taken, 0 doubled, 0 lost\n")


def test_without_faults(run):
    """A rate of 0 means that nothing goes wrong: no fault, no repetition, one token."""
    result = run("demo", "--count", "20", "--batch", "0", "--fault-rate", "0", "--json").result
    assert result["taken"] == 20
    assert result["tokens_fetched"] == 1
    assert (result["retried"], result["recovered"], result["replayed_401"]) == (0, 0, 0)
    assert set(result["faults"].values()) == {0}


def test_what_is_lost_is_seen(run, monkeypatch):
    """A ledger that does not hold a claim that the client reports ends the demonstration with 1."""
    whole = Ledger.claims.fget
    monkeypatch.setattr(Ledger, "claims", property(lambda ledger: whole(ledger)[1:]))
    finished = run("demo", "--count", "5", "--batch", "0")
    assert finished.code == 1
    assert finished.out.endswith("\n4 taken, 0 doubled, 1 lost\n")


def test_what_is_doubled_is_seen(run, monkeypatch):
    """A ledger that holds a claim twice ends the demonstration with 1."""
    whole = Ledger.claims.fget
    monkeypatch.setattr(Ledger, "claims", property(lambda ledger: whole(ledger) + whole(ledger)[:1]))
    finished = run("demo", "--count", "5", "--batch", "0")
    assert finished.code == 1
    assert finished.out.endswith("\n4 taken, 1 doubled, 0 lost\n")


def test_what_cannot_be_claimed_is_said(run, monkeypatch):
    """Where each request goes wrong and none is repeated, what is not taken is refused or unknown."""
    monkeypatch.setattr(demo, "_RETRY", RetryPolicy(max_attempts=1))
    monkeypatch.setattr(demo, "_KINDS", {Fault.TOO_MANY_REQUESTS: 1.0, Fault.UNAVAILABLE: 1.0})
    options = ("--count", "20", "--batch", "0", "--concurrency", "1", "--fault-rate", "1")
    finished = run("demo", *options)
    assert finished.code == 1
    assert "refused as RateLimitedError" in finished.out
    result = run("demo", *options, "--json").result
    assert result["refused"] > 0
    assert result["unknown"] > 0
    assert result["refused"] + result["unknown"] == 20
    assert result["refusals"]["RateLimitedError"] > 0


async def test_an_unknown_outcome_is_looked_up():
    """An outcome that is unknown is taken when the claim is found, and stays unknown otherwise."""
    sandbox = Sandbox()
    async with (
        SandboxServer(sandbox) as server,
        ClaimsClient(
            account_id=sandbox.account_id,
            client_id=sandbox.client_id,
            client_secret=sandbox.client_secret,
            base_url=server.base_url,
        ) as client,
    ):
        taken = await demo._claim(client, 7)
        unknown = Told(taken.ref, taken.customer_id, Said.UNKNOWN)
        assert await demo._look_up(client, unknown) == taken
        nowhere = Told("order-8", "customer-8", Said.UNKNOWN)
        assert await demo._look_up(client, nowhere) == nowhere


async def test_a_look_up_that_fails():
    """A look-up that fails leaves the outcome unknown."""

    class Failing:
        async def find_claim(self, *, ref):
            raise NotSentError("not sent", ref=ref)

    assert await demo._look_up(Failing(), UNKNOWN) == UNKNOWN


def test_progress_is_for_terminals(run, terminal):
    """On a terminal, progress is shown on stderr and the report on stdout."""
    finished = run("demo", "--count", "8", "--batch", "0")
    assert finished.code == 0
    assert "claiming" not in finished.out
    assert finished.out.endswith("\n8 taken, 0 doubled, 0 lost\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_progress_on_a_real_terminal():
    """Progress goes to the terminal that stderr is, while stdout stays plain where it is a pipe."""
    import pty

    controller, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm"}
    with subprocess.Popen(
        [COMMAND, "demo", "--count", "8", "--batch", "0"],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env=environment,
    ) as process:
        os.close(terminal)
        shown = b""
        # Linux reports the end of a terminal as an error.
        try:
            while some := os.read(controller, 65_536):
                shown += some
        except OSError:
            pass
        out = process.stdout.read()
    os.close(controller)
    assert process.returncode == 0
    assert b"8/8" in shown
    assert b"\x1b" in shown
    assert b"\x1b" not in out
    assert out.endswith(b"\n8 taken, 0 doubled, 0 lost\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal to a process")
def test_interrupted(run, monkeypatch):
    """Ctrl-C ends the demonstration with 130 and one line, and without a result."""

    def interrupt(_report):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(demo, "_record", interrupt)
    assert run("demo", "--count", "8", "--batch", "0") == (130, "", "error: interrupted\n")
