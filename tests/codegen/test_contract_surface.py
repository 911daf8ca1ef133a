"""The public Python surface, and what is said when it changes."""

import shutil
from pathlib import Path

import pytest

from contract import surface

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT = ROOT / "openapi/surface.txt"
CLIENT = "dintero_claims_client/client.py"
CLAIM = "dintero_claims_client/_generated/models/claim.py"


def test_the_surface_is_the_one_that_is_checked_in():
    """Nothing that users import has changed unnoticed; a change that is meant is written down with it."""
    before = surface.read(SNAPSHOT.read_text())
    said = surface.differences(before, surface.surface(ROOT))
    assert not said, "\n".join([*said, "if that is meant: scripts/surface.py --write"])


@pytest.fixture
def copied(tmp_path):
    """Return a copy of the package, free to be changed."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / surface.PACKAGE, tmp_path / surface.PACKAGE, ignore=ignored)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        (
            CLIENT,
            "async def get_claim(self, claim_id: str",
            "async def get_claim(self, claim: str",
            "ClaimsClient.get_claim was: async (self, claim_id: str,",
        ),
        (
            CLIENT,
            "async def get_claim(",
            "async def read_claim(",
            "ClaimsClient.get_claim is gone; it was: async",
        ),
        (CLIENT, "async def get_claim(", "async def read_claim(", "ClaimsClient.read_claim is new: async"),
        (CLIENT, "page_size: int = PAGE_SIZE", "page_size: int = 10", "page_size: int=10"),
        (
            CLAIM,
            "ref: None | str | Unset = UNSET",
            "ref: None | int | Unset = UNSET",
            "Claim.ref was: None | str",
        ),
        (CLAIM, "class Claim:", "class Claim(dict):", "Claim was: @_attrs_define class()"),
        (
            "dintero_claims_client/errors.py",
            "class NotFoundError(APIStatusError)",
            "class NotFoundError(ClaimsError)",
            "NotFoundError was: class(APIStatusError)",
        ),
        ("dintero_claims_client/__init__.py", '    "Journal",\n', "", "Journal.purge is gone"),
    ],
)
def test_a_change_is_said_in_words(copied, file, old, new, said):
    """What is new, gone, or another is named with what it was and is."""
    path = copied / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    differences = surface.differences(surface.surface(ROOT), surface.surface(copied))
    assert any(said in one for one in differences), differences


def test_what_is_written_is_read_again():
    """The file has every name of the surface, whatever its types hold."""
    now = surface.surface(ROOT)
    assert surface.read(surface.shown(now)) == now
    assert {"ClaimsClient.claim", "Claim.ref", "Claimed.recovered", "sandbox.Sandbox.fail_next"} <= now.keys()
