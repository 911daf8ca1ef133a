"""Discounts claimed at checkout, on Django behind an ASGI server, in one file.

Django has no place for what lives as long as the server: `application` adds it, by answering the server's
lifespan itself. So each process has one client, on the event loop that serves its requests.

Django cancels the view of a shopper who goes away, and the claim with it, wherever it was: it may have been
taken or not. Nothing is lost by that, because its `ref` is the order's number: `GET /orders/{number}` finds
the claim, and checking out again makes the one there is, or the first.

Run: uvicorn --app-dir examples django_app:application
"""

# Django has no types of its own.
# mypy: disable-error-code="import-untyped,untyped-decorator"
from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from functools import wraps
from typing import Any, TypeAlias

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management.utils import get_random_secret_key
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import require_GET, require_POST
from shop import DEADLINE, DRAIN, Answer, answer_to, claim_of, claimed, health, not_found

from dintero_claims_client import ClaimsClient, ClaimsError, ConfigurationError

View: TypeAlias = Callable[..., Awaitable[JsonResponse]]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    # A new one with each start, because nothing here is signed.
    SECRET_KEY=get_random_secret_key(),
)
django_application = get_asgi_application()


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """Serve, and hold the client while the server does."""
    if scope["type"] == "lifespan":
        await hold_client(scope["state"], receive, send)
    else:
        await django_application(scope, receive, send)


async def hold_client(state: Message, receive: Receive, send: Send) -> None:
    """Hold one client from the server's start to its end; `state` is what all requests are given."""
    await receive()
    try:
        claims = ClaimsClient.from_env()
    except ConfigurationError as error:
        # Said in so many words, because servers go on without a lifespan after an exception.
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    async with claims:
        state["claims"] = claims
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # The server has stopped taking requests; what still claims now may end.
        await claims.drain(DRAIN)
    await send({"type": "lifespan.shutdown.complete"})


def claims_client(request: HttpRequest) -> ClaimsClient:
    """Return the client of the server's lifespan."""
    claims: ClaimsClient = request.scope["state"]["claims"]
    return claims


def tell_the_shopper(view: View) -> View:
    """Let a view answer with what an error means for the order."""

    @wraps(view)
    async def answered(request: HttpRequest, **path: str) -> JsonResponse:
        try:
            return await view(request, **path)
        except ClaimsError as error:
            return respond(answer_to(error))

    return answered


@require_POST
@tell_the_shopper
async def check_out(request: HttpRequest) -> JsonResponse:
    """Claim the discounts of an order, once."""
    try:
        order = json.loads(request.body)
    except ValueError:
        return JsonResponse({"status": "invalid", "rule": "an order is JSON"}, status=400)
    claims = claims_client(request)
    return respond(claimed(await claims.claim(claim_of(order), timeout=DEADLINE, if_exists="return")))


@require_GET
@tell_the_shopper
async def show_order(request: HttpRequest, number: str) -> JsonResponse:
    """Find the claim of an order again, where its answer never came or said that it is unknown."""
    claim = await claims_client(request).find_claim(ref=number, timeout=DEADLINE)
    return respond(claimed(claim) if claim else not_found(number))


@require_GET
async def show_health(request: HttpRequest) -> JsonResponse:
    """Say whether this process can claim."""
    return respond(health(claims_client(request)))


def respond(answer: Answer) -> JsonResponse:
    """Return an answer as one of the framework's."""
    return JsonResponse(answer.body, status=answer.status, headers=answer.headers)


urlpatterns = [
    path("checkout", check_out),
    path("orders/<str:number>", show_order),
    path("health", show_health),
]
