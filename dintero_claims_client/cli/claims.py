"""The commands `claim`, `get`, `list` and `find`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from typing import Any, Literal
from uuid import uuid4

from dintero_claims_client import ClaimsClient
from dintero_claims_client._validation import check_claim
from dintero_claims_client.cli import exit_codes, output
from dintero_claims_client.cli.claim_file import read_claim
from dintero_claims_client.cli.connection import Connection
from dintero_claims_client.errors import ClaimsError, RefConflictError
from dintero_claims_client.models import Claim, ClaimRequest, Unset

_COLUMNS = ("id", "ref", "customer_id", "purchase_at", "deleted_at")
_MOST_IN_PAGE = 100


def claim(
    file: str,
    connection: Connection,
    *,
    if_exists: Literal["raise", "return"],
    live: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Claim what a file holds, or only check it."""
    # Before the event loop runs: that holds Ctrl-C back, and who types the claim may change their mind.
    request = read_claim(file)
    check_claim(request)
    if dry_run:
        if as_json:
            output.write_json(request.to_dict())
        else:
            output.write_line("the claim keeps all rules that can be checked here; nothing was sent")
        return exit_codes.DONE
    client = connection.client()
    connection.check_may_claim(live=live)
    if isinstance(request.ref, Unset):
        # Made here and not by the client, to be known when the command is interrupted.
        request.ref = str(uuid4())
        # Nobody else has it: a claim that exists with it is this one.
        if_exists = "return"
        if not as_json:
            output.write_note(f"the claim has no ref, and goes by {request.ref}")
    taken = asyncio.run(_claim(client, request, if_exists))
    _write_claim(taken, as_json=as_json)
    return exit_codes.DONE


async def _claim(client: ClaimsClient, request: ClaimRequest, if_exists: Literal["raise", "return"]) -> Claim:
    async with client:
        try:
            return await client.claim(request, if_exists=if_exists)
        except asyncio.CancelledError:
            ref = str(request.ref)
            raise exit_codes.Interrupted(
                f"interrupted; the claim may have been taken: {output.look_up(ref)}", ref=ref
            ) from None
        except RefConflictError as error:
            if if_exists == "return":
                # It was compared, so that there is nothing left to ask for.
                error.add_note(
                    "this claim was not taken: another one has its ref\n"
                    f"to see it: {output.look_up(str(request.ref))}"
                )
            raise


@contextmanager
def _reading(command: str) -> Generator[None, None, None]:
    """Let errors be told to who wanted to claim nothing."""
    try:
        yield
    except ClaimsError as error:
        if (advice := output.advice_to_reader(error, command)) is not None:
            error.add_note(advice)
        raise


async def get(claim_id: str, connection: Connection, *, as_json: bool) -> int:
    """Show the claim with an id."""
    with _reading("get"):
        async with connection.client() as client:
            found = await client.get_claim(claim_id)
    _write_claim(found, as_json=as_json)
    return exit_codes.DONE


async def find(ref: str, connection: Connection, *, as_json: bool) -> int:
    """Show the claim with a ref."""
    with _reading("find"):
        async with connection.client() as client:
            found = await client.find_claim(ref=ref)
    if found is None:
        raise exit_codes.ClaimNotFound(
            "no claim with this ref was found. At most 2,000 claims are looked through, and in an account "
            "with more than that this proves nothing",
            ref=ref,
        )
    _write_claim(found, as_json=as_json)
    return exit_codes.DONE


async def list_(connection: Connection, *, limit: int | None, as_json: bool) -> int:
    """Show the account's claims, at most `limit` of them."""
    with _reading("list"):
        return await _list(connection, limit, as_json=as_json)


async def _list(connection: Connection, limit: int | None, *, as_json: bool) -> int:
    async with connection.client() as client:
        page_size = _MOST_IN_PAGE if limit is None else min(limit, _MOST_IN_PAGE)
        claims = _first(limit, client.list_claims(page_size=page_size))
        if as_json:
            async for one in claims:
                output.write_json(one.to_dict())
        elif output.is_terminal(sys.stdout):
            output.write_table(_COLUMNS, [_row(one) async for one in claims])
        else:
            async for one in claims:
                output.write_line("\t".join(map(output.printable, _row(one))))
    return exit_codes.DONE


async def _first(limit: int | None, claims: AsyncIterator[Claim]) -> AsyncIterator[Claim]:
    """Give so many claims, and ask for no page beyond them."""
    count = 0
    async for one in claims:
        yield one
        count += 1
        if count == limit:
            return


def _row(claim: Claim) -> list[str]:
    fields = claim.to_dict()
    return [_text(fields.get(name)) for name in _COLUMNS]


def _write_claim(claim: Claim, *, as_json: bool) -> None:
    fields = claim.to_dict()
    if as_json:
        output.write_json(fields)
    else:
        output.write_rows((name, _text(value)) for name, value in fields.items() if value is not None)


def _text(value: Any) -> str:  # noqa: ANN401 - JSON
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
