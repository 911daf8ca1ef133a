"""A process that is killed at every boundary, and a ledger that holds each claim once all the same."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from faults.script import Act, Fault, Point, Queues
from faults.server import FaultServer
from support.canary import is_clean

from . import kills
from .kills import Children, Report, claim_of, run_random_kills, scene, told_by

AT_ONCE = 2
"""Rows of the input in one transaction, so that there are several."""

CLAIMS = [
    claim_of(0, ref=True),
    claim_of(1, ref=False),
    claim_of(2, ref=False, limited=True),
    claim_of(3, ref=True, customer="refused"),
    claim_of(4, ref=False, customer="refused"),
    claim_of(5, ref=True, limited=True),
]


class RefusedOnce(Queues):
    """Refuses claims of some customers at their first attempt."""

    def for_request(self, request):
        if request.operation == "claim" and request.attempt == 1 and "refused" in (request.customer_id or ""):
            return Fault(Point.ANSWERED, Act.KEEP, answer="400")
        return super().for_request(request)


class Way:
    """A way to claim a batch, and to go on with it."""

    def __init__(self, start, again):
        self._start = start
        self._again = again

    def start(self, batch):
        """Return the arguments that begin the batch."""
        return [getattr(batch, one[1:]) if str(one).startswith("@") else one for one in self._start]

    def again(self, batch):
        """Return the arguments that go on with it."""
        return [getattr(batch, one[1:]) if str(one).startswith("@") else one for one in self._again]


RUN = ["batch", "run", "@input", "--concurrency", "1"]
RESUME = ["batch", "resume", "@journal", "--concurrency", "1"]
WAYS = {
    "run and resume": Way([*RUN, "--out", "-"], [*RESUME, "--out", "-"]),
    "run and run again": Way([*RUN, "--out", "@export", "--json"], [*RUN, "--out", "@export", "--json"]),
    "claim_many": Way(*[["claim_many", "@input", "@journal", "1"]] * 2),
}

READING = ["begin_input", "add_input", "finish_input"]
BOUNDARIES = {
    "before the lock",
    "before a file is made",
    "before the check of the journal",
    *(f"{when} checkpoint of {what}" for when in ("before", "after") for what in ("open", "close")),
    *(f"{when} COMMIT of {what}" for when in ("before", "after") for what in ("open", "bind_account")),
    "before a write is queued",
    *(f"{when} COMMIT of an {what}" for when in ("before", "after") for what in ("intent", "outcome")),
    "before sending",
    "after the answer",
    "before an outcome is given out",
    "after an outcome is given out",
    "before the close",
}
OF_THE_COMMAND = {f"{when} COMMIT of {what}" for when in ("before", "after") for what in READING}


@pytest.fixture
async def children(tmp_path):
    """Return what runs commands in processes that can be killed."""
    async with Children(tmp_path) as children:
        yield children


def settled(told):
    """Return what is told of each customer, by what it is recognised."""
    return {
        line["row"]["customer_id"]: (line["outcome"], (line.get("claim") or {}).get("id"), line["ref"])
        for line in told
    }


def check_order(trace):
    """Hold a batch that goes row by row against the order of disk, network and consumer."""
    steps = {
        "before sending": "after COMMIT of an intent",
        "before an outcome is given out": "after COMMIT of an outcome",
    }
    for step, first in steps.items():
        done = 0
        for one in trace:
            done += (one == first) - (one == step)
            assert done in (0, 1), f"{step} without {first}"


def size_of(path, suffix=""):
    """Return the size of a file, which need not be there."""
    file = Path(f"{path}{suffix}")
    return file.stat().st_size if file.exists() else 0


async def go_on(batch, way):
    """Go on with a batch until it is finished, and return how that ended."""
    ended = await batch.run(*way.again(batch), at_once=AT_ONCE)
    if ended.code == 2:
        # It was killed before there was anything to go on with.
        assert "there is no journal" in ended.err or "no input" in ended.err
        assert batch.server.claim_requests == 0
        ended = await batch.run(*way.start(batch), at_once=AT_ONCE)
    return ended


def check_finished(batch, ended, told=()):
    """Hold a finished batch against the ledger, and against what was told before."""
    report = Report()
    lines = told_by(batch.journal)
    report.compare(batch.claims, lines, batch.server)
    assert report.is_clean, report.examples
    known = settled(lines)
    assert {customer: known[customer] for customer in settled(told)} == settled(told)
    assert ended.code == (0 if all(line["outcome"] == "taken" for line in lines) else 1), ended.err
    return lines


async def check_all_taken(batch):
    """Claim again what was refused, after which everything is taken, once."""
    again = await batch.run("batch", "retry-refused", batch.journal, at_once=AT_ONCE)
    lines = check_finished(batch, again)
    assert {line["outcome"] for line in lines} == {"taken"}
    assert len(batch.server.ledger.claims) == len({claim["customer_id"] for claim in batch.claims})


@pytest.mark.parametrize("name", WAYS)
async def test_a_kill_at_every_boundary(tmp_path, children, name):
    """Wherever the process is killed, going on takes each claim once, and stands by what was told before."""
    way = WAYS[name]
    # In a program, a row that repeats a ref is another attempt at the claim.
    claims = CLAIMS if name == "claim_many" else [*CLAIMS, CLAIMS[0]]
    async with scene(tmp_path, claims, children, RefusedOnce()) as batch:
        whole = await batch.run(*way.start(batch), traced=True, at_once=AT_ONCE)
        lines = check_finished(batch, whole, whole.told if "--json" not in way.start(batch) else ())
        assert await batch.exported() == lines
        assert sum(line["outcome"] == "refused" for line in lines) == 2
    assert set(whole.trace) >= BOUNDARIES | (set() if name == "claim_many" else OF_THE_COMMAND)
    check_order(whole.trace)
    for at, boundary in enumerate(whole.trace):
        async with scene(tmp_path, claims, children, RefusedOnce()) as batch:
            killed = await batch.run(*way.start(batch), kill_at=at, at_once=AT_ONCE)
            assert killed.code is None
            assert killed.trace[-1] == boundary
            if killed.told:
                # What was given out is on disk.
                kept = settled(told_by(batch.journal))
                assert {customer: kept[customer] for customer in settled(killed.told)} == settled(killed.told)
            ended = await go_on(batch, way)
            lines = check_finished(batch, ended, killed.told)
            if name == "claim_many":
                assert settled(ended.told) == settled(lines)


@pytest.mark.parametrize("name", WAYS)
async def test_kills_that_let_each_process_get_one_step_further(tmp_path, children, name):
    """A batch whose every process is killed, each one boundary later than the last, comes to its end."""
    way = WAYS[name]
    told = []
    async with scene(tmp_path, CLAIMS, children, RefusedOnce()) as batch:
        # At first in the middle of the batch, so that there are rows to settle.
        ended = await batch.run(*way.start(batch), kill_at=30, at_once=AT_ONCE)
        kills = 0
        while ended.code is None:
            told += ended.told
            ended = await batch.run(*way.again(batch), kill_at=kills, at_once=AT_ONCE)
            kills += 1
        assert kills > 10
        check_finished(batch, ended, told)
        await check_all_taken(batch)


AT_THE_SERVER = {
    "while it is sent": Fault(Point.UPLOAD, Act.RESET),
    "in the middle of its body": Fault(Point.UPLOAD, Act.RESET, after=30),
    "when it was read": Fault(Point.RECEIVED, Act.RESET),
    "when it was taken": Fault(Point.RECEIVED, Act.RESET, commit=True),
    "in the middle of its answer": Fault(Point.BODY, Act.RESET, commit=True, after=20),
    "when it is answered": None,
}


@pytest.mark.parametrize("moment", AT_THE_SERVER)
@pytest.mark.parametrize("name", WAYS)
async def test_a_kill_while_the_server_has_the_claim(tmp_path, children, name, moment):
    """A kill at any moment of the exchange of any claim leaves it neither lost nor doubled."""
    way = WAYS[name]
    for number in range(1, len(CLAIMS) + 1):
        async with scene(tmp_path, CLAIMS, children, RefusedOnce()) as batch:
            plan = batch.server.plan
            plan.countdown, plan.fault, plan.strike = number, AT_THE_SERVER[moment], children.kill
            killed = await batch.run(*way.start(batch), at_once=AT_ONCE)
            assert killed.code is None
            assert batch.server.claim_requests == number
            unfinished = [line for line in told_by(batch.journal) if line["outcome"] == "in_flight"]
            assert [line["row"]["customer_id"] for line in unfinished] == [CLAIMS[number - 1]["customer_id"]]
            ended = await go_on(batch, way)
            check_finished(batch, ended, killed.told)
            await check_all_taken(batch)


@pytest.mark.parametrize("name", WAYS)
async def test_kills_while_a_row_is_settled(tmp_path, children, name):
    """A claim whose process is killed again and again while it is settled is taken once, and told so."""
    way = WAYS[name]
    for claim in CLAIMS[:3]:
        async with scene(tmp_path, [claim], children) as batch:
            plan = batch.server.plan
            taken = AT_THE_SERVER["when it was taken"]
            for operation, fault in [("claim", taken), ("claim", None), ("list", None)] * 2:
                plan.operation, plan.countdown, plan.fault, plan.strike = operation, 1, fault, children.kill
                arguments = way.again(batch) if batch.journal.exists() else way.start(batch)
                assert (await batch.run(*arguments, at_once=AT_ONCE)).code is None
                assert plan.countdown is None
            (line,) = check_finished(batch, await go_on(batch, way))
            assert line["recovered"]
            assert len(batch.server.ledger.claims) == 1


async def test_kills_while_claims_are_under_way_at_once(tmp_path, children):
    """With many under way at once, whatever was sent at the kill is settled, with and without a ref."""
    claims = kills.any_claims(40, random.Random(1))
    for number in range(1, 40, 6):
        for name in ("run and resume", "claim_many"):
            way = WAYS[name]
            async with scene(tmp_path, claims, children) as batch:
                start, again = (
                    [argument if argument != "1" else "20" for argument in arguments]
                    for arguments in (way.start(batch), way.again(batch))
                )
                plan = batch.server.plan
                plan.countdown, plan.strike = number, children.kill
                killed = await batch.run(*start)
                assert killed.code is None
                ended = await batch.run(*again)
                lines = check_finished(batch, ended, killed.told)
                assert [line["outcome"] for line in lines] == ["taken"] * 40


async def test_a_kill_while_a_pipe_is_read(tmp_path, children):
    """What came of a pipe is claimed on demand only, and then exactly what came."""
    way = ["batch", "run", "-", "--concurrency", "1", "--journal"]
    async with scene(tmp_path, CLAIMS, children) as batch:
        whole = await batch.run(*way, batch.journal, traced=True, at_once=AT_ONCE, stdin=batch.input)
        assert whole.code == 0
    last = whole.trace.index("after COMMIT of finish_input")
    came = set()
    for at in range(whole.trace.index("after COMMIT of begin_input"), last + 1):
        async with scene(tmp_path, CLAIMS, children) as batch:
            run = await batch.run(*way, batch.journal, kill_at=at, at_once=AT_ONCE, stdin=batch.input)
            assert run.code is None
            there = batch.claims = CLAIMS[: len(told_by(batch.journal))]
            came.add(len(there))
            partial = []
            if at < last:
                for arguments in (["resume", batch.journal], [*way[1:], batch.journal]):
                    refused = await batch.run("batch", *arguments, stdin=batch.input)
                    assert refused.code == 2
                    assert "--partial" in refused.err
                assert batch.server.exchanges == 0
                partial = ["--partial"]
            ended = await batch.run("batch", "resume", batch.journal, *partial)
            if there:
                check_finished(batch, ended)
            else:
                assert (ended.code, batch.server.exchanges) == (2, 0)
            assert len(batch.server.ledger.claims) == len(there)
    assert came == {0, 2, 4, 6}


async def test_kills_of_retry_refused(tmp_path, children):
    """Wherever it is killed, what was refused is taken once, by the same command again or by a resume."""
    retry, resume = ["batch", "retry-refused"], ["batch", "resume"]
    at, ended = 0, None
    while ended is None or ended.code is None:
        async with scene(tmp_path, CLAIMS, children, RefusedOnce()) as batch:
            assert (await batch.run("batch", "run", batch.input, at_once=AT_ONCE)).code == 1
            ended = await batch.run(*retry, batch.journal, "--concurrency", 1, kill_at=at, at_once=AT_ONCE)
            outcomes = [line["outcome"] for line in told_by(batch.journal)]
            # What is still refused is nothing that a resume would claim.
            again = retry if at % 2 or outcomes.count("refused") == 2 else resume
            finished = await batch.run(*again, batch.journal, at_once=AT_ONCE)
            lines = check_finished(batch, finished)
            assert {line["outcome"] for line in lines} == {"taken"}
        at += 1
    assert {"before COMMIT of requeue_refused", "after COMMIT of requeue_refused"} <= set(ended.trace)
    assert at > 20


async def test_kills_of_purge(tmp_path, children):
    """Wherever it is killed, nothing but personal data goes, and doing it again leaves none on the disk."""
    at, ended = 0, None
    while ended is None or ended.code is None:
        async with scene(tmp_path, CLAIMS, children, RefusedOnce()) as batch:
            before = [
                (line["outcome"], line["ref"], line.get("claim", {}).get("id"))
                for line in check_finished(batch, await batch.run("batch", "run", batch.input))
            ]
            ended = await batch.run("batch", "purge", batch.journal, kill_at=at, at_once=AT_ONCE)
            again = await batch.run("batch", "purge", batch.journal)
            assert again.code == 0
            assert [
                (line["outcome"], line["ref"], line.get("claim", {}).get("id"))
                for line in await batch.exported()
            ] == before
            left = b"".join(file.read_bytes() for file in batch.journal.parent.glob("claims.jsonl.journal*"))
            assert before[0][2].encode() in left
            assert [c["customer_id"] for c in CLAIMS if c["customer_id"].encode() in left] == []
            again = await batch.run("batch", "run", batch.input)
            assert again.code == 1
            assert batch.server.claim_requests == len(CLAIMS)
        at += 1
    assert {"before VACUUM of purge", "before checkpoint of purge", "after checkpoint of purge"} <= set(
        ended.trace
    )


async def test_kills_of_export(tmp_path, children):
    """Wherever it is killed, the file is the old one or the new one, and whole."""
    at, ended, found = 0, None, []
    async with scene(tmp_path, CLAIMS, children) as batch:
        assert (await batch.run("batch", "run", batch.input)).code == 0
        new = (await batch.exported(), batch.export.read_text())[1]
        while ended is None or ended.code is None:
            batch.export.write_text("old\n")
            ended = await batch.run(
                "batch", "export", batch.journal, "--out", batch.export, kill_at=at, at_once=AT_ONCE
            )
            found.append(batch.export.read_text())
            at += 1
    assert set(found) == {"old\n", new}
    assert found == sorted(found, key=lambda text: text == new)
    assert "before a file replaces another" in ended.trace


@pytest.mark.parametrize("name", ["run and resume", "claim_many"])
async def test_kills_in_the_middle_of_writing(tmp_path, children, name):
    """A journal goes on whose process was killed within a write, wherever in the file that was."""
    way = WAYS[name]
    claims = kills.any_claims(60, random.Random(2))
    died_at_sizes = set()
    told = []
    async with scene(tmp_path, claims, children) as batch:
        size, ended = 40_000, None
        while ended is None or ended.code is None:
            ended = await batch.run(*(way.start if ended is None else way.again)(batch), file_size=size)
            if ended.code is None:
                died_at_sizes.add(size_of(batch.journal, "-wal"))
            told += ended.told
            size += 4567
        assert len(died_at_sizes) > 5
        check_finished(batch, ended, told)
        assert len(batch.server.ledger.claims) == 60


async def test_a_kill_in_the_middle_of_a_checkpoint(tmp_path, children):
    """A journal goes on whose process was killed while the log was copied into the file, at any page."""
    claims = kills.any_claims(60, random.Random(3))
    sizes = set()
    async with scene(tmp_path, claims, children) as batch:
        plan = batch.server.plan
        plan.countdown, plan.strike = 50, children.kill
        assert (await batch.run("batch", "run", batch.input, "--concurrency", 1, at_once=10)).code is None
        written = size_of(batch.journal, "-wal")
        first = max(size_of(batch.journal), size_of(batch.journal, "-shm"))
        for size in range(first + 1000, 10**6, 7000):
            ended = await batch.run("batch", "resume", batch.journal, file_size=size)
            if ended.code is not None or size_of(batch.journal, "-wal") < written:
                # The checkpoint came to its end.
                break
            assert batch.server.claim_requests == 50
            sizes.add(size_of(batch.journal))
        assert len(sizes) > 2
        check_finished(batch, await batch.run("batch", "resume", batch.journal))
        assert len(batch.server.ledger.claims) == 60


SEED = 5


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [SEED, SEED + 1], ids=["of a program", "of the command"])
async def test_kills_at_random(tmp_path, seed):
    """With 8 kills, and faults, none of 2,500 rows is lost, doubled, misattributed, refused or unknown."""
    report = await run_random_kills(8, 2500, seed, 0.1)
    assert report.is_clean, report.examples
    assert report.kills == 8
    # Otherwise the figures show nothing.
    assert min(report.faulted, report.recovered) > 25


async def test_random_kills_that_fail_say_how_to_repeat_them(tmp_path, capsys, monkeypatch):
    """A figure that is not zero comes with an example and the command that runs the same again."""
    monkeypatch.setattr(kills, "told_by", lambda _journal: [])
    report = await run_random_kills(1, 20, SEED, 0.0)
    assert not report.is_clean
    printed = capsys.readouterr().out
    assert "lost: customer-0: told []" in printed
    assert f"again with: ./scripts/kills.sh 1 --rows 20 --seed {SEED} --fault-rate 0" in printed


def test_the_script(tmp_path):
    """The command says its seed and its figures, and exits with 0 where they are zero."""
    ended = subprocess.run(
        [sys.executable, "-m", "batch.kills", "2", "--rows", "50", "--seed", "1"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    first, last = ended.stdout.splitlines()
    assert first == "seed 1"
    assert last.startswith("2 kills, ")
    assert last.endswith(" of 50 rows: 0 lost, 0 doubled, 0 misattributed, 0 refused, 0 unknown")
    assert is_clean(ended.stdout + ended.stderr)


CLAIM = claim_of(7, ref=True)
HELD = {**CLAIM, "id": "one"}
OTHER = {**CLAIM, "id": "other"}


def line(outcome, claim=None):
    """Return what is told of the claim."""
    return {"outcome": outcome, "ref": CLAIM["ref"], "row": CLAIM, "claim": claim}


@pytest.mark.parametrize(
    ("told", "held", "figures"),
    [
        ([line("taken", HELD)], [HELD], set()),
        ([line("taken", HELD)], [], {"lost"}),
        ([], [HELD], {"lost"}),
        ([line("taken", HELD)], [HELD, OTHER], {"doubled"}),
        ([line("taken", OTHER)], [HELD], {"misattributed"}),
        ([line("taken", HELD)], [{**HELD, "ref": "another"}], {"misattributed"}),
        ([line("taken", HELD)], [{**HELD, "discounts": []}], {"misattributed"}),
        ([line("refused")], [], set()),
        ([line("refused")], [HELD], {"refused"}),
        ([line("rejected")], [HELD], {"refused"}),
        ([line("unknown")], [HELD], {"unknown"}),
        ([line("in_flight")], [], {"unknown"}),
        ([line("pending")], [], {"unknown"}),
        ([line("taken")], [HELD], {"unknown"}),
    ],
)
def test_what_is_counted(told, held, figures):
    """Each of the five figures counts what it says, so that a zero means something."""
    server = FaultServer()
    server.ledger.by_customer[CLAIM["customer_id"]] = held
    report = Report()
    report.compare([CLAIM], told, server)
    assert {name for name in kills.FIGURES if report.figures[name]} == figures
    assert report.is_clean is (not figures)


def test_what_else_is_doubled():
    """A claim of nobody in the batch, and a ref that came with other bytes, count as doubled."""
    server = FaultServer()
    server.ledger.by_customer["a stranger"] = [HELD]
    server.changed.add("order-7")
    report = Report()
    report.compare([], [], server)
    assert report.figures["doubled"] == 2
