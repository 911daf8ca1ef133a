"""What users are told by their type checkers, by three of them."""

import inspect
import json
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from dintero_claims_client import ClaimsClient
from dintero_claims_client.settings import ClientArguments

HERE = Path(__file__).resolve().parent
FILES = ("good.py", "wrong.py")


def _run(folder, module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], check=False, capture_output=True, text=True, cwd=folder
    ).stdout


def _mypy(folder):
    (folder / "mypy.ini").write_text("[mypy]\nstrict = True\npython_version = 3.11\n")
    lines = _run(folder, "mypy", "--output=json", *FILES).splitlines()
    found = [json.loads(line) for line in lines]
    return {(one["file"], one["line"]) for one in found if one["severity"] == "error"}


def _pyright(folder):
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11", "reportUnusedExpression": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    found = json.loads(_run(folder, "pyright", "--outputjson", "--pythonpath", sys.executable, *FILES))
    return {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in found["generalDiagnostics"]
    }


def _pyrefly(folder):
    settings = f'python-version = "3.11"\npython-interpreter-path = "{sys.executable}"\n'
    (folder / "pyrefly.toml").write_text(settings)
    found = json.loads(_run(folder, "pyrefly", "check", "--output-format=json", *FILES))
    return {(Path(one["path"]).name, one["line"]) for one in found["errors"]}


@pytest.mark.parametrize("check", [_mypy, _pyright, _pyrefly])
def test_what_checkers_say(check, tmp_path):
    """Right calls are right and wrong ones are wrong, line by line, for each checker at its strictest."""
    for name in FILES:
        # Elsewhere, with the settings that a user would have, and none of this project.
        shutil.copy(HERE / name, tmp_path)
    expected = {
        (name, number)
        for name in FILES
        for number, line in enumerate((HERE / name).read_text().splitlines(), 1)
        if "# error: " in line
    }
    assert {"wrong.py"} == {name for name, _ in expected}
    assert check(tmp_path) == expected


def test_from_env_takes_what_the_client_takes():
    """The arguments that checkers know for `from_env` are those of the client, with their types."""
    taken = inspect.get_annotations(ClaimsClient.__init__)
    del taken["return"]
    assert inspect.get_annotations(ClientArguments) == {
        name: typing.ForwardRef(annotation, module=ClientArguments.__module__)
        for name, annotation in taken.items()
    }
