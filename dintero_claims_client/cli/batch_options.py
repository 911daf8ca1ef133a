"""How a batch goes about claiming, whatever it claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from dintero_claims_client.cli.arguments import Flag, Positive, PositiveNumber


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Claiming:
    """What the commands that claim were told beside what to claim."""

    out: Annotated[
        str | None,
        Parameter(
            help="The outcome of each row, as JSON lines, at the end; - is stdout, as they come.",
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


AS_USUAL = Claiming()
"""No options."""
