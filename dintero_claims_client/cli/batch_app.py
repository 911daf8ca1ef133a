"""The arguments of `dintero-claims batch`; what its commands do is in `batch`, imported when they run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from dintero_claims_client.cli import exit_codes
from dintero_claims_client.cli.arguments import File, Flag, Json
from dintero_claims_client.cli.batch_options import AS_USUAL, Claiming
from dintero_claims_client.cli.connection import FROM_ENVIRONMENT, Connection

batch = App(
    name="batch",
    help="Claim many: a file, once each, also when the machine is restarted.\n\n"
    "Example: dintero-claims batch run claims.jsonl --dry-run\n"
    "Example: dintero-claims batch run claims.jsonl\n"
    "Example: dintero-claims batch resume claims.jsonl.journal",
    help_epilogue=exit_codes.listed(exit_codes.OF_A_BATCH),
)

# Paths, so that shells complete the names of files.
Journal = Annotated[Path, Parameter(name="JOURNAL", allow_leading_hyphen=True)]


@batch.command
def run(
    file: Annotated[Path, Parameter(name="INPUT", allow_leading_hyphen=True)],
    /,
    *,
    journal: File | None = None,
    dry_run: Flag = False,
    format_: Annotated[Literal["jsonl", "csv"] | None, Parameter(name="--format")] = None,
    map_: Annotated[list[str] | None, Parameter(name="--map", negative=())] = None,
    delimiter: str | None = None,
    json: Json = False,
    claiming: Claiming = AS_USUAL,
    connection: Connection = FROM_ENVIRONMENT,
) -> int:
    """Claim each row of a file: all of it is read into a journal and checked first.

    A row ends as taken, refused, rejected (it breaks a rule, and is not sent) or
    unknown. Rejected rows go to JOURNAL.rejects.jsonl, with line and reason; with
    --dry-run, which has no journal, to INPUT.rejects.jsonl. What is interrupted
    goes on with batch resume, or with the same command again. Nothing is
    claimed twice.

    Example: dintero-claims batch run claims.jsonl --concurrency 200
    Example: dintero-claims batch run sales.csv --map order=ref --dry-run

    Parameters
    ----------
    file
        JSON lines (one claim a line, as the API takes it) or CSV (several rows of one ref make one claim with
        several discounts); - is stdin.
    journal
        Where the batch is written down; by default the file's name and .journal.
    dry_run
        Check every row and send nothing; needs no credentials.
    format_
        What the input is; by default CSV if its name ends in .csv or .tsv, else JSON lines.
    map_
        COLUMN=FIELD, for a column of a CSV that is not named as its field: purchase_at, customer_id, ref,
        type, discounts.id, discounts.refs.id, discounts.refs.amount, discounts.refs.usage. Can be given
        again.
    delimiter
        Of a CSV; by default what its header shows.
    """
    from dintero_claims_client.cli import batch as commands
    from dintero_claims_client.cli.batch_input import choose_format

    input_format = choose_format(str(file), kind=format_, mapping=map_ or (), delimiter=delimiter)
    if dry_run:
        return commands.dry_run(str(file), input_format, as_json=json)
    return commands.run(
        str(file), None if journal is None else str(journal), input_format, claiming, connection, as_json=json
    )


@batch.command
def resume(
    journal: Journal,
    /,
    *,
    partial: Flag = False,
    json: Json = False,
    claiming: Claiming = AS_USUAL,
    connection: Connection = FROM_ENVIRONMENT,
) -> int:
    """Go on with a batch: settle what was under way, and claim what is left.

    Example: dintero-claims batch resume claims.jsonl.journal

    Parameters
    ----------
    journal
        The journal of the batch.
    partial
        Claim what came from a pipe that ended too early, as if it were all.
    """
    from dintero_claims_client.cli import batch as commands

    return commands.resume(str(journal), claiming, connection, partial=partial, as_json=json)


@batch.command
def retry_refused(
    journal: Journal,
    /,
    *,
    json: Json = False,
    claiming: Claiming = AS_USUAL,
    connection: Connection = FROM_ENVIRONMENT,
) -> int:
    """Claim the rows again that the server refused, and whatever else is left; they keep their refs.

    Example: dintero-claims batch retry-refused claims.jsonl.journal

    Parameters
    ----------
    journal
        The journal of the batch.
    """
    from dintero_claims_client.cli import batch as commands

    return commands.retry_refused(str(journal), claiming, connection, as_json=json)


@batch.command
def status(journal: Journal, /, *, json: Json = False) -> int:
    """Print how far a batch is, also while it runs; sends nothing.

    Example: dintero-claims batch status claims.jsonl.journal

    Parameters
    ----------
    journal
        The journal of the batch.
    """
    from dintero_claims_client.cli import batch as commands

    return commands.status(str(journal), as_json=json)


@batch.command
def export(journal: Journal, /, *, out: File = Path("-")) -> int:
    """Write each row of a batch, how it ended, and its claim, as JSON lines.

    Example: dintero-claims batch export claims.jsonl.journal --out outcomes.jsonl

    Parameters
    ----------
    journal
        The journal of the batch.
    out
        The file to write; - is stdout.
    """
    from dintero_claims_client.cli import batch as commands

    return commands.export(str(journal), str(out))


@batch.command
def purge(journal: Journal, /) -> int:
    """Erase the personal data of all rows that are settled; their refs, outcomes and claims' ids stay.

    Other files (the input, rejects, exports) are not touched.

    Example: dintero-claims batch purge claims.jsonl.journal

    Parameters
    ----------
    journal
        The journal of the batch.
    """
    from dintero_claims_client.cli import batch as commands

    return commands.purge(str(journal))
