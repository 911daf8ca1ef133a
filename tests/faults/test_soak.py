"""20,000 claims against a server that fails at random, and whether the soak itself can tell."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from dintero_claims_client import APIStatusError, Claim, OutcomeUnknownError
from faults.seeded import rebuild
from faults.soak import FIGURES, LEAST_SHARE, Soak, order, soak

SEED = 3


@pytest.mark.timeout(300)
async def test_20000_claims(quiet):
    """No claim is lost, doubled, misattributed, falsely refused or left unknown, with half of all faulted."""
    report = await soak(20_000, SEED)
    assert report.share >= LEAST_SHARE
    assert {name: report.figures[name] for name in FIGURES} == dict.fromkeys(FIGURES, 0)
    # Otherwise the figures show nothing.
    assert min(report.ended[name] for name in ("taken", "unknown", "unknown without a ref")) > 50


@pytest.mark.parametrize("engine", ["httpx", "httpx2"])
async def test_1000_claims_on_the_other_engines(quiet, engine):
    """The same on a caller's own client."""
    report = await soak(1000, SEED, engine=engine)
    assert report.share >= LEAST_SHARE
    assert report.is_clean, report.examples


def test_a_seed_says_everything():
    """The claims of a seed are the same each time, and so are its faults, also from their description."""
    one, other = Soak(10, 7), Soak(10, 7)
    assert one.plan.describe() == other.plan.describe() == rebuild(one.plan.describe()).describe()
    for number in range(50):
        orders = [order(number, random.Random(f"7/{number}")).to_dict() for _ in range(2)]
        assert orders[0] == orders[1]
    assert json.dumps(one.plan.describe()) != json.dumps(Soak(10, 8).plan.describe())


class Told:
    """A server of which only the ledger is looked at."""

    def __init__(self, held):
        self.ledger = type("Ledger", (), {"by_customer": {"customer-1": held}})


ONE, OTHER = {"id": "one"}, {"id": "other"}
TAKEN = Claim(purchase_at=None, customer_id="customer-1", discounts=[], id="one")


@pytest.mark.parametrize(
    ("ended", "held", "figures"),
    [
        (TAKEN, [ONE], set()),
        (TAKEN, [], {"lost"}),
        (TAKEN, [ONE, OTHER], {"doubled"}),
        (TAKEN, [OTHER], {"misattributed"}),
        (APIStatusError("no", status=400), [], set()),
        (APIStatusError("no", status=400), [ONE], {"refused"}),
        (APIStatusError("no", status=400), [ONE, OTHER], {"refused", "doubled"}),
        (OutcomeUnknownError("?"), [ONE], {"unknown"}),
        (OutcomeUnknownError("?"), [], {"unknown"}),
    ],
)
def test_what_is_counted(ended, held, figures):
    """Each of the five figures counts what it says, so that a zero means something."""
    one = Soak(1, 0)
    request = next(
        request for number in range(100) if isinstance((request := order(1, random.Random(number))).ref, str)
    )
    one._count(request, ended, Told(held))
    assert {name for name in FIGURES if one.report.figures[name]} == figures
    assert one.report.is_clean is (not figures)
    assert len(one.report.examples) == len(figures)


def test_the_script(tmp_path):
    """The command says its seed and its figures, and exits with 0 where they are zero."""
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-m", "faults.soak", "100", "--seed", "1"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(root / "tests")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "seed 1" in ended.stdout
    assert "0 lost, 0 doubled, 0 misattributed, 0 refused, 0 unknown" in ended.stdout


async def test_a_soak_that_fails_says_how_to_repeat_it(quiet, capsys, monkeypatch):
    """A figure that is not zero comes with an example and the command that runs the same again."""
    monkeypatch.setattr("dintero_claims_client._operations.answers", lambda *_, **__: True)
    report = await soak(1500, SEED)
    assert not report.is_clean
    printed = capsys.readouterr().out
    assert f"again with: ./scripts/soak.sh 1500 --seed {SEED}" in printed
    assert "misattributed: customer-" in printed
