"""What makes a shell complete the command: that each shell takes it, and what bash makes of it."""

import shutil
import subprocess

import pytest

BASH = shutil.which("bash")
CHECKS = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "--no-execute"]}

# Asks for the completions of a line as bash does, when the cursor stands at its end.
ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); COMPREPLY=()
_dintero_claims
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def script(run, tmp_path):
    """Return a function that writes a shell's script to a file."""

    def write(shell):
        finished = run("completion", shell)
        assert (finished.code, finished.err) == (0, "")
        path = tmp_path / f"completion.{shell}"
        path.write_text(finished.out, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("shell", CHECKS)
def test_a_shell_can_read_it(script, shell):
    """The script is of the shell's language, where the shell is there to ask, and knows the commands."""
    path = script(shell)
    text = path.read_text(encoding="utf-8")
    assert all(word in text for word in ("dintero-claims", "doctor", "retry-refused", "--if-exists"))
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    done = subprocess.run([*CHECKS[shell], path], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(BASH is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "completions"),
    [
        (["do"], {"doctor"}),
        (["batch", "re"], {"resume", "retry-refused"}),
        (["claim", "--if"], {"--if-exists"}),
        (["claim", "--if-exists", ""], {"raise", "return"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
        (["claim", "cla"], {"claim.json"}),
        (["claim", "--trust-env", "cla"], {"claim.json"}),
        (["doctor", "--journal", "cla"], {"claim.json"}),
        (["batch", "run", "--out", "cla"], {"claim.json"}),
        (["batch", "resume", "--out", "cla"], {"claim.json"}),
    ],
)
def test_what_bash_completes(script, tmp_path, line, completions):
    """Commands, options, choices and files are completed."""
    (tmp_path / "claim.json").touch()
    done = subprocess.run(
        [BASH, "-c", ASK, "bash", script("bash"), "dintero-claims", *line],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=tmp_path,
    )
    assert done.stderr == ""
    assert set(done.stdout.split()) == completions


def test_another_shell(run):
    """A shell that there is no script for is refused, with those that there are."""
    finished = run("completion", "csh")
    assert finished.code == 2
    assert '"bash", "zsh", "fish"' in finished.err
