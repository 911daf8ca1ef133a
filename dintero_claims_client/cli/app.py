"""The commands and their arguments; what they do is in the modules that they import when they run."""

from __future__ import annotations

import textwrap
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.help.formatters import PlainFormatter

from dintero_claims_client import __version__
from dintero_claims_client.cli import exit_codes, output
from dintero_claims_client.cli.arguments import File, Json, Natural, Port, Positive, Share, Whole
from dintero_claims_client.cli.batch_app import batch
from dintero_claims_client.cli.connection import FROM_ENVIRONMENT, Connection

if TYPE_CHECKING:
    from rich.console import Console

_HELP = """\
Claim discounts at Dintero, and try the library without an account.

Without an account:
Example: dintero-claims demo --count 500
Example: dintero-claims sandbox serve

With one, or in another terminal with what the sandbox printed:
Example: dintero-claims doctor
Example: dintero-claims claim claim.json
Example: dintero-claims batch run claims.jsonl

Settings come from the environment: DINTERO_ACCOUNT_ID, DINTERO_CLIENT_ID,
DINTERO_CLIENT_SECRET or DINTERO_CLIENT_SECRET_FILE (a file's path), and
DINTERO_BASE_URL. Options go before it; no option takes a secret.

Results go to stdout, everything else to stderr. With --json both are JSON.
All options of a command: dintero-claims COMMAND --help
"""


class _Formatter(PlainFormatter):
    """Plain text whose entries stay within the width: what goes on in a further line is indented."""

    def _print_plain(self, console: Console, text: str) -> None:
        if text.startswith(self.indent):
            # It comes with the line breaks of the source, and of another width.
            text = textwrap.fill(
                " ".join(text.split()),
                # Some terminals say that they have no width.
                max(console.width, 20),
                initial_indent=self.indent,
                subsequent_indent=3 * self.indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
        # Folding is done; what has no space in it is copied whole.
        console.print(text, highlight=False, markup=False, soft_wrap=True)


app = App(
    name="dintero-claims",
    help=_HELP,
    help_epilogue=exit_codes.listed(exit_codes.MEANINGS),
    # Plain: it is read in pipes and files too, and its lines are to stay as they are.
    help_format="plaintext",
    help_formatter=_Formatter(),
    version=__version__,
    default_parameter=Parameter(negative=()),
    # Errors, interruptions and results are the caller's business.
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)
sandbox = App(
    name="sandbox",
    help="A local stand-in for the API, for tests and for trying things out.\n\n"
    "Example: dintero-claims sandbox serve",
)
app.command(sandbox)
app.command(batch)


def _require_sandbox() -> None:
    try:
        import_module("dintero_claims_client.sandbox")
    except ImportError as error:
        # Any other import that fails is a bug, and must not look like a missing extra.
        if "[sandbox]" not in str(error):
            raise
        raise exit_codes.UsageError(str(error)) from error


@app.command
async def demo(
    *,
    count: Positive = 2_000,
    batch: Natural = 500,
    concurrency: Positive = 100,
    seed: Whole = 1,
    fault_rate: Share = 0.1,
    json: Json = False,
) -> int:
    """Claim at a sandbox in which things go wrong, and compare with its ledger.

    It ends with a batch from a file that is killed half way, and resumed.
    Exit code 0 says that every claim was taken, none was lost and none was made twice.

    Example: dintero-claims demo --count 500 --seed 7

    Parameters
    ----------
    count
        How many claims to make.
    batch
        How many rows the batch has; 0 is none.
    concurrency
        How many at a time.
    seed
        Which requests go wrong.
    fault_rate
        The share of requests that go wrong, 0 to 1.
    """
    _require_sandbox()
    from dintero_claims_client.cli import demo as command

    return await command.demo(
        count=count, batch=batch, concurrency=concurrency, seed=seed, fault_rate=fault_rate, as_json=json
    )


@app.command
def claim(
    file: File,
    /,
    *,
    if_exists: Literal["raise", "return"] = "raise",
    live: Annotated[bool, Parameter(show_default=False)] = False,
    dry_run: Annotated[bool, Parameter(show_default=False)] = False,
    json: Json = False,
    connection: Connection = FROM_ENVIRONMENT,
) -> int:
    """Claim discounts, and print the claim as it was taken.

    Example: dintero-claims claim claim.json --dry-run
    Example: dintero-claims claim claim.json

    with this in claim.json:
      {"purchase_at": "2026-11-23T12:00:00Z", "customer_id": "customer-1",
       "discounts": [{"id": "discount-1"}], "ref": "order-1"}

    Parameters
    ----------
    file
        The claim as JSON, as the API takes it; - is stdin.
    if_exists
        What to do where the ref is taken by the same claim already: fail, or print that claim.
    live
        Claim for a production account (P...) too.
    dry_run
        Check the claim and send nothing; needs no credentials.
    """
    from dintero_claims_client.cli import claims

    return claims.claim(str(file), connection, if_exists=if_exists, live=live, dry_run=dry_run, as_json=json)


@app.command
async def get(
    claim_id: Annotated[str, Parameter(name="ID")],
    /,
    *,
    json: Json = False,
    connection: Connection = FROM_ENVIRONMENT,
) -> int:
    """Print the claim with an id.

    Example: dintero-claims get 3c90c3cc-0d44-4b50-8888-8dd25736052a

    Parameters
    ----------
    claim_id
        The id that the server gave the claim.
    """
    from dintero_claims_client.cli import claims

    return await claims.get(claim_id, connection, as_json=json)


@app.command(name="list")
async def list_(
    *,
    limit: Positive | None = None,
    all_: Annotated[bool, Parameter(name="--all", show_default=False)] = False,
    json: Json = False,
    connection: Connection = FROM_ENVIRONMENT,
) -> int:
    """Print the account's claims: a table on a terminal, else a line each.

    A line holds id, ref, customer_id, purchase_at and deleted_at with tabs
    between, or with --json the claim.

    Example: dintero-claims list --limit 20 --json

    Parameters
    ----------
    limit
        How many at most; by default 100.
    all_
        Without a limit.
    """
    from dintero_claims_client.cli import claims

    if all_ and limit is not None:
        raise exit_codes.UsageError("--limit and --all contradict each other: give one of them")
    limit = 100 if limit is None else limit
    return await claims.list_(connection, limit=None if all_ else limit, as_json=json)


@app.command
async def find(*, ref: str, json: Json = False, connection: Connection = FROM_ENVIRONMENT) -> int:
    """Print the claim with a ref, looking through 2,000 claims at most.

    Example: dintero-claims find --ref order-1

    Parameters
    ----------
    ref
        The merchant's reference of the claim.
    """
    from dintero_claims_client.cli import claims

    return await claims.find(ref, connection, as_json=json)


@app.command
async def doctor(
    *, journal: File | None = None, json: Json = False, connection: Connection = FROM_ENVIRONMENT
) -> int:
    """Print the settings in use, and what is wrong with them or on the way; claims nothing.

    It looks at the settings, the form of the secret, test or production,
    proxies, this machine's clock, DNS, TCP, TLS, the token and its scope, the
    list, the contract, and a journal. What FAILED first is the cause.

    Example: dintero-claims doctor
    Example: dintero-claims doctor --journal claims.jsonl.journal

    Parameters
    ----------
    journal
        A journal of a batch: whether a process works with it, whose it is, and whether it can be resumed.
    """
    from dintero_claims_client.cli import doctor as command

    return await command.doctor(connection, journal, as_json=json)


@app.command
def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print what makes a shell complete commands, options and the names of files.

    Where it goes:
      bash: ~/.local/share/bash-completion/completions/dintero-claims
      zsh:  a file _dintero-claims in a directory of $fpath
      fish: ~/.config/fish/completions/dintero-claims.fish

    Example: dintero-claims completion bash > dintero-claims.bash

    Parameters
    ----------
    shell
        The shell.
    """
    output.write_line(app.generate_completion(shell=shell).rstrip())
    return exit_codes.DONE


@sandbox.command
async def serve(
    *,
    port: Port = 0,
    fault_rate: Share = 0.0,
    seed: Whole = 0,
    token_lifetime: Positive = 14_400,
    order: Literal["newest", "oldest"] = "newest",
) -> int:
    """Serve a sandbox on 127.0.0.1 until Ctrl-C or SIGTERM.

    The first line is its address and credentials, as variables for the environment.

    Example: dintero-claims sandbox serve
    In another terminal, after "export" and that line: dintero-claims list

    Parameters
    ----------
    port
        The port; 0 takes a free one.
    fault_rate
        The share of requests that go wrong, 0 to 1.
    seed
        Which requests go wrong.
    token_lifetime
        Seconds that an access token lives.
    order
        Which claim is the first in a list.
    """
    _require_sandbox()
    from dintero_claims_client.cli.serve import serve as command

    return await command(
        port=port, fault_rate=fault_rate, seed=seed, token_lifetime=token_lifetime, order=order
    )
