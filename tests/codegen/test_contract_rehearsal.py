"""The guide's walk through a change of the API: what it shows is what comes out."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from contract import deviations, documents, manifest, surface

from .rehearsal import changed

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs/regenerating.md"
INPUTS = ("openapi", "scripts", "dintero_claims_client", "generator-config.yml", "pyproject.toml")


@pytest.fixture
def checkout(tmp_path):
    """Return a copy of the project."""
    for name in INPUTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def _shown(command):
    """Return what the guide shows that a command prints."""
    blocks = [block for block in GUIDE.read_text().split("```")[1::2] if f"$ {command}\n" in block]
    (block,) = blocks
    return block.split(f"$ {command}\n", 1)[1]


def _run(checkout, *command):
    done = subprocess.run(
        [sys.executable, *command], check=False, cwd=checkout, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def test_the_walk_through_is_what_comes_out(checkout):
    """From the provider's document to new code: report, regeneration and surface are those of the guide."""
    upstream = documents.read_document(checkout / "openapi/upstream/discounts.yaml")
    (checkout / "discounts.yaml").write_text(yaml.safe_dump(changed(upstream), sort_keys=False))
    before = surface.surface(checkout)

    code, said = _run(checkout, "scripts/update_spec.py", "discounts.yaml", "--date", "2027-01-15")
    assert code == 2
    assert said == _shown(".venv/bin/python scripts/update_spec.py discounts.yaml")
    contract = documents.read_document(checkout / "openapi/discounts.yaml")
    stated = documents.read_document(checkout / "openapi/upstream/discounts.yaml")
    assert deviations.problems(stated, contract, list(contract["paths"])) == []

    (problem,) = manifest.problems(checkout)
    assert "openapi/discounts.yaml changed, and the code was not regenerated" in problem
    code, said = _run(checkout, "-I", "scripts/regenerate.py")
    assert (code, said) == (0, _shown("./scripts/regenerate.sh"))
    assert manifest.problems(checkout) == []

    code, said = _run(checkout, "scripts/surface.py")
    assert code == 1
    assert said == _shown(".venv/bin/python scripts/surface.py")
    assert surface.differences(before, surface.surface(checkout))
