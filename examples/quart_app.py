"""Discounts claimed at checkout, on Quart.

Quart cancels the handler of a shopper who goes away, and the claim with it, wherever it was: it may have been
taken or not. Nothing is lost by that, because its `ref` is the order's number: `GET /orders/{number}` finds
the claim, and checking out again makes the one there is, or the first.

Run: hypercorn examples/quart_app:app
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from quart import Quart, Response, current_app, jsonify, request
from shop import DEADLINE, DRAIN, Answer, answer_to, claim_of, claimed, health, not_found

from dintero_claims_client import ClaimsClient, ClaimsError

app = Quart(__name__)


@app.while_serving
async def hold_client() -> AsyncGenerator[None, None]:
    """Hold one client, for all requests of this process."""
    async with ClaimsClient.from_env() as claims:
        app.extensions["claims"] = claims
        yield
        # The server has stopped taking requests; what still claims now may end.
        await claims.drain(DRAIN)


def claims_client() -> ClaimsClient:
    """Return the app's client."""
    claims: ClaimsClient = current_app.extensions["claims"]
    return claims


@app.post("/checkout")
async def check_out() -> Response:
    """Claim the discounts of an order, once."""
    order = claim_of(await request.get_json())
    return respond(claimed(await claims_client().claim(order, timeout=DEADLINE, if_exists="return")))


@app.get("/orders/<number>")
async def show_order(number: str) -> Response:
    """Find the claim of an order again, where its answer never came or said that it is unknown."""
    claim = await claims_client().find_claim(ref=number, timeout=DEADLINE)
    return respond(claimed(claim) if claim else not_found(number))


@app.get("/health")
async def show_health() -> Response:
    """Say whether this process can claim."""
    return respond(health(claims_client()))


@app.errorhandler(ClaimsError)
async def tell_the_shopper(error: ClaimsError) -> Response:
    """Answer with what the error means for the order."""
    return respond(answer_to(error))


def respond(answer: Answer) -> Response:
    """Return an answer as one of the framework's."""
    response = jsonify(answer.body)
    response.status_code = answer.status
    response.headers.update(answer.headers)
    return response
