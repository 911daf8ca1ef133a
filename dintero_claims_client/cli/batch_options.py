"""How a batch goes about claiming, whatever it claims."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from dintero_claims_client.cli.arguments import Flag, Positive, PositiveNumber


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Claiming:
    """What the commands that claim were told beside what to claim."""

    # A path and no text, because then shells complete the names of files.
    out: Annotated[
        Path | None,
        Parameter(
            help="The file that gets each row and how it ended at the end, as JSON lines, as batch export "
            "writes it; - is stdout, as outcomes come: only of the rows claimed in this run, without their "
            "lines, and the summary goes to stderr.",
            allow_leading_hyphen=True,
        ),
    ] = None
    concurrency: Annotated[
        Positive, Parameter(help="How many claims are under way at most; fewer when the server pushes back.")
    ] = 100
    rate: Annotated[
        PositiveNumber | None, Parameter(help="Claim requests per second at most, repetitions among them.")
    ] = None
    if_exists: Annotated[
        Literal["raise", "return"],
        Parameter(help="A ref that the same claim has already, from elsewhere: a refusal, or that claim."),
    ] = "return"
    drain: Annotated[
        PositiveNumber, Parameter(help="Seconds for what is under way when the command is interrupted.")
    ] = 10.0
    patience: Annotated[
        PositiveNumber, Parameter(help="Seconds in which nothing gets through, after which it gives up.")
    ] = 900.0
    live: Annotated[Flag, Parameter(help="Claim for a production account (P...) too.")] = False

    @property
    def is_out_stdout(self) -> bool:
        """Whether outcomes go to stdout, as they come."""
        return self.out == Path("-")

    @property
    def out_file(self) -> Path | None:
        """The file that outcomes go to at the end."""
        return None if self.is_out_stdout else self.out

    def options(self) -> dict[str, Any]:
        """Return what is not as usual."""
        usual = asdict(AS_USUAL)
        return {name: value for name, value in asdict(self).items() if value != usual[name]}


AS_USUAL = Claiming()
"""No options."""
