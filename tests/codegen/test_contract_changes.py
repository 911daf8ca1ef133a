"""What a change of the contract does to callers, and what is said of it."""

import pytest

from contract import changes, report

from .seeded_changes import CHANGES, changed, contract

_LEVELS = {"breaking": 2, "compatible": 1, "words": 0}


@pytest.mark.parametrize("seeded", CHANGES, ids=str)
def test_each_change_is_told_for_what_it_is(seeded):
    """A change is breaking, compatible, or words only, by the direction in which its values travel."""
    assert int(report.level(changes.compare(contract(), changed(seeded)))) == _LEVELS[seeded.level]
