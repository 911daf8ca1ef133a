"""`batch`, end to end: in this process where that is enough, and in real ones that are stopped."""

import asyncio
import contextlib
import gc
import json
import os
import pty
import shlex
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
from faults.script import Act, Fault, Point, Queues
from faults.server import FaultServer
from support.batch_input import AT
from support.canary import SECRET, is_clean

from dintero_claims_client._journal import JournalStore
from dintero_claims_client.cli import batch_claiming, batch_progress

from .conftest import COMMAND

REFUSED = Fault(Point.ANSWERED, Act.KEEP, answer="400")
STALLED = Fault(Point.RECEIVED, Act.STALL)
STALLED_TAKEN = Fault(Point.RECEIVED, Act.STALL, commit=True)

RESUME = "dintero-claims batch resume claims.jsonl.journal"

# The command, after changes that a test needs.
CHANGED = """
import sys
from dintero_claims_client.cli import batch, batch_claiming, batch_progress, main
{changes}
sys.exit(main())
"""


class Served:
    """A server in a thread of its own."""

    def __init__(self, server, loop):
        self.server = server
        self._loop = loop

    def until(self, happened):
        """Wait until something has become true of what the server saw."""
        asyncio.run_coroutine_threadsafe(self.server.until(happened), self._loop).result(100)

    @property
    def customers(self):
        """Whose claims were taken, each as often as it was."""
        return sorted(claim["customer_id"] for claim in self.server.ledger.claims)


@contextlib.contextmanager
def serving(server):
    """Serve in a thread."""
    started = Future()

    async def serve():
        ended = asyncio.Event()
        async with server:
            started.set_result((asyncio.get_running_loop(), ended))
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    loop, ended = started.result()
    try:
        yield Served(server, loop)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


@pytest.fixture
def api(monkeypatch):
    """Return a server that takes claims, with its address and credentials in the environment."""
    with serving(FaultServer(credentials=("client-1", SECRET))) as served:
        monkeypatch.setenv("DINTERO_BASE_URL", served.server.base_url)
        monkeypatch.setenv("DINTERO_ACCOUNT_ID", "T12345678")
        monkeypatch.setenv("DINTERO_CLIENT_ID", "client-1")
        monkeypatch.setenv("DINTERO_CLIENT_SECRET", SECRET)
        yield served


class Gate(Queues):
    """Holds up everything from the n-th claim on, until it is opened."""

    def __init__(self, number):
        super().__init__()
        self._number = number
        self.reached = threading.Event()
        self.opened = threading.Event()

    def for_request(self, request):
        if request.operation == "claim":
            self._number -= 1
            if not self._number:
                self.reached.set()
                assert self.opened.wait(100)
        return super().for_request(request)


@pytest.fixture
def gate(api):
    """Return a function that holds up the server from a claim on; it is open at the end of the test."""
    gates = []

    def make(number):
        api.server.plan = Gate(number)
        gates.append(api.server.plan)
        return api.server.plan

    yield make
    for one in gates:
        one.opened.set()


def claim(number, **changes):
    """Return a claim of a customer who claims nothing else; None leaves a field out."""
    fields = {
        "purchase_at": "2026-11-07T05:31:56Z",
        "customer_id": f"customer-{number:04}",
        "discounts": [{"id": "discount-1", "refs": [{"id": "item-1", "amount": 100, "usage": 1}]}],
        "ref": f"order-{number}" if number % 2 else None,
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def lines_of(*rows):
    """Return rows as an input has them; text is a line as it is."""
    return "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes an input, and makes its folder the working directory."""
    monkeypatch.chdir(tmp_path)

    def call(*rows, name="claims.jsonl"):
        (tmp_path / name).write_text(lines_of(*rows))
        return name

    return call


def customers(*numbers):
    """Return the customers of these rows."""
    return [f"customer-{number:04}" for number in numbers]


@pytest.fixture
def started():
    """Return a function that starts the command as a process; what still runs is killed after the test."""
    with contextlib.ExitStack() as stack:

        def call(*arguments, changes="", **options):
            options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
            command = [sys.executable, "-c", CHANGED.format(changes=changes)] if changes else [COMMAND]
            process = stack.enter_context(subprocess.Popen([*command, *arguments], **options))
            stack.callback(process.kill)
            return process

        yield call


def ended(process):
    """Wait for a process, and return what it said."""
    out, err = process.communicate(timeout=100)
    assert is_clean((out or "") + (err or ""))
    assert "Traceback" not in (err or ""), err
    return out, err


def summary(finished):
    """Return the one JSON object on stdout."""
    assert finished.out.count("\n") == 1, finished
    return finished.result


# A batch from beginning to end.


def test_a_batch(run, api, write):
    """Every row is claimed once, with and without a ref, and the summary says so."""
    finished = run("batch", "run", write(*map(claim, range(10))))
    assert finished.code == 0
    assert finished.err == ""
    assert api.customers == customers(*range(10))
    shown = dict(line.split(None, 1) for line in finished.out.splitlines()[:-1])
    assert (shown["rows"], shown["taken"], shown["pending"]) == ("10", "10", "0")
    assert shown["journal"] == "claims.jsonl.journal"
    assert finished.out.endswith("10 taken, 0 refused, 0 rejected, 0 unknown, 0 pending\n")


def test_a_batch_for_machines(run, api, write):
    """With --json the summary is one JSON object on stdout, and nothing else is said."""
    finished = run("batch", "run", write(*map(claim, range(3))), "--json")
    assert (finished.code, finished.err) == (0, "")
    told = summary(finished)
    assert told.pop("seconds") >= 0
    assert told == {
        "journal": "claims.jsonl.journal",
        "rows": 3,
        "taken": 3,
        "refused": 0,
        "rejected": 0,
        "unknown": 0,
        "in_flight": 0,
        "pending": 0,
        "repeated": 0,
        "done_in_this_run": 3,
        "interrupted": False,
        "rejects_file": None,
        "out": None,
        "resume": None,
        "exit_code": 0,
    }


def test_garbage_is_collected_as_before(run, api, write, monkeypatch):
    """While a batch runs garbage is collected rarely, and as before when it has ended."""
    before, during = (gc.get_threshold(), gc.get_freeze_count()), []
    batch_run = batch_claiming.BatchClaiming._run

    async def watched(self):
        during.append((gc.get_threshold(), gc.get_freeze_count()))
        await batch_run(self)

    monkeypatch.setattr(batch_claiming.BatchClaiming, "_run", watched)
    assert run("batch", "run", write(claim(1))).code == 0
    ((thresholds, frozen),) = during
    assert thresholds[0] >= 10_000
    assert frozen > 1000
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_the_same_command_again(run, api, write):
    """Running a batch again that is finished sends nothing, and says the same; so does resuming it."""
    name = write(*map(claim, range(3)))
    run("batch", "run", name)
    for arguments in (["run", name], ["resume", f"{name}.journal"]):
        again = run("batch", *arguments, "--json")
        assert again.code == 0
        assert (summary(again)["taken"], summary(again)["done_in_this_run"]) == (3, 0)
    assert api.server.claim_requests == 3


def test_a_dry_run(run, write, tmp_path):
    """A dry run needs no credentials, sends nothing, makes no journal, and says what would be claimed."""
    name = write(claim(1), claim(1), claim(2), "no json")
    finished = run("batch", "run", name, "--dry-run")
    assert finished.code == 1
    assert finished.out == "2 claims are valid, 1 row is rejected, 1 repeats another; nothing was sent\n"
    told = summary(run("batch", "run", name, "--dry-run", "--json"))
    assert told == {"valid": 2, "rejected": 1, "repeated": 1, "rejects_file": "claims.jsonl.rejects.jsonl"}
    assert {path.name for path in tmp_path.iterdir()} == {name, "claims.jsonl.rejects.jsonl"}
    assert run("batch", "run", write(claim(1)), "--dry-run").code == 0
    assert not (tmp_path / "claims.jsonl.rejects.jsonl").exists()


def test_a_dry_run_with_credentials_sends_nothing(run, api, write):
    """A dry run does not even ask for a token."""
    assert run("batch", "run", write(claim(1)), "--dry-run").code == 0
    assert api.server.connections == 0


def test_rows_that_are_rejected(run, api, write, tmp_path):
    """What breaks a rule is not sent, stops nothing, and is in a file with its line and the reason."""
    finished = run("batch", "run", write(claim(1), "{", claim(2, discounts=[]), "", claim(3)), "--json")
    assert finished.code == 1
    told = summary(finished)
    assert (told["taken"], told["rejected"], told["exit_code"]) == (2, 2, 1)
    assert api.customers == customers(1, 3)
    rejects = [json.loads(line) for line in (tmp_path / told["rejects_file"]).read_text().splitlines()]
    assert [reject["line"] for reject in rejects] == [2, 3]
    assert "is not JSON" in rejects[0]["reason"]
    assert rejects[0]["row"] == "{"
    assert "discounts: must hold at least one" in rejects[1]["reason"]


def test_rows_of_one_ref(run, api, write):
    """The same claim twice is one claim, told in both rows; two claims of one ref are neither sent."""
    other = claim(3, customer_id="customer-0009")
    name = write(claim(1), claim(3), claim(1), other, claim(5))
    finished = run("batch", "run", name, "--json")
    told = summary(finished)
    assert (finished.code, told["taken"], told["repeated"], told["rejected"]) == (1, 2, 1, 2)
    assert api.customers == customers(1, 5)
    exported = [json.loads(line) for line in run("batch", "export", f"{name}.journal").out.splitlines()]
    assert [row["outcome"] for row in exported] == ["taken", "rejected", "taken", "rejected", "taken"]
    assert exported[2]["repeats_row"] == 0
    assert exported[2]["claim"] == exported[0]["claim"]
    assert "lines 2, 4" in exported[1]["error"]["message"]


def test_a_line_that_is_no_claim_contradicts_its_ref(run, api, write):
    """A claim whose ref is also in a line that breaks a rule is not sent: which one is meant is open."""
    name = write(claim(1), claim(3), claim(1, discounts=[]), '{"ref": ["order-3"]}', claim(5, ref=None))
    finished = run("batch", "run", name, "--json")
    told = summary(finished)
    assert (finished.code, told["taken"], told["rejected"]) == (1, 2, 3)
    assert api.customers == customers(3, 5)
    exported = [json.loads(line) for line in run("batch", "export", f"{name}.journal").out.splitlines()]
    assert [row["outcome"] for row in exported if "outcome" in row][:1] == ["rejected"]
    assert "lines 3, 1" in exported[0]["error"]["message"]
    assert exported[2]["ref"] == "order-1"


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (['{"a\x1b": 1,', '"b": 2}'], "the first, in line 1: is not JSON: "),
        ([json.dumps([claim(1)])], "the first, in line 1: claim: must be an object"),
        ([claim(1), claim(1, customer_id="x")], "the first, in line 1: ref: must be of one claim only"),
    ],
)
def test_an_input_of_which_nothing_is_claimed(run, api, write, rows, said, options):
    """Where every row is rejected, the first reason is on stderr, and that a line is a claim."""
    finished = run("batch", "run", write(*rows), *options)
    assert finished.code == 1
    assert f"every row is rejected; {said}" in finished.err
    assert "JSON lines hold one claim a line" in finished.err
    assert run("batch", "run", write(*rows, claim(5), name="more.jsonl"), *options).err.count("every") == 0


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_an_empty_input(run, api, write, options):
    """An input without claims is said to have none; for machines the counts say so."""
    name = write("")
    assert run("batch", "run", name, *options).err == "the input has no claims in it\n"
    assert run("batch", "run", name, *options, "--json").err == ""
    assert run("batch", "run", name, *options).code == 0


def test_the_ref_of_a_row_of_a_csv(run, api, write):
    """A row of a CSV that is rejected is exported with its ref, as one of JSON lines is."""
    name = write("purchase_at,customer_id,discounts.id,ref", "yesterday,c,d,order-1", name="sales.csv")
    run("batch", "run", name)
    (row,) = map(json.loads, run("batch", "export", f"{name}.journal").out.splitlines())
    assert (row["outcome"], row["ref"]) == ("rejected", "order-1")


def test_columns_that_are_not_used(run, write):
    """Columns that give no field are named, because one of them may have been meant to."""
    header = "purchase_at,customer_id,discounts.id,amount,ref,order,x\x1b[2J"
    name = write(header, f"{AT},c,d,1,2,3,4", name="sales.csv")
    finished = run("batch", "run", name, "--dry-run", "--map", "order=ref")
    assert finished.code == 0
    assert finished.err == "columns that are not used: amount, ref, x\\x1b[2J\n"


def test_a_csv(run, api, write):
    """Rows of a CSV with one ref are one claim with several discounts; columns are mapped by name."""
    name = write(
        "order;when;customer_id;discounts.id;discounts.refs.id;discounts.refs.amount",
        "a;2026-11-07T05:31:56Z;customer-1;discount-1;item-1;100",
        "b;2026-11-07T05:31:56Z;customer-2;discount-1;item-1;200",
        "a;2026-11-07T05:31:56Z;customer-1;discount-2;item-2;300",
        name="sales.csv",
    )
    finished = run("batch", "run", name, "--map", "order=ref", "--map", "when=purchase_at", "--json")
    assert finished.code == 0, finished.err
    held = {claim["ref"]: claim for claim in api.server.ledger.claims}
    assert set(held) == {"a", "b"}
    assert [one["id"] for one in held["a"]["discounts"]] == ["discount-1", "discount-2"]
    assert held["b"]["discounts"][0]["refs"][0]["amount"] == 200
    assert run("batch", "run", name, "--map", "order=ref").code == 2


def test_outcomes_in_a_file(run, api, write, tmp_path):
    """With --out each row is in a file at the end, in the order of the input, with its claim."""
    finished = run("batch", "run", write(*map(claim, range(5))), "--out", "out.jsonl", "--json")
    assert (finished.code, summary(finished)["out"]) == (0, "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5]
    held = {claim["customer_id"]: claim for claim in api.server.ledger.claims}
    assert all(row["claim"]["id"] == held[row["row"]["customer_id"]]["id"] for row in rows)
    assert run("batch", "export", "claims.jsonl.journal", "--out", "again.jsonl").code == 0
    assert (tmp_path / "again.jsonl").read_text() == (tmp_path / "out.jsonl").read_text()


def test_outcomes_on_stdout(run, api, write):
    """With --out - outcomes are lines on stdout as they come, and the summary is on stderr."""
    api.server.plan = Queues(claim=[REFUSED])
    finished = run("batch", "run", write(*map(claim, range(4))), "--out", "-", "--json", "--concurrency", "1")
    assert finished.code == 1
    rows = [json.loads(line) for line in finished.out.splitlines()]
    assert [row["outcome"] for row in rows] == ["refused", "taken", "taken", "taken"]
    assert rows[0]["error"]["status"] == 400
    assert finished.error["refused"] == 1


def test_what_was_refused_is_claimed_again(run, api, write):
    """A refusal ends with 1; retry-refused claims it again with its ref, once, and nothing else."""
    name = write(*map(claim, range(4)))
    api.server.plan = Queues(claim=[REFUSED, None, REFUSED])
    first = run("batch", "run", name, "--json", "--concurrency", "1")
    assert (first.code, summary(first)["refused"], summary(first)["resume"]) == (1, 2, None)
    assert run("batch", "run", name).code == 1
    assert api.server.claim_requests == 4
    again = run("batch", "retry-refused", f"{name}.journal", "--json")
    assert (again.code, summary(again)["taken"]) == (0, 4)
    assert again.err == "2 refused rows are claimed again\n"
    assert api.customers == customers(*range(4))
    assert set(api.server.refs_seen.values()) == {1, 2}


def test_purge(run, api, write, tmp_path):
    """After a purge no file of the journal holds personal data of what is settled; outcomes stay."""
    name = write(claim(1), claim(2), claim(3, discounts=[]))
    run("batch", "run", name)
    finished = run("batch", "purge", f"{name}.journal")
    assert (finished.code, finished.out) == (0, "2 rows were purged; their refs and outcomes stay\n")
    left = b"".join(path.read_bytes() for path in tmp_path.glob("*.journal*") if "rejects" not in path.name)
    assert b"customer-" not in left
    rows = [json.loads(line) for line in run("batch", "export", f"{name}.journal").out.splitlines()]
    assert [row["outcome"] for row in rows] == ["taken", "taken", "rejected"]
    assert rows[0]["ref"] == "order-1"
    assert rows[0]["claim"]["id"] in {claim["id"] for claim in api.server.ledger.claims}
    assert run("batch", "run", name).code == 1
    assert api.server.claim_requests == 2


def test_a_purge_and_the_rejects(run, api, write, tmp_path):
    """After a purge the file of rejects stays as it was; a new one has a reason in each line all the same."""
    name = write(claim(1), "{", claim(3), claim(3, customer_id="customer-0009"))
    run("batch", "run", name)
    place = tmp_path / f"{name}.journal.rejects.jsonl"
    before = place.read_text()
    assert [json.loads(line)["line"] for line in before.splitlines()] == [2, 3, 4]
    run("batch", "purge", f"{name}.journal")
    for arguments in (["run", name], ["resume", f"{name}.journal"], ["retry-refused", f"{name}.journal"]):
        told = summary(run("batch", *arguments, "--json"))
        assert (told["rejected"], told["rejects_file"]) == (3, place.name)
        assert place.read_text() == before
    place.unlink()
    run("batch", "resume", f"{name}.journal")
    rejects = [json.loads(line) for line in place.read_text().splitlines()]
    assert [(one["line"], one["reason"]) for one in rejects] == [
        (line, "the reason was erased from the journal") for line in (2, 3, 4)
    ]
    exported = [json.loads(line) for line in run("batch", "export", f"{name}.journal").out.splitlines()]
    assert "erased" in exported[1]["reason"]


def test_a_refusal_that_was_purged(run, api, write):
    """What was purged cannot be claimed again, and retry-refused says so."""
    name = write(claim(1))
    api.server.plan = Queues(claim=[REFUSED])
    run("batch", "run", name)
    run("batch", "purge", f"{name}.journal")
    finished = run("batch", "retry-refused", f"{name}.journal")
    assert finished.code == 1
    assert "1 other cannot be: it was purged" in finished.err
    assert api.server.claim_requests == 1


def test_files_are_for_their_owner_only(run, api, write, tmp_path):
    """Everything that a batch writes can be read by its owner only, whatever the umask."""
    name = write(claim(1), "no json")
    before = os.umask(0)
    try:
        run("batch", "run", name, "--out", "out.jsonl")
        run("batch", "export", f"{name}.journal", "--out", "export.jsonl")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir() if path.name != name}
    assert {"claims.jsonl.journal", "claims.jsonl.journal.rejects.jsonl", "out.jsonl", "export.jsonl"} <= set(
        modes
    )
    assert set(modes.values()) == {0o600}


# What is refused before anything is sent.


def test_a_production_account_needs_live(run, api, write, monkeypatch, tmp_path):
    """No command claims for a production account without --live, and none makes a journal for that."""
    monkeypatch.setenv("DINTERO_ACCOUNT_ID", "P12345678")
    name = write(claim(1))
    for arguments in (["run", name], ["resume", "a.journal"], ["retry-refused", "a.journal"]):
        finished = run("batch", *arguments)
        assert finished.code == 2
        assert "--live" in finished.err
    assert {path.name for path in tmp_path.iterdir()} == {name}
    assert api.server.connections == 0
    assert run("batch", "run", name, "--live").code == 0


def test_an_input_that_cannot_be_looked_at(run, write, tmp_path):
    """An input of which not even the kind can be seen is wrong usage, in words."""
    write()
    for name in ("n" * 300, "missing/claims.jsonl", "."):
        finished = run("batch", "run", name, "--dry-run")
        assert (finished.code, "cannot be read" in finished.err) == (2, True), finished


@pytest.mark.parametrize("name", [".", "/", "", "missing.jsonl"])
@pytest.mark.parametrize("options", [[], ["--journal", "j"], ["--dry-run"]])
def test_an_input_that_is_no_file(run, api, write, tmp_path, name, options):
    """A directory, or nothing, in place of an input is wrong usage, and no journal is made for it."""
    write(name="other")
    finished = run("batch", "run", name, *options)
    assert finished.code == 2
    reason = "No such file or directory" if name == "missing.jsonl" else "Is a directory"
    assert finished.err == f"error: {name or '.'}: cannot be read: {reason}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("options", [[], ["--journal", "j"], ["--dry-run"]])
def test_a_journal_in_place_of_an_input(run, api, write, tmp_path, options):
    """A journal is not read as an input, the command that goes on with it is named, and nothing is left."""
    name = write(claim(1))
    run("batch", "run", name)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    finished = run("batch", "run", f"{name}.journal", *options)
    assert finished.code == 2
    assert f"is a journal, and no input; to go on with it: {RESUME}\n" in finished.err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("command", ["resume", "retry-refused", "status", "export", "purge"])
def test_an_input_in_place_of_its_journal(run, api, write, tmp_path, command):
    """Where the input is named, or the ending is left away, the journal that may be meant is named."""
    name = write(claim(1))
    run("batch", "run", name, "--journal", "the batch.journal")
    run("batch", "run", name)
    for given, meant in ((name, "claims.jsonl.journal"), ("the batch", "'the batch.journal'")):
        finished = run("batch", command, given)
        assert finished.code == 2
        assert finished.err.endswith(f"nothing was sent; did you mean {meant}?\n")
    for given in ("none", "n" * 300, "."):
        finished = run("batch", command, given)
        assert finished.code == 2
        assert "nothing was sent; check the path" in finished.err
    # One that is a journal itself is the one that is meant.
    Path("claims.jsonl.journal.journal").write_bytes(Path("claims.jsonl.journal").read_bytes())
    assert run("batch", "status", "claims.jsonl.journal").code == 0
    finished = run("batch", "resume", "claims.jsonl.journal", "--account-id", "T87654321")
    assert (finished.code, "did you mean" in finished.err) == (2, False)


def test_what_to_do_about_a_journal(run, api, write, tmp_path):
    """What is said about a journal names it, for a shell, and with the command that goes on."""
    name = write(claim(1), name="the claims.jsonl")
    run("batch", "run", name)
    journal = shlex.quote(f"{name}.journal")
    other = run("batch", "resume", f"{name}.journal", "--account-id", "T87654321")
    assert (other.code, "T12345678" in other.err) == (2, True)
    write(claim(2), name=name)
    edited = run("batch", "run", name)
    as_csv = run("batch", "run", name, "--format", "csv")
    for finished in (edited, as_csv):
        assert finished.code == 2
        assert f"the journal {name}.journal is of another input: " in finished.err
        assert f"To go on with what was read: dintero-claims batch resume {journal}. " in finished.err
    assert "its format was 'jsonl', and is 'csv'" in as_csv.err
    Path("text.journal").write_text("no journal", encoding="utf-8")
    finished = run("batch", "resume", "text.journal")
    assert (finished.code, "dintero-claims doctor --journal text.journal\n" in finished.err) == (2, True)
    with Path(name).open("rb") as stdin:
        again = subprocess.run(
            [COMMAND, "batch", "run", "-", "--journal", f"{name}.journal"],
            stdin=stdin, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (again.returncode, f"dintero-claims batch resume {journal}\n" in again.stderr) == (2, True)


def test_an_input_that_was_edited(run, api, write):
    """A journal goes on with the input that was read into it, and with no other."""
    name = write(claim(1))
    run("batch", "run", name)
    finished = run("batch", "run", write(claim(1), claim(2)))
    assert finished.code == 2
    assert "is not what was read into it" in finished.err
    assert run("batch", "run", write("a", name="other.jsonl"), "--journal", f"{name}.journal").code == 2
    assert api.customers == customers(1)


def test_a_journal_of_another_account(run, api, write):
    """The rows of one account are not claimed for another."""
    api.server.plan = Queues(claim=[REFUSED])
    name = write(claim(1))
    run("batch", "run", name)
    for arguments in (["run", name], ["resume", f"{name}.journal"], ["retry-refused", f"{name}.journal"]):
        finished = run("batch", *arguments, "--account-id", "T87654321")
        assert finished.code == 2
        assert "T12345678" in finished.err
    assert api.server.claim_requests == 1


@pytest.mark.parametrize("command", ["resume", "retry-refused", "status", "export", "purge"])
def test_a_journal_that_is_not_there(run, api, tmp_path, command):
    """A command that needs a journal makes none."""
    finished = run("batch", command, str(tmp_path / "none.journal"))
    assert finished.code == 2
    assert "there is no journal" in finished.err
    assert list(tmp_path.iterdir()) == []


def test_a_journal_without_an_input(run, api, tmp_path):
    """A journal whose input was not even begun is not finished, and resuming it does not say that it is."""
    path = tmp_path / "claims.journal"
    JournalStore.open(path).close()
    finished = run("batch", "resume", str(path))
    assert finished.code == 2
    assert "no input yet" in finished.err


def test_refused_credentials(run, api, write, monkeypatch):
    """Credentials that are refused end with 3, with nothing claimed and everything to be resumed."""
    name = write(claim(1), claim(2))
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", "wrong-secret")
    finished = run("batch", "run", name, "--json", "--concurrency", "1")
    assert finished.code == 3
    assert summary(finished)["resume"] == f"{RESUME} --concurrency 1"
    assert api.customers == []
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", SECRET)
    assert run("batch", "resume", f"{name}.journal").code == 0
    assert api.customers == customers(1, 2)


def test_an_outcome_that_is_unknown(run, api, write):
    """A claim that was deleted meanwhile is unknown, which ends with 4, is shown, and can be resumed."""
    name = write(claim(1), claim(3))
    api.server.plan = Queues(claim=[Fault(Point.RECEIVED, Act.RESET, commit=True)])
    commit = api.server.ledger.commit

    def commit_and_delete(body):
        status, value = commit(body)
        if body["ref"] == "order-1" and status == 200:
            api.server.ledger.delete("order-1")
        return status, value

    api.server.ledger.commit = commit_and_delete
    finished = run("batch", "run", name, "--json", "--concurrency", "1")
    told = summary(finished)
    assert (finished.code, told["unknown"], told["taken"], told["exit_code"]) == (4, 1, 1, 4)
    assert told["resume"] is not None
    status = run("batch", "status", f"{name}.journal", "--json").result
    assert (status["unknown"], status["resume"]) == (1, RESUME)
    assert api.server.refs_seen["order-1"] == 2


def test_what_was_given_up_is_not_done(run, api, write, monkeypatch, tmp_path):
    """Rows that a stopped batch gave up are not counted as done, and are pending wherever they are told."""
    name = write(*map(claim, range(30)))
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", "wrong-secret")
    monkeypatch.setattr("dintero_claims_client._batch_run.SHORTEST_PAUSE", 0.001)
    counted = []
    monkeypatch.setattr(batch_progress.Progress, "text", lambda progress: counted.append(progress.done) or "")
    monkeypatch.setattr(batch_progress, "_EVERY", 0)
    told = summary(run("batch", "run", name, "--json"))
    assert (told["done_in_this_run"], told["refused"], told["pending"]) == (0, 0, 30)
    assert set(counted) <= {0}
    streamed = run("batch", "resume", f"{name}.journal", "--out", "-")
    rows = [json.loads(line) for line in streamed.out.splitlines()]
    assert {row["outcome"] for row in rows} == {"pending"}
    assert {row["error"]["error"] for row in rows} <= {"AuthenticationError", "NotSentError"}
    exported = [json.loads(line) for line in run("batch", "export", f"{name}.journal").out.splitlines()]
    assert {row["outcome"] for row in exported} == {"pending"}


def test_a_batch_that_was_stopped_says_what_to_do(run, api, write, monkeypatch):
    """What stopped a batch is said once, with the command that finds out what is wrong."""
    name = write(claim(1))
    monkeypatch.setattr("dintero_claims_client._batch_run.SHORTEST_PAUSE", 0.001)
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", "wrong-secret")
    finished = run("batch", "run", name)
    assert finished.code == 3
    advice = "what was claimed before is in the journal; to see what is wrong: dintero-claims doctor\n"
    assert finished.err.endswith(advice)
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", SECRET)
    api.server.plan = Queues(claim=[Fault(Point.RECEIVED, Act.RESET)] * 1000)
    finished = run("batch", "resume", f"{name}.journal", "--patience", "0.001")
    assert "error: the batch was stopped: nothing got through for " in finished.err
    assert finished.err.endswith(advice)


def test_an_address_without_its_version(run, api, write, monkeypatch):
    """A token endpoint that is not there is a wrong setting, and no refusal of the credentials."""
    monkeypatch.setenv("DINTERO_BASE_URL", api.server.base_url.removesuffix("/v1"))
    monkeypatch.setattr("dintero_claims_client._batch_run.SHORTEST_PAUSE", 0.001)
    finished = run("batch", "run", write(claim(1)), "--json")
    assert (finished.code, summary(finished)["exit_code"]) == (2, 2)
    assert "check base_url, which ends with its version" in finished.err


# Two at once, and one that looks on.


def test_two_processes_on_one_journal(run, api, write, started, gate):
    """The second process is refused and sends nothing; the first one is unharmed, and can be looked at."""
    held = gate(3)
    name = write(*map(claim, range(10)))
    first = started("batch", "run", name, "--json", "--concurrency", "1")
    assert held.reached.wait(100)
    for arguments in (["run", name], ["resume", f"{name}.journal"], ["purge", f"{name}.journal"]):
        second = run("batch", *arguments)
        assert second.code == 2
        assert "in use by another process" in second.err
    status = run("batch", "status", f"{name}.journal", "--json").result
    assert status["resume"] is not None
    counts = {key: status[key] for key in ("rows", "taken", "in_flight", "pending", "input_complete")}
    assert counts == {"rows": 10, "taken": 2, "in_flight": 1, "pending": 7, "input_complete": True}
    rows = [json.loads(line) for line in run("batch", "export", f"{name}.journal").out.splitlines()]
    assert [row["outcome"] for row in rows] == ["taken"] * 2 + ["in_flight"] + ["pending"] * 7
    held.opened.set()
    out, err = ended(first)
    assert (first.returncode, err, json.loads(out)["taken"]) == (0, "", 10)
    assert api.customers == customers(*range(10))


# Being stopped.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_in_order(run, api, write, started, gate, number):
    """What is under way at a signal ends, nothing else begins, and the summary says how to go on."""
    held = gate(5)
    name = write(*map(claim, range(20)))
    process = started("batch", "run", name, "--json", "--concurrency", "1", "--drain", "90")
    assert held.reached.wait(100)
    process.send_signal(number)
    assert process.stderr.readline().startswith("stopping: 1 claims are under way")
    held.opened.set()
    out, err = ended(process)
    assert process.returncode == 130
    told = json.loads(out)
    assert (told["taken"], told["in_flight"], told["pending"], told["interrupted"]) == (5, 0, 15, True)
    assert api.customers == customers(*range(5))
    assert err == f"to go on: {told['resume']}\n"
    _, *resume = shlex.split(told["resume"])
    assert run(*resume).code == 0
    assert api.customers == customers(*range(20))
    assert api.server.changed == set()


def test_resuming_keeps_the_options(run, api, write, started, gate, monkeypatch):
    """The command that goes on has the options that the batch was given, and no others."""
    held = gate(3)
    name = write(*map(claim, range(10)), name="the claims.jsonl")
    given = ["--rate", "200", "--concurrency", "1", "--drain", "90.5", "--out", "the outcomes.jsonl"]
    given += ["--if-exists", "raise", "--patience", "100", "--live"]
    connection = ["--account-id", "T12345678", "--base-url", api.server.base_url, "--timeout", "20"]
    process = started("batch", "run", name, *given, *connection, "--trust-env", "--json")
    assert held.reached.wait(100)
    process.send_signal(signal.SIGTERM)
    assert process.stderr.readline().startswith("stopping: ")
    held.opened.set()
    out, err = ended(process)
    resume = json.loads(out)["resume"]
    assert err == f"to go on: {resume}\n"
    command, group, verb, journal, *options = shlex.split(resume)
    assert (command, group, verb, journal) == ("dintero-claims", "batch", "resume", f"{name}.journal")
    switches = {"--live", "--trust-env"}
    expected = [*given[:-1], *connection]
    pairs = [one for one in options if one not in switches]
    assert dict(zip(pairs[::2], pairs[1::2], strict=True)) == dict(
        zip(expected[::2], expected[1::2], strict=True)
    )
    assert switches <= set(options)
    assert run("batch", "resume", journal, *options).code == 0
    assert api.customers == customers(*range(10))


@pytest.mark.parametrize("why", ["a second signal", "the end of the time to drain"])
def test_stopped_at_once(run, api, write, started, why):
    """A second signal, or the end of the time, leaves what is under way, which is settled on resuming."""
    name = write(*map(claim, range(20)))
    api.server.plan = Queues(claim=[None] * 4 + [STALLED_TAKEN, STALLED])
    drain = "0.01" if "end" in why else "90"
    process = started(
        "batch",
        "run",
        name,
        "--json",
        "--concurrency",
        "2",
        "--drain",
        drain,
        changes="batch_claiming._SAME_SIGNAL = 0",
    )
    api.until(lambda: api.server.claim_requests == 6)
    process.send_signal(signal.SIGTERM)
    assert process.stderr.readline().startswith("stopping: ")
    if "second" in why:
        process.send_signal(signal.SIGTERM)
    out, _ = ended(process)
    assert process.returncode == 130
    told = json.loads(out)
    assert (told["taken"], told["in_flight"], told["pending"]) == (4, 2, 14)
    assert run("batch", "resume", f"{name}.journal").code == 0
    assert api.customers == customers(*range(20))


def test_a_signal_that_comes_twice(api, write, started, gate):
    """A signal that is passed on by a terminal and by whoever started the command counts once."""
    held = gate(5)
    name = write(*map(claim, range(20)))
    process = started(
        "batch", "run", name, "--json", "--concurrency", "1", "--drain", "90",
        changes="batch_claiming._SAME_SIGNAL = 1e9",
    )  # fmt: skip
    assert held.reached.wait(100)
    process.send_signal(signal.SIGINT)
    assert process.stderr.readline().startswith("stopping: ")
    process.send_signal(signal.SIGINT)
    # Handled after it, because signals come in order.
    process.send_signal(signal.SIGTERM)
    held.opened.set()
    out, _ = ended(process)
    assert process.returncode == 130
    assert json.loads(out)["in_flight"] == 0
    assert 0 < batch_claiming._SAME_SIGNAL <= 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_reading_a_file(run, api, write, started, number):
    """An input whose reading was stopped is read again from its beginning, all of it."""
    changes = f"""
import os
add = batch.JournalStore.add_input
def add_input(self, *rows):
    add(self, *rows)
    os.kill(os.getpid(), {number:d})
batch.JournalStore.add_input = add_input
"""
    name = write(*map(claim, range(1500)))
    process = started("batch", "run", name, "--json", changes=changes)
    _, err = ended(process)
    assert process.returncode == 130
    assert json.loads(err)["error"] == "Interrupted"
    assert "the input was not read to its end" in err
    assert api.server.connections == 0
    assert run("batch", "status", f"{name}.journal", "--json").result["rows"] == 1000
    write(*map(claim, range(7)))
    assert run("batch", "resume", f"{name}.journal").code == 0
    assert api.customers == customers(*range(7))


def test_a_pipe_that_was_cut_short(run, api, write, started):
    """What came of a pipe is claimed with --partial only; until then nothing is, by whatever command."""
    write()
    changes = "from dintero_claims_client.cli import batch_load; batch_load._AT_ONCE = 50"
    process = started("batch", "run", "-", "--journal", "j", stdin=subprocess.PIPE, changes=changes)
    # More than a pipe holds, so that some of it has been read then.
    process.stdin.write(lines_of(*map(claim, range(1000))))
    process.stdin.flush()
    process.kill()
    process.wait()
    process.stdin.close()
    status = run("batch", "status", "j", "--json").result
    came = status["rows"]
    assert 0 < came < 1000
    assert (status["pending"], status["input_complete"]) == (came, False)
    assert status["resume"] == "dintero-claims batch resume j"
    resume = run("batch", "resume", "j")
    assert resume.code == 2
    assert f"To claim the {came} rows that came: dintero-claims batch resume j --partial" in resume.err
    again = run("batch", "run", "-", "--journal", "j")
    assert (again.code, "--partial" in again.err) == (2, True)
    assert api.server.connections == 0
    assert run("batch", "resume", "j", "--partial").code == 0
    assert api.customers == customers(*range(came))
    assert run("batch", "resume", "j").code == 0
    assert api.server.claim_requests == came


# Pipes.

PRODUCER = """
import sys
for line in open(sys.argv[1]):
    print(line, end="")
"""


def pipeline(started, name, *options, consumer):
    """Run `producer | dintero-claims batch run - … | consumer`, and return the command's code and stderr."""
    with subprocess.Popen([sys.executable, "-c", PRODUCER, name], stdout=subprocess.PIPE) as producer:
        command = started("batch", "run", "-", "--journal", "j", *options, stdin=producer.stdout)
        producer.stdout.close()
        with subprocess.Popen(consumer, stdin=command.stdout, stdout=subprocess.PIPE, text=True) as last:
            command.stdout.close()
            command.stdout = None
            out, _ = last.communicate(timeout=100)
            _, err = ended(command)
    return command.returncode, out, err


def test_a_pipeline(api, write, started):
    """From a pipe into a pipe: rows in, one JSON object out."""
    code, out, err = pipeline(started, write(*map(claim, range(50))), "--json", consumer=["cat"])
    assert (code, err, json.loads(out)["taken"]) == (0, "", 50)
    assert api.customers == customers(*range(50))


@pytest.mark.parametrize("options", [[], ["--json"], ["--out", "-"]])
def test_a_consumer_that_is_gone(run, api, write, started, options):
    """Output that nobody reads is no traceback but a failure, and loses and doubles nothing."""
    reading, writing = os.pipe()
    os.close(reading)
    process = started("batch", "run", write(*map(claim, range(50))), *options, stdout=writing)
    os.close(writing)
    _, err = ended(process)
    assert process.returncode == 1
    assert "--out" in options or err == ""
    assert run("batch", "resume", "claims.jsonl.journal").code == 0
    assert api.customers == customers(*range(50))
    assert set(api.server.refs_seen.values()) == {1}


def test_a_consumer_that_stops_early(run, api, write, started):
    """When nobody reads outcomes any more the batch stops, without a traceback, and can be resumed."""
    name = write(*map(claim, range(3000)))
    code, out, err = pipeline(
        started, name, "--out", "-", "--json", "--rate", "2000", consumer=["head", "-n", "1"]
    )
    assert code == 1
    assert json.loads(out)["outcome"] == "taken"
    told = json.loads(err.splitlines()[0])
    assert told["pending"] > 0
    assert told["in_flight"] == 0
    assert told["taken"] == len(api.server.ledger.claims)
    assert err.splitlines()[1:] == [f"to go on: {told['resume']}"]
    assert run("batch", "resume", "j").code == 0
    assert api.customers == customers(*range(3000))


# What is shown.


def test_progress_without_a_terminal(api, write, started, gate):
    """Where stderr is no terminal, a line says every few seconds how far the batch is."""
    held = gate(4)
    process = started(
        "batch", "run", write(*map(claim, range(10))), "--concurrency", "1", "--json",
        changes="batch_progress._EVERY = 0.05",
    )  # fmt: skip
    assert held.reached.wait(100)
    while "3 of 10 done" not in (line := process.stderr.readline()):
        assert line
    assert "3 taken, 0 refused, 0 unknown; " in line
    assert "1 in flight" in line
    held.opened.set()
    ended(process)
    assert process.returncode == 0


def test_progress_on_a_terminal(api, write, started, gate):
    """On a terminal progress is live, and gone at the end; the result on stdout is untouched by it."""
    held = gate(4)
    name = write(*map(claim, range(10)))
    ours, theirs = pty.openpty()
    process = started(
        "batch", "run", name, "--concurrency", "1", "--json",
        stderr=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        while b"3 of 10 done" not in shown:
            shown += terminal.read(4096)
        held.opened.set()
        with contextlib.suppress(OSError):
            # Which is how a terminal says that nobody writes to it any more.
            while piece := terminal.read(4096):
                shown += piece
    out, _ = ended(process)
    assert (process.returncode, json.loads(out)["taken"]) == (0, 10)
    assert is_clean(shown)
    assert b"Traceback" not in shown


# A disk that is full.

FULL = """
import resource, os
from dintero_claims_client._batch_run import BatchRun
given = BatchRun._give
def give(run, turn, outcome):
    if turn.order == 9:
        size = os.stat("claims.jsonl.journal-wal").st_size + 3 * 4096
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    given(run, turn, outcome)
BatchRun._give = give
"""


@pytest.mark.parametrize("out", [[], ["--out", "out.jsonl"], ["--out", "-"]])
def test_a_full_disk(run, api, write, started, out, tmp_path):
    """When the disk is full nothing more is sent, what was under way is told, and a resume goes on."""
    name = write(*map(claim, range(200)))
    process = started("batch", "run", name, "--concurrency", "4", "--json", *out, changes=FULL)
    said, err = ended(process)
    assert process.returncode == 1
    assert "cannot be written" in err
    told = json.loads(said if "-" not in out else err.splitlines()[0])
    sent = api.server.claim_requests
    assert 10 <= sent < 100
    # Each that was sent is told, or known as sent.
    assert told["taken"] + told["in_flight"] >= sent
    assert told["resume"] == " ".join([RESUME, *out, "--concurrency 4"])
    if "-" in out:
        rows = [json.loads(line) for line in said.splitlines()]
        assert sorted(row["row"]["customer_id"] for row in rows if row["outcome"] == "taken") == api.customers
    assert run("batch", "resume", f"{name}.journal").code == 0
    assert api.customers == customers(*range(200))
    assert api.server.changed == set()


def test_a_full_disk_for_the_outcomes(run, api, write, started, tmp_path):
    """A file of outcomes that cannot be written is an error in words, behind the summary."""
    name = write(*map(claim, range(50)))
    changes = """
import resource
export = batch.exported
def exported(store):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    return export(store)
batch.exported = exported
"""
    process = started("batch", "run", name, "--out", "out.jsonl", "--json", changes=changes)
    out, err = ended(process)
    assert process.returncode == 1
    assert json.loads(out)["taken"] == 50
    assert "out.jsonl: cannot be written" in err
    assert not (tmp_path / "out.jsonl").exists()
    assert run("batch", "export", f"{name}.journal", "--out", "out.jsonl").code == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 50


@pytest.mark.parametrize("out", ["none/out.jsonl", "."])
def test_a_file_for_the_outcomes_that_cannot_be(run, api, write, out):
    """A place where no file of outcomes can be written is said before anything is sent."""
    finished = run("batch", "run", write(claim(1)), "--out", out)
    assert finished.code == 2
    assert f"{out}: cannot be written" in finished.err
    assert api.server.connections == 0


@pytest.mark.parametrize("why", ["a second signal", "the end of the time to drain"])
def test_stopped_at_once_while_nobody_reads(run, api, write, started, why):
    """Who does not read outcomes cannot keep the command from being stopped."""
    name = write(*map(claim, range(3000)))
    drain = "0.01" if "end" in why else "90"
    changes = "batch_claiming._SAME_SIGNAL = 0"
    process = started("batch", "run", name, "--out", "-", "--json", "--drain", drain, changes=changes)
    # More outcomes than the pipe holds.
    api.until(lambda: api.server.claim_requests > 1000)
    process.send_signal(signal.SIGTERM)
    assert process.stderr.readline().startswith("stopping: ")
    if "second" in why:
        process.send_signal(signal.SIGTERM)
    assert process.wait(100) == 130
    ended(process)
    assert run("batch", "resume", f"{name}.journal").code == 0
    assert api.customers == customers(*range(3000))


@pytest.mark.parametrize(
    "taken", ["claims.jsonl", "claims.jsonl.journal", "claims.jsonl.journal.rejects.jsonl"]
)
def test_what_the_batch_needs_is_not_written_over(run, api, write, tmp_path, taken):
    """Outcomes do not take the place of the input, the journal or the rejects; nothing is sent then."""
    name = write(claim(1), "{")
    finished = run("batch", "run", name, "--out", taken)
    assert (finished.code, api.server.claim_requests) == (2, 0)
    assert "the batch needs what is there" in finished.err
    assert run("batch", "run", name).code == 1
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert run("batch", "export", f"{name}.journal", "--out", taken).code == 2
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name in before} == before


@pytest.mark.skipif(sys.platform == "win32", reason="needs a named pipe")
def test_outcomes_into_a_named_pipe(run, api, write, tmp_path):
    """A pipe or a device that outcomes go to stays what it is, and gets them."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    assert run("batch", "run", write(claim(1), claim(2)), "--out", str(pipe)).code == 0
    reader.join()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [json.loads(line)["outcome"] for line in got[0].splitlines()] == ["taken", "taken"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize("count", [5, 1500])
def test_outcomes_onto_a_full_disk(api, write, count):
    """Outcomes that stdout does not take stop the batch, which says so and can be resumed."""
    name = write(*(claim(number) for number in range(count)))
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [COMMAND, "batch", "run", name, "--out", "-"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=100,
            check=False,
        )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "the outcomes cannot be written: No space left on device" in ended.stderr
    done = subprocess.run([COMMAND, "batch", "resume", f"{name}.journal"], capture_output=True, check=False)
    assert done.returncode == 0
    assert api.customers == customers(*range(count))


def test_refused_credentials_are_told_as_they_are(run, api, write, monkeypatch):
    """Where the credentials are refused nothing is in flight, and summary and exit code agree."""
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", "wrong-secret")
    monkeypatch.setattr("dintero_claims_client._batch_run.SHORTEST_PAUSE", 0.001)
    finished = run("batch", "run", write(claim(1), claim(2)), "--json")
    told = json.loads(finished.out)
    assert (finished.code, told["exit_code"], told["in_flight"], told["pending"]) == (3, 3, 0, 2)
    assert "nothing was claimed" not in finished.err
    assert api.server.claim_requests == 0


def test_an_input_that_is_a_pipe_with_a_name(run, api, write, started, tmp_path):
    """An input such as `<(command)` is read once, as stdin is; one cut short needs --partial."""
    write()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    changes = "from dintero_claims_client.cli import batch_load; batch_load._AT_ONCE = 50"
    process = started("batch", "run", "pipe", "--journal", "j", changes=changes)
    with pipe.open("w") as writer:
        writer.write(lines_of(*map(claim, range(1000))))
        writer.flush()
        process.send_signal(signal.SIGTERM)
        _, err = ended(process)
    assert process.returncode == 130
    assert "the input was not read to its end, and this run claimed nothing" in err
    came = run("batch", "status", "j", "--json").result["rows"]
    resume = run("batch", "resume", "j")
    assert (resume.code, "batch resume j --partial" in resume.err) == (2, True)
    assert run("batch", "resume", "j", "--partial").code == 0
    assert api.customers == customers(*range(came))
    writer = threading.Thread(target=lambda: pipe.write_text(lines_of(claim(7))))
    writer.start()
    assert run("batch", "run", "pipe", "--json").result["taken"] == 1
    writer.join()
    assert [one.name for one in tmp_path.glob("pipe.*")] == []


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(run, api, write, closed):
    """A command whose streams are closed claims all the same, or says that there is no input."""
    name = write(claim(1), claim(2))
    shell = ["sh", "-c", f'exec "$0" "$@" {closed}', COMMAND]
    done = subprocess.run(
        [*shell, "batch", "run", name], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert api.customers == customers(1, 2)
    done = subprocess.run(
        [*shell, "batch", "run", "-", "--journal", "j"],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=100,
        check=False,
    )
    assert "Traceback" not in done.stderr
    if closed == "<&-":
        assert (done.returncode, "stdin is closed" in done.stderr) == (2, True)
        done = subprocess.run(
            [*shell, "claim", "-"], capture_output=True, text=True, timeout=100, check=False
        )
        assert (done.returncode, "stdin is closed" in done.stderr) == (2, True)


def test_a_csv_from_a_pipe_that_was_cut_off(api, write, tmp_path):
    """A last row without a line end makes no claim when it comes from a pipe: its amount may lack digits."""
    name = write("", name="sales.csv")
    header = "purchase_at,customer_id,ref,discounts.id,discounts.refs.id,discounts.refs.amount"
    rows = [
        "2026-11-23T12:00:00Z,customer-0001,order-1,d1,i1,50000",
        "2026-11-23T12:00:00Z,customer-0002,order-2,d1,i1,500",
    ]
    content = "\n".join([header, *rows])[:-2]
    (tmp_path / name).write_text(content, encoding="utf-8")
    ended = subprocess.run(
        [COMMAND, "batch", "run", "-", "--format", "csv", "--journal", "pipe.journal"],
        input=content,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 1
    assert api.customers == customers(1)
    rejected = json.loads((tmp_path / "pipe.journal.rejects.jsonl").read_text(encoding="utf-8"))
    assert (rejected["line"], "no line end" in rejected["reason"]) == (3, True)
    # A file is what it is.
    assert subprocess.run([COMMAND, "batch", "run", name], capture_output=True, check=False).returncode == 0
    assert api.customers == customers(1, 2)
