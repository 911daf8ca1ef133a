"""Drift between the contract and the generated code, found without the generator."""

import shutil
from pathlib import Path

import pytest

from contract import manifest
from dintero_claims_client import SPEC_VERSION
from dintero_claims_client._generated import contract as generated

ROOT = Path(__file__).resolve().parents[2]
INPUTS = (manifest.SPEC, manifest.CONFIG, manifest.TEMPLATES, manifest.TARGET, "pyproject.toml")


def test_the_generated_code_is_what_the_contract_gave():
    """Contract, configuration, templates, pinned versions and generated files go together."""
    assert manifest.problems(ROOT) == []


def test_the_code_knows_its_contract():
    """The version and the hash that the library tells are those of the contract that is checked in."""
    assert f'\n  version: "{SPEC_VERSION}"\n' in (ROOT / manifest.SPEC).read_text()
    assert manifest.spec_hash(ROOT) == generated.SPEC_SHA256
    assert generated.SPEC_VERSION == SPEC_VERSION


@pytest.fixture
def checkout(tmp_path):
    """Return a copy of what the manifest is about."""
    for name in INPUTS:
        copy = tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy)
    return tmp_path


def _edit(name, old, new):
    def edit(root):
        path = root / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return edit


CLAIM = f"{manifest.TARGET}/models/claim.py"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            _edit(manifest.SPEC, "maxLength: 255", "maxLength: 200"),
            f"{manifest.SPEC} changed, and the code was not regenerated",
        ),
        (_edit(manifest.CONFIG, "\n", "\n# another\n"), f"{manifest.CONFIG} changed, and the code was not"),
        (
            _edit("scripts/templates/types.py.jinja", "\n", "\n\n"),
            "types.py.jinja changed, and the code was not",
        ),
        (
            lambda root: (root / manifest.TEMPLATES / "new.jinja").write_text(""),
            "new.jinja is new, and the code",
        ),
        (
            lambda root: (root / manifest.TEMPLATES / "types.py.jinja").unlink(),
            "types.py.jinja is gone, and the",
        ),
        (
            _edit("pyproject.toml", "openapi-python-client==", "openapi-python-client==9."),
            "is pinned, and the code was generated with",
        ),
        (_edit(CLAIM, "class Claim:", "class Claim:  # mine"), f"{CLAIM} was edited by hand: change"),
        (lambda root: (root / CLAIM).unlink(), f"{CLAIM} was deleted"),
        (lambda root: (root / manifest.TARGET / "mine.py").write_text(""), "mine.py was added by hand"),
        (lambda root: (root / manifest.TARGET / manifest.NAME).unlink(), "manifest.json is missing"),
    ],
)
def test_each_kind_of_drift_has_its_own_words(checkout, change, said):
    """A contract that was not regenerated and code that was edited by hand are told apart."""
    change(checkout)
    (problem,) = manifest.problems(checkout)
    assert said in problem
