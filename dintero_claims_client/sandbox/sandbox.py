"""One sandbox: its state, its faults, its ledger, and the app over them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx

from dintero_claims_client.sandbox.app import build_app
from dintero_claims_client.sandbox.contract import load_contract
from dintero_claims_client.sandbox.faults import Fault, FaultInjector, FaultPlan, Operation
from dintero_claims_client.sandbox.ledger import Ledger
from dintero_claims_client.sandbox.rules import Client, Order, Rules
from dintero_claims_client.sandbox.transport import InProcessTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class _Hidden(str):
    """A secret in settings that a failing test shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[secret]'"


class Sandbox:
    """A stateful stand-in for the API, for tests and demonstrations.

    Opens one account, with generated credentials. Serve it with `SandboxServer`, or call it in process
    through `http_client()`; state, faults and ledger are the same for both. Belongs to one event loop.

    `token_lifetime` is in seconds on `monotonic`; `order` is the order of lists, which the API does not
    document; `faults` is what goes wrong by itself, waiting in `sleep`.
    """

    base_url = "http://localhost/v1"
    """The API's address for `http_client()`; a served sandbox has its server's."""

    def __init__(
        self,
        account_id: str = "T12345678",
        *,
        token_lifetime: int = 14_400,
        order: Order = "newest",
        faults: FaultPlan = FaultPlan(),  # noqa: B008 - frozen
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._contract = load_contract()
        self.account_id = account_id
        self.rules = Rules(token_lifetime=token_lifetime, order=order, monotonic=monotonic)
        self.client = self.add_account(account_id)
        self.faults = FaultInjector(faults)
        self.ledger = Ledger(self.rules)
        self.app = build_app(
            contract=self._contract, rules=self.rules, ledger=self.ledger, faults=self.faults, sleep=sleep
        )

    def __repr__(self) -> str:
        return f"Sandbox(account_id={self.account_id!r}, client_id={self.client_id!r})"

    @property
    def client_id(self) -> str:
        """The user name of token requests."""
        return self.client.client_id

    @property
    def client_secret(self) -> str:
        """The password of token requests."""
        return self.client.client_secret

    @property
    def spec_version(self) -> str:
        """The version of the contract that requests are checked against."""
        return self._contract.version

    def http_client(self) -> httpx.AsyncClient:
        """Return a client whose requests the app answers in process; the caller closes it."""
        return httpx.AsyncClient(transport=InProcessTransport(self.app), base_url=self.base_url)

    def client_settings(self) -> dict[str, Any]:
        """Return the arguments of a `ClaimsClient` that claims here, in process.

        Those for a sandbox on a socket are its server's. The `http_client` among them holds nothing that
        needs closing.
        """
        return {
            "account_id": self.account_id,
            "client_id": self.client_id,
            "client_secret": _Hidden(self.client_secret),
            "base_url": self.base_url,
            "http_client": self.http_client(),
        }

    def add_account(self, account_id: str, *, client: Client | None = None) -> Client:
        """Open one more account and return credentials for it.

        New ones, or those of a client that gains access. ValueError if the contract has no such id.
        """
        if not self._contract.is_account_id(account_id):
            raise ValueError("an account id is T or P and eight digits")
        return self.rules.add_account(account_id, client=client)

    def fail_next(self, status: int = 503, *, operation: Operation = Operation.CLAIM, times: int = 1) -> None:
        """Let the next requests of an operation be answered with 429 or a server error."""
        self.faults.fail_next(status, operation=operation, times=times)

    def drop_after_commit(self, *, times: int = 1) -> None:
        """Let the next claims be taken and their connections reset instead of answered."""
        self.faults.next(Fault.DROP_AFTER_COMMIT, times=times)

    def expire_tokens(self, *, operation: Operation = Operation.CLAIM, times: int = 1) -> None:
        """Let the tokens that the next requests of an operation present be worthless from then on."""
        self.faults.next(Fault.EXPIRE_TOKEN, operation=operation, times=times)

    def assert_no_faults_left(self) -> None:
        """Fail where a fault that was asked for has not happened as often as that."""
        __tracebackhide__ = True
        if left := self.faults.scripted:
            lines = ["faults that were asked for did not happen", *(f"  {fault}" for fault in left)]
            raise AssertionError("\n".join([*lines, f"  all requests: {self.ledger.requests_in_words()}"]))
