"""scripts/demo.sh: from any folder, and with spaces in the path."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "demo.sh"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")


@pytest.fixture
def checkout(tmp_path):
    """Return a checkout of stand-ins, in a folder with spaces, with the script in it."""
    root = tmp_path / "a folder with spaces"
    for name, text in (
        ("scripts/bootstrap.sh", 'echo "set up" >&2'),
        (".venv/bin/dintero-claims", 'printf "%s|" "$@"; exit 4'),
    ):
        path = root / name
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/usr/bin/env bash\n{text}\n", encoding="utf-8")
        path.chmod(0o755)
    shutil.copy(SCRIPT, root / "scripts")
    return root


def test_it_sets_up_and_runs_the_demo(checkout, tmp_path):
    """The environment is made first; arguments and the exit code go through as they are."""
    done = subprocess.run(
        [checkout / "scripts" / "demo.sh", "--count", "1 2"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (4, "demo|--count|1 2|", "set up\n")


def test_an_environment_that_cannot_be_made(checkout):
    """Without an environment there is no demonstration."""
    (checkout / "scripts" / "bootstrap.sh").write_text("#!/usr/bin/env bash\nexit 2\n", encoding="utf-8")
    done = subprocess.run([checkout / "scripts" / "demo.sh"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")
