"""Whether this machine's clock is right, as far as servers and certificates tell."""

from __future__ import annotations

import math
from datetime import datetime

from dintero_claims_client.cli.doctor_report import Check
from dintero_claims_client.cli.doctor_tls import Certificate

_TOLERATED = 60.0
"""Seconds; a network takes some of them, and more than these are a clock that nobody sets."""

_ADVICE = (
    "set it, and have it set over the network (NTP): with a wrong clock, certificates seem to be invalid, "
    "tokens expired, and purchase_at is wrong"
)


def check_clock(ahead: float | None, certificate: Certificate | None, now: datetime) -> Check:
    """Compare the clock with the server's, or with a certificate that is not trusted, where there is one.

    `ahead` is by how many seconds it is ahead of the server's; None where that is not known.
    """
    if ahead is None:
        if certificate is None or certificate.begins <= now <= certificate.ends:
            return Check("clock", "no answer says what time it is", "skipped")
        # Most servers renew theirs in time.
        beyond = "before it begins" if now < certificate.begins else "after it ends"
        return Check(
            "clock",
            f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC; the server's certificate is valid from "
            f"{certificate.begins:%Y-%m-%d} to {certificate.ends:%Y-%m-%d}, and this is {beyond}",
            "warning",
            f"if it is wrong, {_ADVICE}",
        )
    if abs(ahead) <= _TOLERATED:
        return Check("clock", "this machine's clock is the server's, within a minute")
    direction = "ahead of" if ahead > 0 else "behind"
    message = f"this machine's clock is {_duration(abs(ahead))} {direction} the server's"
    return Check("clock", message, "warning", _ADVICE)


def _duration(seconds: float) -> str:
    minutes = math.floor(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = ((days, "d"), (hours, "h"), (minutes, "min"))
    return " ".join(f"{count} {unit}" for count, unit in units if count)
