"""The ASGI app: one exchange from request to answer, with the faults that were decided for it."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, TypeAlias, cast

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route

from dintero_claims_client.sandbox.faults import Fault, Operation
from dintero_claims_client.sandbox.refusal import Refusal
from dintero_claims_client.sandbox.wire import (
    Body,
    basic_credentials,
    bearer_token,
    error_response,
    json_response,
    read_body,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from dintero_claims_client.sandbox.contract import Contract
    from dintero_claims_client.sandbox.faults import FaultInjector, Injection
    from dintero_claims_client.sandbox.ledger import Ledger
    from dintero_claims_client.sandbox.rules import Grant, Rules

    Handler: TypeAlias = Callable[[Request, Body], Response]

DROP_EXTENSION = "dintero.sandbox.drop"
_CLAIMS_PATH = "/v1/accounts/{aid}/discounts/available_for_receipt/claims"
_AUDIENCE = re.compile(r"https?://[^/?#\s]+/v1/accounts/(?P<aid>[^/?#]+)")


class ConnectionDropped(Exception):  # noqa: N818 - what happens to the connection, not an error of the app
    """The exchange ends without an answer.

    Leaves the app only where the server cannot reset a connection, as in process.
    """


def build_app(
    *,
    contract: Contract,
    rules: Rules,
    ledger: Ledger,
    faults: FaultInjector,
    sleep: Callable[[float], Awaitable[None]],
) -> Starlette:
    """Return the API as an ASGI app, with its control endpoints below `/__sandbox__`.

    To drop a connection it calls the scope's extension `dintero.sandbox.drop`, which resets the
    connection and takes no arguments.
    """
    api = _Api(contract=contract, rules=rules, ledger=ledger, faults=faults, sleep=sleep)
    app = Starlette(
        routes=[
            Route("/v1/accounts/{oid}/auth/token", api.token, methods=["POST"]),
            Route(_CLAIMS_PATH, api.claims, methods=["GET", "POST"]),
            Route(_CLAIMS_PATH + "/{claim_id}", api.claim, methods=["GET"]),
            Route("/__sandbox__/ledger", api.show_ledger, methods=["GET"]),
            Route("/__sandbox__/health", api.show_health, methods=["GET"]),
        ],
        middleware=[Middleware(_Envelope)],
        exception_handlers={HTTPException: _routing_error},
    )
    # A path with a slash too many is another path, and the API has no redirects.
    app.router.redirect_slashes = False
    return app


class _Envelope:
    """Puts a request id on each answer, and turns a dropped exchange into a reset connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-Id"] = uuid.uuid4().hex
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ConnectionDropped:
            drop = scope.get("extensions", {}).get(DROP_EXTENSION)
            if drop is None:
                raise
            drop()
            # Servers take an app that returns without an answer for broken, unless the client is gone.
            while (await receive())["type"] != "http.disconnect":
                pass


async def _routing_error(_request: Request, error: Exception) -> Response:
    found = cast("HTTPException", error)
    message = "Resource not found" if found.status_code == 404 else found.detail
    return error_response(Refusal(found.status_code, message, headers=found.headers))


class _Api:
    """The endpoints: each authenticates, checks, asks the rules, and answers."""

    def __init__(
        self,
        *,
        contract: Contract,
        rules: Rules,
        ledger: Ledger,
        faults: FaultInjector,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._contract = contract
        self._rules = rules
        self._ledger = ledger
        self._faults = faults
        self._sleep = sleep

    async def token(self, request: Request) -> Response:
        return await self._exchange(Operation.TOKEN, request, self._issue_token)

    async def claims(self, request: Request) -> Response:
        if request.method == "POST":
            return await self._exchange(Operation.CLAIM, request, self._take_claim)
        return await self._exchange(Operation.LIST, request, self._list_claims)

    async def claim(self, request: Request) -> Response:
        return await self._exchange(Operation.GET, request, self._get_claim)

    async def show_health(self, _request: Request) -> Response:
        contract = {"version": self._contract.version, "sha256": self._contract.digest}
        return json_response({"status": "ok", "contract": contract})

    async def show_ledger(self, request: Request) -> Response:
        ledger = self._ledger.summary()
        if request.query_params.get("claims") == "1":
            ledger["claimed"] = [claim.data for claim in self._ledger.claims]
        return json_response(ledger)

    async def _exchange(self, operation: Operation, request: Request, handler: Handler) -> Response:
        outcome = "dropped"
        try:
            response = await self._answer(operation, request, handler)
            outcome = str(response.status_code)
        except ClientDisconnect:
            outcome = "incomplete"
            raise ConnectionDropped from None
        finally:
            self._ledger.count_request(operation, outcome, ref=getattr(request.state, "ref", None))
        return response

    async def _answer(self, operation: Operation, request: Request, handler: Handler) -> Response:
        injection: Injection | None = None
        try:
            # Read before all else, so that a request whose answer gets lost is in the ledger too.
            body = await read_body(request) if request.method == "POST" else Body()
            if operation is Operation.CLAIM and body.flaw is None:
                self._ledger.count_arrival(body.ref)
                request.state.ref = body.ref
            injection = self._faults.decide(operation)
            if injection is not None:
                await self._inject(injection, request)
            response = handler(request, body)
        except Refusal as refusal:
            response = error_response(refusal)
        if injection is not None and injection.fault is Fault.DROP_AFTER_COMMIT:
            raise ConnectionDropped
        return response

    async def _inject(self, injection: Injection, request: Request) -> None:
        self._ledger.count_fault(injection.fault)
        if injection.fault is Fault.LATENCY:
            await self._sleep(injection.delay)
        elif injection.fault is Fault.EXPIRE_TOKEN:
            self._rules.revoke_token(_presented_token(request))
        elif injection.fault is Fault.DROP_BEFORE_COMMIT:
            raise ConnectionDropped
        elif injection.status is not None:
            seconds = injection.retry_after
            headers = None if seconds is None else {"Retry-After": str(seconds)}
            raise Refusal(injection.status, "The sandbox injected this answer", headers=headers)

    def _issue_token(self, request: Request, body: Body) -> Response:
        client = self._rules.check_client(*basic_credentials(request.headers.get("Authorization", "")))
        body.require_content()
        if body.fields.get("grant_type") != "client_credentials":
            raise Refusal(400, "grant_type must be client_credentials")
        audience = _AUDIENCE.fullmatch(str(body.fields.get("audience")))
        if audience is None or not self._contract.is_account_id(audience["aid"]):
            raise Refusal(400, "audience must be the address of an account")
        token = self._rules.issue_token(
            client, owner_id=request.path_params["oid"], account_id=audience["aid"]
        )
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": self._rules.token_lifetime}
        return json_response(answer, headers={"Cache-Control": "no-store"})

    def _take_claim(self, request: Request, body: Body) -> Response:
        grant = self._authenticate(request)
        content = self._contract.read_claim_request(body.require_content())
        return json_response(self._rules.claim(grant, content).data)

    def _list_claims(self, request: Request, _body: Body) -> Response:
        grant = self._authenticate(request)
        query = self._contract.read_list_query(request.query_params.multi_items())
        page = self._rules.list_claims(
            grant.account_id, limit=query.limit, starting_after=query.starting_after
        )
        return json_response([claim.data for claim in page])

    def _get_claim(self, request: Request, _body: Body) -> Response:
        grant = self._authenticate(request)
        claim = self._rules.get_claim(grant.account_id, request.path_params["claim_id"])
        return json_response(claim.data)

    def _authenticate(self, request: Request) -> Grant:
        grant = self._rules.authenticate(_presented_token(request))
        account_id = request.path_params["aid"]
        if not self._contract.is_account_id(account_id):
            raise Refusal(400, "The account id is not valid")
        if account_id != grant.account_id:
            raise Refusal(403, "The access token is for another account")
        return grant


def _presented_token(request: Request) -> str:
    return bearer_token(request.headers.get("Authorization", ""))
