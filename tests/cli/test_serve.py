"""`sandbox serve` as a process."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from .conftest import CLAIM, COMMAND


@pytest.fixture
def serve():
    """Return a function that starts the command, waits for its first line, and returns both."""
    processes = []

    def start(*options):
        process = subprocess.Popen(
            [COMMAND, "sandbox", "serve", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        processes.append(process)
        settings = dict(pair.split("=", 1) for pair in process.stdout.readline().split())
        return process, settings

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_the_first_line_is_what_the_commands_need(serve, run_process):
    """With the first line in the environment, a claim is taken and found again."""
    _, settings = serve("--fault-rate", "0.2", "--seed", "3", "--order", "oldest")
    assert set(settings) == {
        "DINTERO_BASE_URL",
        "DINTERO_ACCOUNT_ID",
        "DINTERO_CLIENT_ID",
        "DINTERO_CLIENT_SECRET",
    }
    environment = os.environ | settings
    taken = run_process("claim", "-", "--json", input=json.dumps(CLAIM), env=environment)
    assert (taken.code, taken.err) == (0, "")
    found = run_process("find", "--ref", "order-1", "--json", env=environment)
    assert found.result == taken.result


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_how_it_ends(serve, sent):
    """SIGTERM and Ctrl-C, by which it says that it ends, are no failure, and nothing more is written."""
    process, _ = serve()
    process.send_signal(sent)
    assert process.communicate() == ("", "")
    assert process.returncode == 0


def test_a_port_that_is_taken(run):
    """A port that another process listens on is named, and ends with 1."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        finished = run("sandbox", "serve", "--port", str(port))
    assert finished.code == 1
    assert finished.out == ""
    assert f"port {port} cannot be listened on" in finished.err


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_in_this_process(run, monkeypatch):
    """The line is written out at once, and whoever has read it may end the process."""
    flushed = []

    def end():
        if not flushed:
            signal.raise_signal(signal.SIGTERM)
        flushed.append(True)

    monkeypatch.setattr("dintero_claims_client.cli.output.flush", end)
    finished = run("sandbox", "serve")
    assert finished.code == 0
    assert finished.out.startswith("DINTERO_BASE_URL=http://127.0.0.1:")
