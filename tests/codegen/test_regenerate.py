"""The generator's run: what it makes, what it refuses, and what it leaves alone."""

import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "dintero_claims_client/_generated"
SPEC = "openapi/discounts.yaml"
GUARD = "scripts/templates/UPSTREAM.sha256"
INPUTS = (SPEC, "generator-config.yml", "pyproject.toml", "scripts", PACKAGE)

UP_TO_DATE, DIFFERS, REFUSED = 0, 1, 2


class Finished(NamedTuple):
    code: int
    stdout: str
    stderr: str


def start(*command: str | Path, **options: Any) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, encoding="utf-8", **options)


def finish(process: subprocess.Popen[str]) -> Finished:
    with process:
        stdout, stderr = process.communicate()
    return Finished(process.returncode, stdout, stderr)


class Checkout:
    """A copy of what the run reads and writes, free to be broken."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in INPUTS:
            source, copy = ROOT / name, root / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, copy)
        self.script = root / "scripts/regenerate.py"
        self.names = self.list()

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        return start(sys.executable, "-I", self.script, *arguments, **options)

    def regenerate(self, *arguments: str, **options: Any) -> Finished:
        return finish(self.start(*arguments, **options))

    def list(self) -> set[str]:
        return {path.name for path in self.root.iterdir()}

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def tree(self) -> dict[str, tuple[bytes, int, int]]:
        """Content, inode and time of change of every generated file: equal only if nothing wrote there."""
        files = (path for path in (self.root / PACKAGE).rglob("*") if path.is_file())
        return {
            str(path.relative_to(self.root)): (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns)
            for path in files
        }


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    root = tmp_path / "a check-out"
    root.mkdir()
    checkout = Checkout(root)
    yield checkout
    assert checkout.list() == checkout.names, "a run left something behind"


def test_checked_in_code_is_what_the_contract_generates(checkout: Checkout) -> None:
    """The package in this checkout is up to date, and neither a check nor a run then touches a file."""
    before = checkout.tree()
    for arguments in (["--check"], []):
        result = checkout.regenerate(*arguments)
        assert result == (UP_TO_DATE, f"{PACKAGE} is up to date\n", "")
    assert checkout.tree() == before


def test_changed_contract_is_found_and_brought_in(checkout: Checkout) -> None:
    """A new field is a difference with a diff until a run; then the model has it and the check passes."""
    checkout.edit(SPEC, "        deleted_by:\n", "        deleted_why:\n")
    before = checkout.tree()

    result = checkout.regenerate("--check")
    assert result.code == DIFFERS
    assert f"--- a/{PACKAGE}/models/claim.py\n+++ b/{PACKAGE}/models/claim.py\n@@ " in result.stdout
    assert "-    deleted_by: None | str | Unset = UNSET\n" in result.stdout
    assert "+    deleted_why: None | str | Unset = UNSET\n" in result.stdout
    assert f"different: {PACKAGE}/models/claim.py\n" in result.stderr
    assert checkout.tree() == before

    assert checkout.regenerate().code == UP_TO_DATE
    assert b"    deleted_why: None" in (checkout.root / PACKAGE / "models/claim.py").read_bytes()
    assert checkout.regenerate("--check").code == UP_TO_DATE


def test_package_is_made_where_there_is_none(checkout: Checkout) -> None:
    """Without the package every file counts as missing, and a run makes the same files again."""
    expected = {name: content for name, (content, _, _) in checkout.tree().items()}
    shutil.rmtree(checkout.root / PACKAGE)
    assert checkout.regenerate("--check").code == DIFFERS
    assert not (checkout.root / PACKAGE).exists()
    assert checkout.regenerate().code == UP_TO_DATE
    assert {name: content for name, (content, _, _) in checkout.tree().items()} == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("info:\n", "info: [\n", "openapi_spec_validator failed", id="not-yaml"),
        pytest.param("  title: ", "  titel: ", '"title" is a required property', id="not-openapi"),
        pytest.param(
            "        required: true\n        content:\n          application/json:\n",
            "        required: true\n        content:\n          application/xml:\n",
            "Unsupported content type application/xml",
            id="endpoint-the-generator-would-leave-out",
        ),
    ],
)
def test_bad_contract_is_refused(checkout: Checkout, old: str, new: str, message: str) -> None:
    """A contract that gives no complete client exits with 2, says why, and leaves the package alone."""
    checkout.edit(SPEC, old, new)
    before = checkout.tree()
    for arguments in (["--check"], []):
        result = checkout.regenerate(*arguments)
        assert result.code == REFUSED
        assert message in result.stderr
        assert result.stdout == ""
    assert checkout.tree() == before


def test_hand_made_changes_are_found_and_undone(checkout: Checkout) -> None:
    """An edited, an added (even if empty) and a removed file are each named, and a run undoes all three."""
    package = checkout.root / PACKAGE
    checkout.edit(f"{PACKAGE}/errors.py", "Unexpected status code", "Odd status code")
    (package / "models" / "extra.py").touch()
    (package / "api" / "claims" / "get_claim.py").unlink()
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "errors.cpython-311.pyc").touch()

    result = checkout.regenerate("--check")
    assert result.code == DIFFERS
    assert re.findall(r"^(\w+): .*/(.+)$", result.stderr, re.MULTILINE) == [
        ("missing", "get_claim.py"),
        ("different", "errors.py"),
        ("unexpected", "extra.py"),
    ]
    assert '-            f"Odd status code: ' in result.stdout
    assert f"--- /dev/null\n+++ b/{PACKAGE}/api/claims/get_claim.py\n" in result.stdout

    assert checkout.regenerate().code == UP_TO_DATE
    assert checkout.regenerate("--check").code == UP_TO_DATE


def test_difference_in_the_last_line_break_is_shown(checkout: Checkout) -> None:
    """A file that lacks only its last line break differs, and the diff says so as diff and Git do."""
    path = checkout.root / PACKAGE / "errors.py"
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    result = checkout.regenerate("--check")
    assert result.code == DIFFERS
    assert '-__all__ = ["UnexpectedStatus"]\n\\ No newline at end of file\n+__all__ =' in result.stdout


def test_surroundings_do_not_matter(checkout: Checkout, tmp_path: Path) -> None:
    """Another ruff, ruff settings, locale, time zone, hash seed or current folder change nothing."""
    programs = tmp_path / "bin"
    programs.mkdir()
    ruff = programs / "ruff"
    ruff.write_text("#!/bin/sh\necho 'the wrong ruff' >&2\nexit 1\n", encoding="utf-8")
    ruff.chmod(0o755)
    settings = (
        'line-length = 60\nexclude = ["*.py"]\n[lint]\nselect = ["ALL"]\n[format]\nquote-style = "single"\n'
    )
    home = tmp_path / "home"
    for folder in (tmp_path, checkout.root, checkout.root / "dintero_claims_client", home / ".config/ruff"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ruff.toml").write_text(settings, encoding="utf-8")
        (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    # Only in a repository does ruff heed .gitignore.
    (checkout.root / ".git").mkdir()
    # Next to a folder of this name, ruff takes the package attrs for first-party.
    (checkout.root / "attrs").mkdir()
    (home / "types.py").write_text("raise SystemExit('the wrong module')\n", encoding="utf-8")
    checkout.names = checkout.list()

    before = checkout.tree()
    result = checkout.regenerate(
        "--check",
        cwd=home,
        env={
            "HOME": str(home),
            "LANG": "tr_TR.ISO-8859-9",
            "LC_ALL": "tr_TR.ISO-8859-9",
            "PATH": str(programs),
            "PYTHONHASHSEED": "4711",
            "PYTHONPATH": str(home),
            "RUFF_CONFIG": str(tmp_path / "ruff.toml"),
            "TZ": "Pacific/Kiritimati",
            "XDG_CONFIG_HOME": str(home / ".config"),
        },
    )
    assert (result.code, result.stderr) == (UP_TO_DATE, "")
    assert checkout.regenerate(env={}).code == UP_TO_DATE
    assert checkout.tree() == before


def test_diff_does_not_depend_on_the_locale(checkout: Checkout) -> None:
    """The diff is UTF-8 also where the locale has no character for what the code holds."""
    checkout.edit(f"{PACKAGE}/client.py", "self.client—you", "self.client: you")
    # Without -X, Python itself prefers UTF-8 to the locale C.
    options = ("-I", "-X", "utf8=0")
    result = finish(start(sys.executable, *options, checkout.script, "--check", env={"LC_ALL": "C"}))
    assert result.code == DIFFERS
    assert "self.client—you" in result.stdout


def test_override_of_a_changed_template_is_refused(checkout: Checkout) -> None:
    """When the generator's own template is not the one that an override was written for, the run says so."""
    guard = checkout.root / GUARD
    text = guard.read_text(encoding="utf-8")
    guard.write_text(
        re.sub(r"^\w+(?=  types\.py\.jinja$)", "0" * 64, text, flags=re.MULTILINE), encoding="utf-8"
    )
    result = checkout.regenerate()
    assert result.code == REFUSED
    assert "types.py.jinja: not the template that the override was written against" in result.stderr
    assert "port the override" in result.stderr


def test_every_override_is_guarded(checkout: Checkout) -> None:
    """An override that the guard does not list, and a listed one that is gone, are refused."""
    templates = checkout.root / "scripts/templates"
    (templates / "errors.py.jinja").touch()
    assert "errors.py.jinja: not the template" in checkout.regenerate("--check").stderr
    (templates / "errors.py.jinja").unlink()
    (templates / "types.py.jinja").unlink()
    result = checkout.regenerate("--check")
    assert result.code == REFUSED
    assert "types.py.jinja: not the template" in result.stderr


@pytest.mark.parametrize("name", ["openapi-python-client", "openapi-spec-validator", "ruff"])
def test_other_versions_than_the_pinned_ones_are_refused(checkout: Checkout, name: str) -> None:
    """A pin that is not what is installed, or no pin, exits with 2 and says what to do."""
    installed = importlib.metadata.version(name)
    checkout.edit("pyproject.toml", f'"{name}=={installed}"', f'"{name}==0.0.1"')
    result = checkout.regenerate("--check")
    assert result.code == REFUSED
    assert f"{name} 0.0.1 is pinned, here it is {installed}" in result.stderr
    assert "run scripts/bootstrap.sh" in result.stderr

    checkout.edit("pyproject.toml", f'"{name}==0.0.1"', f'"{name}>=0.0.1"')
    result = checkout.regenerate("--check")
    assert result.code == REFUSED
    assert f"pyproject.toml pins no version of {name}" in result.stderr


def test_crash_does_not_look_like_a_difference(checkout: Checkout) -> None:
    """An error that nothing foresees exits with 2, because 1 tells CI that the code is out of date."""
    (checkout.root / "pyproject.toml").write_text("not = [toml", encoding="utf-8")
    result = checkout.regenerate("--check")
    assert result.code == REFUSED
    assert "TOMLDecodeError" in result.stderr


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_stopped_run_leaves_everything_as_it_was(checkout: Checkout, signum: signal.Signals) -> None:
    """Ctrl-C or a termination in the middle of a run leaves the old package and nothing else."""
    checkout.edit(SPEC, "        deleted_by:\n", "        deleted_why:\n")
    before = checkout.tree()
    process = checkout.start()
    while not (checkout.root / ".regenerate/new").exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signum)
    assert finish(process).code == 128 + signum
    assert checkout.tree() == before


def test_run_after_a_killed_one_repairs(checkout: Checkout) -> None:
    """A run killed between the two renames is undone by the next, even if that one then refuses."""
    before = checkout.tree()
    (checkout.root / ".regenerate").mkdir()
    (checkout.root / PACKAGE).rename(checkout.root / ".regenerate/old")
    checkout.edit(SPEC, "info:\n", "info: [\n")
    assert checkout.regenerate().code == REFUSED
    assert checkout.tree() == before


def test_failed_swap_puts_the_old_package_back(checkout: Checkout) -> None:
    """When the new package cannot be moved into place, the old one is there again."""
    checkout.edit(SPEC, "        deleted_by:\n", "        deleted_why:\n")
    before = checkout.tree()
    failing = dedent("""
        import pathlib, runpy, sys
        rename = pathlib.Path.rename
        def fail_for_new(self, target):
            if self.name == "new":
                raise OSError("no space left")
            return rename(self, target)
        pathlib.Path.rename = fail_for_new
        runpy.run_path(sys.argv.pop(1), run_name="__main__")
    """)
    result = finish(start(sys.executable, "-I", "-c", failing, checkout.script))
    assert result.code == REFUSED
    assert "no space left" in result.stderr
    assert checkout.tree() == before


def test_runs_at_the_same_time_take_turns(checkout: Checkout) -> None:
    """Of two runs at once one regenerates, and the other then finds nothing to do."""
    checkout.edit(SPEC, "        deleted_by:\n", "        deleted_why:\n")
    results = [finish(process) for process in [checkout.start(), checkout.start()]]
    assert sorted(results) == [
        (UP_TO_DATE, f"{PACKAGE} is regenerated\n", ""),
        (UP_TO_DATE, f"{PACKAGE} is up to date\n", ""),
    ]


def test_shell_script_runs_in_its_own_checkout(checkout: Checkout, tmp_path: Path) -> None:
    """The command works from another folder, and exits with 2 when the environment cannot be set up."""
    bootstrap = checkout.root / "scripts/bootstrap.sh"
    bootstrap.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    (checkout.root / ".venv").symlink_to(sys.prefix)
    checkout.names = checkout.list()
    command = Path(checkout.root.name, "scripts/regenerate.sh")
    # With CDPATH, `cd` may go elsewhere, and print where it went.
    environment = {"PATH": os.defpath, "CDPATH": str(tmp_path)}

    result = finish(start(command, "--check", cwd=tmp_path, env=environment))
    assert result == (UP_TO_DATE, f"{PACKAGE} is up to date\n", "")

    bootstrap.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    assert finish(start(command, "--check", cwd=tmp_path, env=environment)).code == REFUSED
