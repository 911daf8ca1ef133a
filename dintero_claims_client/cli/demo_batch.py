"""The end of the demonstration: a batch that is killed half way, and resumed."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dintero_claims_client.cli import exit_codes
from dintero_claims_client.sandbox import FaultPlan, Sandbox, SandboxServer

_COMMAND = (sys.executable, "-c", "import sys; from dintero_claims_client.cli import main; sys.exit(main())")

_SLOW = 20
"""Claims under way in the batch that is killed: few, so that there is something left to resume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What became of the batch, by its export and by the ledger."""

    rows: int
    killed_after: int
    taken: int
    doubled: int
    lost: int

    @property
    def exit_code(self) -> int:
        """Return 0 only if each row was taken once, and the export says so."""
        return exit_codes.DONE if self.taken == self.rows and not self.doubled else exit_codes.FAILED

    def to_dict(self) -> dict[str, int]:
        """Return the report as a JSON object."""
        return {
            "rows": self.rows,
            "killed_after": self.killed_after,
            "taken": self.taken,
            "doubled": self.doubled,
            "lost": self.lost,
        }

    def conclusion(self) -> str:
        """Return the report in one line."""
        return (
            f"a batch of {self.rows:,}, killed when {self.killed_after:,} were taken, and resumed: "
            f"{self.taken:,} taken, {self.doubled:,} doubled, {self.lost:,} lost"
        )


async def run_batch(*, rows: int, concurrency: int, faults: FaultPlan) -> BatchReport:
    """Claim so many rows from a file with the command, kill it half way, resume it, and compare."""
    sandbox = Sandbox(faults=faults)
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "claims.jsonl")
        _write_rows(source, rows)
        journal = f"{source}.journal"
        async with SandboxServer(sandbox) as server:
            environment = {
                "DINTERO_ACCOUNT_ID": sandbox.account_id,
                "DINTERO_CLIENT_ID": sandbox.client_id,
                "DINTERO_CLIENT_SECRET": sandbox.client_secret,
                "DINTERO_BASE_URL": server.base_url,
            }
            process = await _start(
                environment, "run", str(source), "--concurrency", str(min(concurrency, _SLOW))
            )
            # Until half is claimed, or the process has ended; one event cannot say both.
            while len(sandbox.ledger.claims) < (rows + 1) // 2 and process.returncode is None:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            if process.returncode is None:
                process.kill()
            await process.wait()
            killed_after = len(sandbox.ledger.claims)
            for command in (
                ("resume", journal, "--concurrency", str(concurrency)),
                ("export", journal, "--out", f"{source}.out"),
            ):
                await (await _start(environment, *command)).wait()
        exported = _exported(Path(f"{source}.out"))
        held = Counter(claim.ref for claim in sandbox.ledger.claims)
        ids = {claim.ref: claim.id for claim in sandbox.ledger.claims}
        return BatchReport(
            rows=rows,
            killed_after=killed_after,
            taken=sum(ids.get(ref) == claim_id for ref, claim_id in exported.items()),
            doubled=sum(count > 1 for count in held.values()),
            lost=len(exported.keys() ^ held.keys()) + (rows - len(exported)),
        )


def _write_rows(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            row: dict[str, Any] = {
                "purchase_at": "2026-11-23T12:00:00Z",
                "customer_id": f"customer-{number}",
                "discounts": [{"id": "discount-1", "refs": [{"id": "item-1", "amount": 100, "usage": 1}]}],
            }
            # The others are given one by the journal.
            if number % 2:
                row["ref"] = f"batch-{number}"
            file.write(f"{json.dumps(row)}\n")


def _exported(path: Path) -> Mapping[str, str]:
    """Return the ids of the claims that the export calls taken, by their refs."""
    if not path.exists():
        return {}
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {row["ref"]: row["claim"]["id"] for row in rows if row["outcome"] == "taken" and row["claim"]}


async def _start(environment: Mapping[str, str], *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *_COMMAND,
        "batch",
        *arguments,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
