"""Discounts claimed at checkout, on Litestar.

A shopper who goes away does not stop the claim: Litestar lets the handler run to its end.

Run: uvicorn --app-dir examples litestar_app:app
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody
from shop import DEADLINE, DRAIN, Answer, answer_to, claim_of, claimed, health, not_found

from dintero_claims_client import ClaimsClient, ClaimsError

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Item(msgspec.Struct):
    """What of the order a discount is for; the amount is in the currency's smallest unit."""

    id: Text
    amount: int
    usage: int = 1


class Discount(msgspec.Struct):
    """A discount of the customer's, and the items that it is for."""

    id: Text
    refs: Annotated[list[Item], msgspec.Meta(min_length=1)]


class Order(msgspec.Struct):
    """What the till sends. Its time is when it was placed, and not when this request came."""

    number: Text
    customer_id: Text
    purchase_at: Annotated[datetime, msgspec.Meta(tz=True)]
    discounts: Annotated[list[Discount], msgspec.Meta(min_length=1)]


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    """Hold one client, for all requests of this process."""
    async with ClaimsClient.from_env() as claims:
        app.state.claims = claims
        yield
        # The server has stopped taking requests; what still claims now may end.
        await claims.drain(DRAIN)


async def claims_client(state: State) -> ClaimsClient:
    """Return the app's client."""
    claims: ClaimsClient = state.claims
    return claims


@post("/checkout")
async def check_out(data: JSONBody[Order], claims: NamedDependency[ClaimsClient]) -> Response[dict[str, Any]]:
    """Claim the discounts of an order, once."""
    request = claim_of(msgspec.to_builtins(data))
    return respond(claimed(await claims.claim(request, timeout=DEADLINE, if_exists="return")))


@get("/orders/{number:str}")
async def show_order(
    number: FromPath[str], claims: NamedDependency[ClaimsClient]
) -> Response[dict[str, Any]]:
    """Find the claim of an order again, where its answer never came or said that it is unknown."""
    claim = await claims.find_claim(ref=number, timeout=DEADLINE)
    return respond(claimed(claim) if claim else not_found(number))


@get("/health")
async def show_health(claims: NamedDependency[ClaimsClient]) -> Response[dict[str, Any]]:
    """Say whether this process can claim."""
    return respond(health(claims))


def tell_the_shopper(_request: Request[Any, Any, Any], error: ClaimsError) -> Response[dict[str, Any]]:
    """Answer with what the error means for the order."""
    return respond(answer_to(error))


def respond(answer: Answer) -> Response[dict[str, Any]]:
    """Return an answer as one of the framework's."""
    return Response(answer.body, status_code=answer.status, headers=answer.headers)


app = Litestar(
    [check_out, show_order, show_health],
    lifespan=[lifespan],
    dependencies={"claims": Provide(claims_client)},
    exception_handlers={ClaimsError: tell_the_shopper},
    # Litestar's own would set up the logging of the whole process, down to every detail.
    logging_config=None,
)
