"""What a change of the contract does to callers, and what is said of it."""

import pytest

from contract import changes, report

from .seeded_changes import CHANGES, CONTRACT, changed, contract

_LEVELS = {"breaking": 2, "compatible": 1, "words": 0}


@pytest.mark.parametrize("seeded", CHANGES, ids=str)
def test_each_change_is_told_for_what_it_is(seeded):
    """A change is breaking, compatible, or words only, by the direction in which its values travel."""
    assert int(report.level(changes.compare(contract(), changed(seeded)))) == _LEVELS[seeded.level]


def test_the_table_in_the_documentation():
    """The documentation lists every seeded change, what that does to callers, and what the report says."""
    text = (CONTRACT.parent.parent / "docs" / "regenerating.md").read_text()
    table = text.partition("## What the report finds")[2]
    rows = [line.strip("|").split("|")[:3] for line in table.splitlines() if line.startswith("| ")][2:]
    said = {level: name for name, level in _LEVELS.items()}
    assert [[cell.strip() for cell in row] for row in rows] == [
        [
            seeded.name,
            seeded.level,
            said[int(report.level(changes.compare(contract(), changed(seeded))))],
        ]
        for seeded in CHANGES
    ]
