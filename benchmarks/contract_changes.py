"""Which tool tells what of a change of the contract: a table for `docs/regenerating.md`.

Each change of `tests/codegen/seeded_changes.py` is judged by the report of `scripts/update_spec.py`, by
openapi-diff on the two contracts, and by griffe on the code that is generated from them, as a package that is
not private. It needs Node, and griffe, which is no dependency of anything else here:

    .venv/bin/python -m pip install griffe==2.4.0
    .venv/bin/python benchmarks/contract_changes.py

It takes some minutes, and prints the table.
"""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from codegen.seeded_changes import CHANGES, Seeded, changed, contract

from contract import changes, report

ROOT = Path(__file__).resolve().parent.parent
GRIFFE = "2.4.0"
OPENAPI_DIFF = "0.24.1"
LEVELS = {0: "words", 1: "compatible", 2: "breaking"}


def main() -> int:
    """Print the table; 1 where our own verdict is wrong."""
    try:
        griffe = importlib.import_module("griffe")
    except ModuleNotFoundError:
        print(f"griffe is not installed: {sys.executable} -m pip install griffe=={GRIFFE}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor() as pool:
        folder = Path(directory)
        before = _written(folder, "before", contract())
        old = _generated(before)
        # Once by itself, because it is installed then.
        _openapi_diff(before, before)
        rows = list(pool.map(lambda seeded: _row(griffe, folder, seeded, before, old), CHANGES))
    print(f"| change | is | report | openapi-diff {OPENAPI_DIFF} | griffe {GRIFFE} |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        print("| " + " | ".join(_marked(row)) + " |")
    breaking = [row for row in rows if row[1] == "breaking"]
    others = [row for row in rows if row[1] != "breaking"]
    for column, name in ((2, "report"), (3, "openapi-diff"), (4, "griffe")):
        found = sum(row[column] == "breaking" for row in breaking)
        alarms = sum(row[column] == "breaking" for row in others)
        print(
            f"{name}: {found} of {len(breaking)} that break, {alarms} false alarms of {len(others)}",
            file=sys.stderr,
        )
    return int(any(row[1] != row[2] for row in rows))


def _row(griffe: ModuleType, folder: Path, seeded: Seeded, before: Path, old: Path) -> tuple[str, ...]:
    document = changed(seeded)
    after = _written(folder, str(CHANGES.index(seeded)), document)
    return (
        seeded.name,
        seeded.level,
        LEVELS[int(report.level(changes.compare(contract(), document)))],
        _openapi_diff(before, after),
        _griffe(griffe, old, _generated(after)),
    )


def _marked(row: tuple[str, ...]) -> Iterator[str]:
    """Give the cells of a row; a verdict that is wrong is bold."""
    name, level, *verdicts = row
    yield name
    yield level
    for verdict in verdicts:
        # Only the report tells words from what is compatible.
        right = verdict == level or (verdict != "breaking" and level != "breaking")
        yield verdict if right else f"**{verdict}**"


def _written(folder: Path, name: str, document: object) -> Path:
    path = folder / name / "contract.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def _generated(path: Path) -> Path:
    """Return the folder with the package `api` that a contract gives, with the pinned generator."""
    templates = path.parent / "templates"
    originals = Path(str(importlib.import_module("openapi_python_client").__file__)).parent / "templates"
    shutil.copytree(ROOT / "scripts" / "templates", templates)
    shutil.copytree(originals, templates / "upstream")
    done = subprocess.run(  # noqa: S603 - the pinned generator, on files that are made here
        [sys.executable, "-m", "openapi_python_client", "generate", "--path", path, "--meta", "none",
         "--config", ROOT / "generator-config.yml", "--custom-template-path", templates,
         "--output-path", path.parent / "api"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{path}: {done.stdout}{done.stderr}")
    return path.parent


def _griffe(griffe: ModuleType, old: Path, new: Path) -> str:
    before, after = (
        griffe.load("api", search_paths=[folder], allow_inspection=False) for folder in (old, new)
    )
    return "breaking" if list(griffe.find_breaking_changes(before, after)) else "nothing"


def _openapi_diff(before: Path, after: Path) -> str:
    npx = shutil.which("npx")
    if npx is None:
        raise RuntimeError("there is no npx on the PATH, which openapi-diff needs")
    done = subprocess.run(  # noqa: S603 - a version that is written above, on files that are made here
        [npx, "--yes", f"openapi-diff@{OPENAPI_DIFF}", before, after],
        check=False,
        capture_output=True,
        text=True,
    )
    said = done.stdout.partition("\n")[0]
    for start, verdict in _SAID.items():
        if said.startswith(start):
            return verdict
    # It is said on stderr why.
    return "fails"


_SAID = {
    "Breaking": "breaking",
    "Non breaking": "compatible",
    "Unclassified": "nothing",
    "No changes": "nothing",
}
"""How the first line of openapi-diff begins; what it does not classify is no verdict."""


if __name__ == "__main__":
    sys.exit(main())
