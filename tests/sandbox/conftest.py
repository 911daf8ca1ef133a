"""A sandbox under test, and a client of it that is nothing but requests."""

import httpx
import pytest

from dintero_claims_client.sandbox import Client, Sandbox

BODY = {
    "purchase_at": "2026-11-07T05:31:56Z",
    "customer_id": "customer-1",
    "discounts": [{"id": "discount-1", "refs": [{"id": "item-1", "amount": 100, "usage": 1}]}],
}


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Api:
    """Sends requests to a sandbox, and gives back whatever is answered."""

    def __init__(self, sandbox: Sandbox, http: httpx.AsyncClient) -> None:
        self.sandbox = sandbox
        self.http = http
        self.authorization: dict[str, str] = {}

    async def ask_token(self, *, account_id=None, owner_id=None, client: Client | None = None, **changes):
        """Ask for a token as the sandbox's own client; changes replace fields of the body."""
        client = client or self.sandbox.client
        account_id = account_id or self.sandbox.account_id
        body = {
            "grant_type": "client_credentials",
            "audience": f"https://api.dintero.com/v1/accounts/{account_id}",
        } | changes
        return await self.http.post(
            f"accounts/{owner_id or account_id}/auth/token",
            auth=(client.client_id, client.client_secret),
            json=body,
        )

    async def log_in(self, **of) -> "Api":
        """Present a new token from now on."""
        token = (await self.ask_token(**of)).json()["access_token"]
        self.authorization = {"Authorization": f"Bearer {token}"}
        return self

    def path(self, account_id=None) -> str:
        """Return the path of an account's claims."""
        return f"accounts/{account_id or self.sandbox.account_id}/discounts/available_for_receipt/claims"

    async def claim(self, account_id=None, **changes):
        """Claim; changes replace fields of the body."""
        return await self.http.post(self.path(account_id), headers=self.authorization, json=BODY | changes)

    async def send(self, content: bytes, **headers):
        """Claim with a body of any bytes."""
        headers = {"Content-Type": "application/json"} | self.authorization | headers
        return await self.http.post(self.path(), headers=headers, content=content)

    async def page(self, account_id=None, **query):
        """Ask for a page of claims."""
        return await self.http.get(self.path(account_id), headers=self.authorization, params=query)

    async def get(self, claim_id, account_id=None):
        """Ask for one claim."""
        return await self.http.get(f"{self.path(account_id)}/{claim_id}", headers=self.authorization)


@pytest.fixture
def clock():
    """Return a clock that a test moves."""
    return Clock()


@pytest.fixture
def body():
    """Return a claim request that the contract allows, without `ref`."""
    return dict(BODY)


@pytest.fixture
async def open_api():
    """Return a function that calls a sandbox in process, or through another client."""
    clients: list[httpx.AsyncClient] = []

    def open_one(sandbox: Sandbox, http: httpx.AsyncClient | None = None) -> Api:
        clients.append(http or sandbox.http_client())
        return Api(sandbox, clients[-1])

    yield open_one
    for client in clients:
        await client.aclose()


@pytest.fixture
async def api(open_api):
    """Return a client of a new sandbox in process, with a token."""
    return await open_api(Sandbox()).log_in()
