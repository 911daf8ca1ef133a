"""The doctor on a journal: who works with it, whose it is, and what is left."""

import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from support.journals import UNKNOWN, row, taken

from dintero_claims_client._journal import JournalStore, MarkSent, SetOutcome

from .test_doctor import checks, diagnosis

HOLD = """
import sys
from pathlib import Path
from dintero_claims_client._journal import JournalStore
store = JournalStore.open(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(path: Path):
    """Let another process work with a journal."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield
        process.stdin.close()
    assert process.returncode == 0


@pytest.fixture
def journal(tmp_path):
    """Return the journal of a batch that was stopped: one row under way, one unknown, one not begun."""
    path = tmp_path / "the claims.journal"
    with closing(JournalStore.open(path)) as store:
        store.bind_account("T12345678")
        store.write([row(0), MarkSent(0), row(1), MarkSent(1), row(2)])
        store.write([SetOutcome(1, UNKNOWN)])
    return path


def test_a_journal_that_can_be_resumed(run, sandbox, journal):
    """A journal that nobody works with, and that has open rows, comes with the command that goes on."""
    finished = run("doctor", "--json", "--journal", str(journal))
    assert finished.code == 0
    status, said = checks(finished)["journal"]
    assert status == "ok"
    assert "is of account T12345678, and 3 of its 3 rows have no final outcome; it can be resumed" in said
    assert f"dintero-claims batch resume '{journal}'" in said


def test_a_journal_of_a_program_that_has_more(run, sandbox, journal):
    """A journal that has not all rows of a program's requests is not said to be whole, or at its end."""
    with closing(JournalStore.open(journal)) as store:
        store.write([SetOutcome(n, taken(n)) for n in range(3)])
    said = checks(run("doctor", "--json", "--journal", str(journal)))["journal"][1]
    assert "claim_many with the same requests, and this journal, goes on with the rest" in said
    status = run("batch", "status", str(journal), "--json")
    assert (status.result["input_complete"], status.result["resume"]) == (False, None)
    assert "goes on with the rest" in status.err
    resumed = run("batch", "resume", str(journal))
    assert (resumed.code, "goes on with the rest" in resumed.err) == (0, True)
    with closing(JournalStore.open(journal)) as store:
        store.finish_source(3)
    status = run("batch", "status", str(journal), "--json")
    assert (status.result["input_complete"], status.err) == (True, "")


def test_two_clients_on_one_journal(run, sandbox, journal):
    """While another process works with a journal, that is said, and nothing is done to it."""
    with held(journal):
        finished = run("doctor", "--json", "--journal", str(journal))
        status, said = checks(finished)["journal"]
        assert (finished.code, status) == (0, "warning")
        assert "of account T12345678" in said
        assert "another process works with it now" in said
        assert f"dintero-claims batch status '{journal}'" in said
        assert run("batch", "resume", str(journal)).code == 2
    assert "it can be resumed" in checks(run("doctor", "--json", "--journal", str(journal)))["journal"][1]


def test_a_journal_of_another_account(run, sandbox, journal):
    """A journal of another account is refused by a resume, and this says why before."""
    with closing(JournalStore.open(other := journal.with_name("other"))) as store:
        store.bind_account("T00000000")
    finished = run("doctor", "--json", "--journal", str(other))
    code, check, said = diagnosis(finished)
    assert (code, check) == (2, "journal")
    assert "is of account T00000000" in said
    assert "the settings are for T12345678" in said
    assert "--account-id T00000000" in said


def test_a_journal_that_is_done(run, sandbox, tmp_path, claim_file):
    """A journal in which all is settled has nothing to resume."""
    batch = tmp_path / "claims.jsonl"
    batch.write_bytes(Path(claim_file()).read_bytes())
    assert run("batch", "run", str(batch)).code == 0
    finished = run("doctor", "--json", "--journal", f"{batch}.journal")
    assert finished.code == 0
    assert (
        "0 of its 1 rows have no final outcome; there is nothing to resume" in checks(finished)["journal"][1]
    )


def test_a_journal_without_an_account(run, sandbox, tmp_path):
    """A journal whose input was not read to its end has no account yet, and is read again."""
    path = tmp_path / "half.journal"
    with closing(JournalStore.open(path)) as store:
        store.begin_input({"name": "claims.jsonl"})
    said = checks(run("doctor", "--json", "--journal", str(path)))["journal"][1]
    assert "is of no account yet" in said
    assert "its input was not read to its end, and will be read again" in said


def test_no_journal(run, sandbox, tmp_path):
    """A path without a journal is wrong, and all else is looked at all the same."""
    finished = run("doctor", "--json", "--journal", str(tmp_path / "nothing"))
    code, check, said = diagnosis(finished)
    assert (code, check) == (2, "journal")
    assert "there is no journal at" in said
    assert "batch run names the journal as its input" in said
    assert checks(finished)["list"][0] == "ok"


def test_the_journal_that_may_be_meant(run, sandbox, journal):
    """Where the ending was left away, or the input was named, the journal beside it is named."""
    path = journal.with_suffix("")
    code, check, said = diagnosis(run("doctor", "--json", "--journal", str(path)))
    assert (code, check) == (2, "journal")
    assert f"did you mean '{journal}'?" in said
    path.write_bytes(b"an input")
    assert f"did you mean '{journal}'?" in diagnosis(run("doctor", "--json", "--journal", str(path)))[2]


def test_a_file_that_is_no_journal(run, sandbox, tmp_path):
    """A file of another kind is said to be one."""
    path = tmp_path / "other"
    path.write_bytes(b"something else" * 100)
    code, check, said = diagnosis(run("doctor", "--json", "--journal", str(path)))
    assert (code, check) == (2, "journal")
    assert "is not a journal" in said


def test_a_journal_and_settings_that_are_wrong(run, journal, monkeypatch):
    """A journal is looked at also where nothing else can be."""
    monkeypatch.setenv("DINTERO_BASE_URL", "nowhere")
    finished = run("doctor", "--json", "--journal", str(journal))
    assert finished.code == 2
    assert checks(finished)["journal"][0] == "ok"
