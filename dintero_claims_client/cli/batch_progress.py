"""How far a batch is, for who watches it, and how it ended."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dintero_claims_client import Batch, Claimed, Outcome, Rejected
from dintero_claims_client._journal.records import Counts
from dintero_claims_client.cli import exit_codes, output
from dintero_claims_client.cli.batch_export import is_settled
from dintero_claims_client.cli.journal_path import resume_command

_EVERY = 5.0
"""Seconds between two lines, where nobody watches a terminal."""

_FRAME = 0.25


@dataclass
class Progress:
    """What a run has done so far of what there is to do."""

    batch: Batch
    before: Counts
    began: float = field(default_factory=time.monotonic)
    ended: Counter[str] = field(default_factory=Counter[str])

    @property
    def total(self) -> int:
        """How many rows there are that could be claimed, those of earlier runs among them."""
        return self.before.rows - self.before.duplicates - self.before.rejected

    @property
    def done(self) -> int:
        """How many of them are over."""
        return self.before.taken + self.before.refused + self.ended.total()

    def add(self, outcome: Outcome) -> None:
        """Count an outcome; a row that was given up, and stays open in the journal, has none."""
        if not is_settled(outcome):
            return
        match outcome:
            case Claimed():
                self.ended["taken"] += 1
            case Rejected():
                self.ended["refused"] += 1
            case _:
                self.ended["unknown"] += 1

    def text(self) -> str:
        """Say how far it is, in one line."""
        rate = self.ended.total() / max(time.monotonic() - self.began, 1e-9)
        left = (self.total - self.done) / rate if rate else math.inf
        taken = self.before.taken + self.ended["taken"]
        refused = self.before.refused + self.ended["refused"]
        said = (
            f"{self.done:,} of {self.total:,} done: {taken:,} taken, {refused:,} refused, "
            f"{self.ended['unknown']:,} unknown; {rate:,.0f}/s, {self.batch.under_way:,} in flight"
        )
        if math.isfinite(left):
            said = f"{said}, {_duration(left)} left"
        trouble = self.batch.trouble
        return said if trouble is None else f"{said}; paused: {output.printable(str(trouble))}"


@asynccontextmanager
async def shown(progress: Progress) -> AsyncGenerator[None, None]:
    """Show how far it is: live on a terminal, else a line every few seconds."""
    show = _show_live if output.is_terminal(sys.stderr) else _show_lines
    task = asyncio.create_task(show(progress))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _show_lines(progress: Progress) -> None:
    while True:
        await asyncio.sleep(_EVERY)
        output.write_note(progress.text())


async def _show_live(progress: Progress) -> None:
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    with Live(console=output.console(sys.stderr), transient=True, auto_refresh=False) as live:
        while True:
            table = Table.grid(padding=(0, 1), expand=True)
            table.add_row(ProgressBar(total=max(progress.total, 1), completed=progress.done))
            table.add_row(Text(progress.text()))
            live.update(table, refresh=True)
            await asyncio.sleep(_FRAME)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a batch stands at the end of a run."""

    journal: Path
    counts: Counts
    seconds: float
    done: int
    interrupted: bool
    rejects: Path | None = None
    out: str | None = None
    failure: int | None = None
    """The exit code of what ended the batch before its time."""
    options: Sequence[str] = ()
    """What the command was given that it goes on with."""

    @property
    def open_rows(self) -> int:
        """How many rows have no final outcome."""
        return self.counts.pending + self.counts.in_flight + self.counts.unknown

    @property
    def exit_code(self) -> int:
        """Return 0 only if every row was taken."""
        if self.failure is not None:
            return self.failure
        if self.interrupted and self.open_rows:
            return exit_codes.INTERRUPTED
        if self.counts.unknown or self.counts.in_flight:
            return exit_codes.OUTCOME_UNKNOWN
        bad = self.counts.refused + self.counts.rejected + self.counts.rejects + self.counts.pending
        return exit_codes.FAILED if bad else exit_codes.DONE

    @property
    def resume(self) -> str | None:
        """Return the command that goes on, if there is anything to go on with."""
        return resume_command(self.journal, self.options) if self.open_rows else None

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as a JSON object."""
        return {
            "journal": str(self.journal),
            **counted(self.counts),
            "done_in_this_run": self.done,
            "seconds": round(self.seconds, 3),
            "interrupted": self.interrupted,
            "rejects_file": None if self.rejects is None else str(self.rejects),
            "out": self.out,
            "resume": self.resume,
            "exit_code": self.exit_code,
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return the summary as names and values for people."""
        rate = self.done / self.seconds if self.seconds else 0.0
        rows = [
            ("rows", f"{self.counts.rows + self.counts.rejects:,}"),
            *(
                (name.replace("_", " "), f"{count:,}")
                for name, count in counted(self.counts).items()
                if name != "rows"
            ),
            ("done in this run", f"{self.done:,} in {self.seconds:.1f} s, {rate:,.0f}/s"),
            ("journal", str(self.journal)),
        ]
        if self.rejects is not None:
            rows.append(("rejected rows are in", str(self.rejects)))
        if self.out is not None:
            rows.append(("outcomes are in", self.out))
        return rows

    def conclusion(self) -> str:
        """Return the summary in one line."""
        counts = self.counts
        return (
            f"{counts.taken:,} taken, {counts.refused:,} refused, "
            f"{counts.rejected + counts.rejects:,} rejected, "
            f"{counts.unknown + counts.in_flight:,} unknown, {counts.pending:,} pending"
        )


def counted(counts: Counts) -> dict[str, int]:
    """Return counts for scripts: each row in one of them, but for `rows`, which are all."""
    return {
        "rows": counts.rows + counts.rejects,
        "taken": counts.taken,
        "refused": counts.refused,
        "rejected": counts.rejected + counts.rejects,
        "unknown": counts.unknown,
        "in_flight": counts.in_flight,
        "pending": counts.pending,
        "repeated": counts.duplicates,
    }
