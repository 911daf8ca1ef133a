"""A point of sale on FastAPI (on Starlette it is the same): discounts are claimed at checkout.

Whatever the shopper does, an order is one claim, because its number is the claim's `ref`:

- Who clicks twice, reloads or comes back later gets the same claim again (`if_exists="return"`).
- Who goes away does not stop the claim: Starlette lets the handler run to its end. `GET /orders/{number}`
  finds it.
- Who orders in an outage has an answer within `DEADLINE`, and no claim is lost by it.

Run: uvicorn --app-dir examples fastapi_checkout:app
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, Field
from shop import DEADLINE, DRAIN, Answer, answer_to, claim_of, claimed, health, not_found

from dintero_claims_client import ClaimsClient, ClaimsError


class State(TypedDict):
    """What all requests share."""

    claims: ClaimsClient


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
    """Hold one client, for all requests of this process."""
    async with ClaimsClient.from_env() as claims:
        yield {"claims": claims}
        # The server has stopped taking requests; what still claims now may end.
        await claims.drain(DRAIN)


app = FastAPI(title="Point of sale", lifespan=lifespan)


def claims_client(request: Request) -> ClaimsClient:
    """Return the app's client; tests can put another in its place (`app.dependency_overrides`)."""
    claims: ClaimsClient = request.state.claims
    return claims


Claims = Annotated[ClaimsClient, Depends(claims_client)]


class Item(BaseModel):
    """What of the order a discount is for; the amount is in the currency's smallest unit."""

    id: str = Field(min_length=1)
    amount: int
    usage: int = 1


class Discount(BaseModel):
    """A discount of the customer's, and the items that it is for."""

    id: str = Field(min_length=1)
    refs: list[Item] = Field(min_length=1)


class Order(BaseModel):
    """What the till sends. Its time is when it was placed, and not when this request came."""

    number: str = Field(min_length=1, max_length=100)
    customer_id: str = Field(min_length=1, max_length=255)
    purchase_at: AwareDatetime
    discounts: list[Discount] = Field(min_length=1)


@app.post("/checkout")
async def check_out(order: Order, claims: Claims) -> JSONResponse:
    """Claim the discounts of an order, once."""
    request = claim_of(order.model_dump(mode="json"))
    return respond(claimed(await claims.claim(request, timeout=DEADLINE, if_exists="return")))


@app.get("/orders/{number}")
async def show_order(number: str, claims: Claims) -> JSONResponse:
    """Find the claim of an order again, where its answer never came or said that it is unknown."""
    claim = await claims.find_claim(ref=number, timeout=DEADLINE)
    return respond(claimed(claim) if claim else not_found(number))


@app.get("/health")
async def show_health(claims: Claims) -> JSONResponse:
    """Say whether this process can claim."""
    return respond(health(claims))


@app.exception_handler(ClaimsError)
async def tell_the_shopper(_request: Request, error: ClaimsError) -> JSONResponse:
    """Answer with what the error means for the order."""
    return respond(answer_to(error))


def respond(answer: Answer) -> JSONResponse:
    """Return an answer as one of the framework's."""
    return JSONResponse(answer.body, answer.status, answer.headers)
