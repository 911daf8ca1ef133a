"""What the doctor found, and how it is told: line by line to people, as one object to machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from dintero_claims_client import SPEC_VERSION
from dintero_claims_client._generated.contract import SPEC_SHA256
from dintero_claims_client.cli import exit_codes, output

Status = Literal["ok", "warning", "failed", "skipped"]

# What is wrong is to be seen among what is not.
_WORDS = {"ok": "ok", "warning": "WARNING", "failed": "FAILED", "skipped": "skipped"}


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting as it may be shown, and where it comes from."""

    name: str
    value: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Check:
    """What came of looking at one thing, in words; and where it is not well, what to do.

    A warning is of what works and may not be meant. `exit_code` is for where this is the first that failed.
    """

    name: str
    message: str
    status: Status = "ok"
    advice: str | None = None
    exit_code: int = exit_codes.FAILED


def write_report(settings: Sequence[Setting], checks: Sequence[Check], *, as_json: bool) -> int:
    """Write all of it, and return the exit code of what is wrong first."""
    code = next((check.exit_code for check in checks if check.status == "failed"), exit_codes.DONE)
    if as_json:
        output.write_json(
            {
                "ok": code == exit_codes.DONE,
                "exit_code": code,
                "contract": {"version": SPEC_VERSION, "sha256": SPEC_SHA256},
                "settings": [asdict(setting) for setting in settings],
                "checks": [
                    {
                        "name": check.name,
                        "message": check.message,
                        "ok": check.status != "failed",
                        "advice": check.advice,
                        "status": check.status,
                    }
                    for check in checks
                    if check.status != "skipped"
                ],
                # Not among the others: there is no telling whether they are ok.
                "skipped": [
                    {"name": check.name, "reason": check.message}
                    for check in checks
                    if check.status == "skipped"
                ],
            }
        )
        return code
    output.write_line(f"contract {SPEC_VERSION} (sha256 {SPEC_SHA256})")
    if settings:
        output.write_rows([(setting.name, setting.value or "", setting.source) for setting in settings])
    for check in checks:
        output.write_line(f"{_WORDS[check.status]}: {check.name}: {output.printable(check.message)}")
        if check.advice is not None:
            output.write_line(f"  {output.printable(check.advice)}")
    return code
