"""A batch of 3,000 against a server that fails at random, and whether the soak itself can tell."""

from __future__ import annotations

import pytest
from conftest import claim_request

from dintero_claims_client import APIStatusError, Claim, Claimed, OutcomeUnknownError, Rejected, Unknown
from faults.batch_soak import LEAST_SHARE, BatchSoak, batch_soak
from faults.soak import FIGURES

SEED = 3


@pytest.mark.timeout(300)
async def test_a_batch_of_3000(quiet, tmp_path):
    """No row is lost, doubled, misattributed, falsely refused or left unknown, with a tenth faulted."""
    report = await batch_soak(3000, SEED, tmp_path / "journal")
    assert report.share >= LEAST_SHARE
    assert {name: report.figures[name] for name in FIGURES} == dict.fromkeys(FIGURES, 0), report.examples
    # Otherwise the figures show nothing.
    assert report.ended["claimed"] > 2500
    assert report.ended["rejected"] > 5


class Told:
    """A server of which only the ledger is looked at."""

    def __init__(self, held):
        self.ledger = type("Ledger", (), {"by_customer": {"customer-1": held}})


ONE, OTHER = {"id": "one"}, {"id": "other"}
REQUEST = claim_request()
CLAIM = Claim(purchase_at=None, customer_id="customer-1", discounts=[], id="one")
TAKEN = Claimed(request=REQUEST, claim=CLAIM, ref="order-1", row=1)
UNREAD = Claimed(request=REQUEST, claim=None, ref="order-1", row=1)
REFUSED = Rejected(request=REQUEST, error=APIStatusError("no", status=400), ref="order-1", row=1)
UNKNOWN = Unknown(request=REQUEST, error=OutcomeUnknownError("?"), ref="order-1", row=1)


@pytest.mark.parametrize(
    ("outcome", "held", "figures"),
    [
        (TAKEN, [ONE], set()),
        (UNREAD, [ONE], set()),
        (TAKEN, [], {"lost"}),
        (UNREAD, [], {"lost"}),
        (TAKEN, [ONE, OTHER], {"doubled"}),
        (TAKEN, [OTHER], {"misattributed"}),
        (REFUSED, [], set()),
        (REFUSED, [ONE], {"refused"}),
        (UNKNOWN, [ONE], {"unknown"}),
        (UNKNOWN, [], {"unknown"}),
    ],
)
def test_what_is_counted(outcome, held, figures):
    """Each of the five figures counts what it says, so that a zero means something."""
    one = BatchSoak(1, 0)
    one._count(outcome, Told(held))
    assert {name for name in FIGURES if one.report.figures[name]} == figures


def test_a_row_that_is_told_twice():
    """A row whose outcome is given twice counts as doubled."""
    one = BatchSoak(1, 0)
    one._count(TAKEN, Told([ONE]))
    one._count(TAKEN, Told([ONE]))
    assert one.report.figures["doubled"] == 1
