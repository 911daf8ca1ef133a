"""The command as a whole: help and its examples, usage, what is missing, and how it is ended."""

import asyncio
import inspect
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dintero_claims_client import ClaimsClient, __version__
from dintero_claims_client.cli import main
from dintero_claims_client.cli.app import app

from .conftest import CLAIM, COMMAND

COMMANDS = ("batch", "demo", "claim", "completion", "get", "list", "find", "doctor", "sandbox")


def all_commands(group=app, path=()):
    """Give the names of all commands; the one without a name is the whole."""
    if not path or group.default_command is not None:
        yield path
    for name in group:
        if not name.startswith("-"):
            yield from all_commands(group[name], (*path, name))


def examples(text: str) -> list[list[str]]:
    """Return the arguments of the examples in a help text."""
    found = re.findall(r"Example: dintero-claims (.*)", text)
    # What a shell does with the output is the shell's.
    return [shlex.split(example.partition(" > ")[0]) for example in found]


def test_help(run):
    """The help names every command and every exit code."""
    finished = run("--help")
    assert finished.code == 0
    assert finished.err == ""
    for command in COMMANDS:
        assert f"  {command}: " in finished.out
    for code in (0, 1, 2, 3, 4, 5, 130):
        assert f"  {code:<4} " in finished.out


@pytest.mark.parametrize("path", list(all_commands()), ids=lambda path: " ".join(path) or "all")
def test_help_of_a_command(run, path):
    """Every command's help has examples, which are of it, and which the command understands."""
    finished = run(*path, "--help")
    assert finished.code == 0
    found = examples(finished.out)
    assert found
    for example in found:
        assert tuple(example[: len(path)]) == path
        app.parse_args(example, exit_on_error=False, print_error=False)


def test_the_examples_run(run, sandbox, tmp_path, monkeypatch):
    """The examples of the help do what they say, one after the other, with a sandbox."""
    monkeypatch.chdir(tmp_path)
    claim = run("claim", "--help").out.partition("with this in claim.json:")[2].partition("\n\n")[0]
    Path("claim.json").write_text(claim, encoding="utf-8")
    Path("claims.jsonl").write_text(json.dumps(CLAIM | {"ref": "order-2"}), encoding="utf-8")
    Path("sales.csv").write_text(
        "order,purchase_at,customer_id,discounts.id\norder-3,2026-11-23T12:00:00Z,customer-1,discount-1\n",
        encoding="utf-8",
    )
    # After what they need; these two are without an end, or for an id that the sandbox does not have.
    groups = (
        "claim",
        "find",
        "list",
        "completion",
        "batch run",
        "batch resume",
        "batch status",
        "batch export",
    )
    for group in (*groups, "batch retry-refused", "doctor", "batch purge"):
        for example in examples(run(*group.split(), "--help").out):
            assert (example, run(*example).code) == (example, 0)
    assert sandbox.ledger.requests
    assert {claim.data["ref"] for claim in sandbox.ledger.claims} == {"order-1", "order-2"}


def test_help_keeps_to_the_width(run_process):
    """What an option's help goes on with stands below it, indented, at any width."""
    lines = run_process("list", "--help", env=os.environ | {"COLUMNS": "40"}).out.splitlines()
    options = lines[lines.index("Parameters:") + 1 : lines.index("Exit codes:")]
    assert all(len(line) <= 40 for line in options)
    assert "  --base-url STR: The API's address with" in options
    assert "      its version, instead of" in options


def test_the_timeout_of_the_help(run):
    """The help names the client's own default, which it does not take from there."""
    default = inspect.signature(ClaimsClient).parameters["timeout"].default
    assert f"by default {default:.0f}." in run("list", "--help").out


def test_version(run):
    """The version is the library's."""
    assert run("--version") == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["clam"], 'Did you mean "claim"'),
        (["get"], "ID"),
        (["find"], "--ref"),
        (["list", "--limit", "0"], "It must be 1 or more."),
        (["list", "--limit", "many"], "--limit"),
        (["claim", "claim.json", "--if-exists", "maybe"], '"raise", "return"'),
        (["demo", "--fault-rate", "nan"], "between 0 and 1"),
        (["sandbox", "serve", "--port", "70000"], "between 0 and 65535"),
        (["get", "id", "more"], "too many arguments"),
        (["list", "--limit", "1.5"], "It must be a whole number."),
        (["demo", "--seed", "many"], "It must be a whole number."),
    ],
)
def test_wrong_usage(run, arguments, words):
    """Wrong usage is said on stderr, and ends with 2."""
    finished = run(*arguments)
    assert finished.code == 2
    assert finished.out == ""
    assert finished.err.startswith("error: ")
    assert words in finished.err


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_the_sandbox_on_a_terminal(run, terminal, monkeypatch):
    """Who starts a sandbox on a terminal is told what to do with its line, apart from that line."""
    ends = iter([lambda: signal.raise_signal(signal.SIGTERM)])
    monkeypatch.setattr("dintero_claims_client.cli.output.flush", lambda: next(ends, int)())
    finished = run("sandbox", "serve")
    assert finished.code == 0
    assert finished.out.count("\n") == 1
    assert "dintero-claims doctor" in finished.err


def test_wrong_usage_for_machines(run):
    """With --json, wrong usage too is one JSON object."""
    finished = run("list", "--limit", "0", "--json")
    assert finished.code == 2
    assert finished.out == ""
    assert finished.error["error"] == "UsageError"
    assert finished.error["exit_code"] == 2


@pytest.mark.parametrize("command", ["claim", "get", "list", "find", "doctor", "demo"])
def test_no_option_takes_a_secret(run, command):
    """A secret that is tried as an argument is refused, and not repeated."""
    finished = run(command, "--client-secret", "hunter-two", "more")
    assert finished.code == 2
    assert "hunter-two" not in finished.out + finished.err


@pytest.mark.parametrize("package", ["cyclopts", "rich"])
def test_without_the_packages_of_the_command(run, monkeypatch, package):
    """Without its packages the command says in one line how to get them."""
    monkeypatch.setitem(sys.modules, package, None)
    finished = run("--help")
    assert finished.code == 2
    assert finished.out == ""
    assert finished.err.count("\n") == 1
    assert package in finished.err
    assert "pip install 'dintero-claims-client[cli]'" in finished.err


@pytest.mark.parametrize("arguments", [["demo"], ["sandbox", "serve"]])
@pytest.mark.parametrize("package", ["jsonschema_rs", "starlette", "uvicorn", "yaml"])
def test_without_the_packages_of_the_sandbox(arguments, package):
    """Without the sandbox's packages its commands say in one line how to get them."""
    script = f"import sys; sys.modules['{package}'] = None\nfrom dintero_claims_client.cli import main\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}raise SystemExit(main({arguments}))"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert package in done.stderr
    assert "pip install 'dintero-claims-client[sandbox]'" in done.stderr


@pytest.mark.parametrize(
    ("message", "kind"), [("cannot import name", ImportError), ("needs [sandbox]", None)]
)
def test_only_a_missing_extra_looks_like_one(run, monkeypatch, message, kind):
    """An import that fails for another reason is a bug, and is not hidden."""

    def fail(_name):
        raise ImportError(message)

    monkeypatch.setattr("dintero_claims_client.cli.app.import_module", fail)
    if kind is None:
        assert run("demo") == (2, "", f"error: {message}\n")
    else:
        with pytest.raises(kind):
            main(["demo"])


def test_the_arguments_of_the_process(capsys, monkeypatch):
    """Without arguments of its own, the command takes those of the process."""
    monkeypatch.setattr("sys.argv", ["dintero-claims", "--version"])
    assert main() == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_interrupted_while_reading(run, monkeypatch):
    """Ctrl-C ends the command with one line, also while it waits for stdin, where no event loop holds it."""

    class Interrupting:
        class buffer:  # noqa: N801 - the attribute of a text stream
            @staticmethod
            def read():
                with pytest.raises(RuntimeError):
                    asyncio.get_running_loop()
                raise KeyboardInterrupt

    monkeypatch.setattr("sys.stdin", Interrupting())
    assert run("claim", "-") == (130, "", "error: interrupted\n")


@pytest.mark.parametrize("arguments", [["claim", "--dry-run"], ["--help"]])
def test_a_reader_that_has_gone(claim_file, arguments):
    """When nobody reads stdout any more, the command ends without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    file = [claim_file()] if "claim" in arguments else []
    with open(writer, "wb") as nowhere:  # noqa: PTH123 - a descriptor
        done = subprocess.run(
            [COMMAND, *arguments, *file], stdout=nowhere, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_reader_that_has_gone_in_process(run, claim_file, monkeypatch):
    """A stream that is no file has nothing to be discarded."""

    def break_pipe():
        raise BrokenPipeError

    monkeypatch.setattr("dintero_claims_client.cli.output.flush", break_pipe)
    assert run("claim", "--dry-run", claim_file()).code == 1


def test_a_stream_that_lacks_a_character(sandbox, claim_file, run_process):
    """A claim that was taken is shown on any terminal: what it lacks comes as an escape."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    finished = run_process("claim", claim_file(customer_id="Åse"), env=environment)
    assert finished.code == 0
    assert "\\xc5se" in finished.out
    assert json.loads(run_process("list", "--json", env=environment).out)["customer_id"] == "Åse"


def test_streams_that_are_no_files(monkeypatch):
    """Streams that a caller has replaced are written to as they are."""
    monkeypatch.setattr("sys.stdout", io.StringIO())
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert main(["list"]) == 2
    assert sys.stderr.getvalue().startswith("error: account_id: is missing")
