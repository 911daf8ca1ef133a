"""Discounts claimed at checkout, on aiohttp.

A shopper who goes away does not stop the claim: aiohttp lets the handler run to its end, unless the app is
run with `handler_cancellation=True`.

Run: python examples/aiohttp_app.py
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.typedefs import Handler
from shop import DEADLINE, DRAIN, Answer, answer_to, claim_of, claimed, health, not_found

from dintero_claims_client import ClaimsClient, ClaimsError

CLAIMS = web.AppKey("claims", ClaimsClient)
routes = web.RouteTableDef()


async def claims_client(app: web.Application) -> AsyncIterator[None]:
    """Hold one client, for all requests of this process."""
    async with ClaimsClient.from_env() as claims:
        app[CLAIMS] = claims
        yield
        # The server has stopped taking requests; what still claims now may end.
        await claims.drain(DRAIN)


@routes.post("/checkout")
async def check_out(request: web.Request) -> web.Response:
    """Claim the discounts of an order, once."""
    try:
        order = await request.json()
    except ValueError:
        raise web.HTTPBadRequest(text="an order is JSON") from None
    claims = request.app[CLAIMS]
    return respond(claimed(await claims.claim(claim_of(order), timeout=DEADLINE, if_exists="return")))


@routes.get("/orders/{number}")
async def show_order(request: web.Request) -> web.Response:
    """Find the claim of an order again, where its answer never came or said that it is unknown."""
    number = request.match_info["number"]
    claim = await request.app[CLAIMS].find_claim(ref=number, timeout=DEADLINE)
    return respond(claimed(claim) if claim else not_found(number))


@routes.get("/health")
async def show_health(request: web.Request) -> web.Response:
    """Say whether this process can claim."""
    return respond(health(request.app[CLAIMS]))


@web.middleware
async def tell_the_shopper(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with what an error means for the order."""
    try:
        return await handler(request)
    except ClaimsError as error:
        return respond(answer_to(error))


def respond(answer: Answer) -> web.Response:
    """Return an answer as one of the framework's."""
    return web.json_response(answer.body, status=answer.status, headers=answer.headers)


def make_app() -> web.Application:
    """Return the app, which holds its client while it is served."""
    app = web.Application(middlewares=[tell_the_shopper])
    app.cleanup_ctx.append(claims_client)
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))
