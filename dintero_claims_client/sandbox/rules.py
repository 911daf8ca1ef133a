"""The API's state and rules: accounts, tokens and claims, without I/O."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from dintero_claims_client.sandbox.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Order: TypeAlias = Literal["newest", "oldest"]


@dataclass(frozen=True, slots=True)
class Client:
    """Credentials of an API client; the secret is in no repr."""

    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """What an access token is good for, and until when on the sandbox's monotonic clock."""

    client_id: str
    account_id: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim that was taken: its account, its place in the account's order, and what the API answers."""

    account_id: str
    position: int
    data: dict[str, Any]

    @property
    def id(self) -> str:
        """The id that the server gave the claim."""
        claim_id: str = self.data["id"]
        return claim_id

    @property
    def ref(self) -> str | None:
        """The merchant's reference, where one was sent."""
        return self.data.get("ref")


class Rules:
    """Accounts, their clients, tokens and claims, and what the API does with them.

    Every method is one indivisible step of one thread; what the API would refuse raises `Refusal`.
    """

    def __init__(
        self,
        *,
        token_lifetime: int = 14_400,
        order: Order = "newest",
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_token: Callable[[], str] = lambda: secrets.token_urlsafe(32),
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        if token_lifetime <= 0:
            raise ValueError("token_lifetime must be a positive number of seconds")
        if order not in ("newest", "oldest"):
            raise ValueError("order must be 'newest' or 'oldest'")
        self.token_lifetime = token_lifetime
        self.order: Order = order
        self.claims: list[Claim] = []
        """Every claim that was taken, in the order of taking, over all accounts."""
        self.tokens_issued = 0
        self._monotonic = monotonic
        self._now = now
        self._new_token = new_token
        self._new_id = new_id
        self._lock = threading.Lock()
        self._clients: dict[str, Client] = {}
        self._may_use: dict[str, set[str]] = {}
        self._grants: dict[str, Grant] = {}
        self._by_account: dict[str, list[Claim]] = {}
        self._by_id: dict[str, Claim] = {}
        self._refs_in_use: set[tuple[str, str]] = set()

    def add_account(self, account_id: str, *, client: Client | None = None) -> Client:
        """Open an account and return credentials for it: new ones, or those of a client that gains access."""
        if client is None:
            client = Client(client_id=str(uuid.uuid4()), client_secret=secrets.token_urlsafe(32))
        self._clients[client.client_id] = client
        self._may_use.setdefault(client.client_id, set()).add(account_id)
        self._by_account.setdefault(account_id, [])
        return client

    def check_client(self, client_id: str, client_secret: str) -> Client:
        """Return the client that these credentials belong to; refuse them (401) if there is none."""
        client = self._clients.get(client_id)
        if client is None or not hmac.compare_digest(client.client_secret.encode(), client_secret.encode()):
            raise Refusal(
                401, "The client credentials are missing or not valid", headers={"WWW-Authenticate": "Basic"}
            )
        return client

    def issue_token(self, client: Client, *, owner_id: str, account_id: str) -> str:
        """Return a new access token for an account; the owner and the account must be the client's own."""
        if not self._may_use[client.client_id] >= {owner_id, account_id}:
            raise Refusal(403, "The client has no access to the account")
        token = self._new_token()
        self._grants[token] = Grant(client.client_id, account_id, self._monotonic() + self.token_lifetime)
        self.tokens_issued += 1
        return token

    def revoke_token(self, token: str) -> None:
        """Make a token worthless at once, whatever lifetime was announced for it."""
        self._grants.pop(token, None)

    def authenticate(self, token: str) -> Grant:
        """Return what a token is good for; refuse it (401) if it is unknown, revoked or expired."""
        grant = self._grants.get(token)
        if grant is None or self._monotonic() >= grant.expires_at:
            raise Refusal(
                401,
                "The access token is missing, expired or not valid",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return grant

    def claim(self, grant: Grant, content: Mapping[str, Any]) -> Claim:
        """Take a claim whose content the contract allows; refuse it (409) if its `ref` is in use.

        A `ref` is the account's own, and stays in use when its claim is deleted. May be called from several
        threads, as a server has one of its own.
        """
        with self._lock:
            return self._take(grant, content)

    def _take(self, grant: Grant, content: Mapping[str, Any]) -> Claim:
        ref = content.get("ref")
        if ref is not None:
            if (grant.account_id, ref) in self._refs_in_use:
                raise Refusal(409, "The ref is in use by another claim")
            self._refs_in_use.add((grant.account_id, ref))
        taken_at = self._timestamp()
        account = self._by_account[grant.account_id]
        claim = Claim(
            account_id=grant.account_id,
            position=len(account),
            data={
                "id": self._new_id(),
                **content,
                "created_at": taken_at,
                "created_by": grant.client_id,
                "updated_at": taken_at,
                "deleted_by": None,
                "deleted_at": None,
            },
        )
        self.claims.append(claim)
        account.append(claim)
        self._by_id[claim.id] = claim
        return claim

    def get_claim(self, account_id: str, claim_id: str) -> Claim:
        """Return one claim of an account, deleted or not; refuse (404) an id that is not the account's."""
        claim = self._by_id.get(claim_id)
        if claim is None or claim.account_id != account_id:
            raise Refusal(404, "Claim not found")
        return claim

    def list_claims(self, account_id: str, *, limit: int, starting_after: str | None = None) -> list[Claim]:
        """Return a page of an account's claims, deleted ones among them; refuse (400) an unknown cursor.

        The page after a cursor is the same however many claims are taken in between.
        """
        claims = self._by_account[account_id]
        cursor: int | None = None
        if starting_after is not None:
            try:
                cursor = self.get_claim(account_id, starting_after).position
            except Refusal:
                raise Refusal(400, "starting_after is not the id of a claim") from None
        if self.order == "oldest":
            start = 0 if cursor is None else cursor + 1
            return claims[start : start + limit]
        end = len(claims) if cursor is None else cursor
        return claims[max(0, end - limit) : end][::-1]

    def delete_claim(self, claim_id: str) -> None:
        """Mark a claim as deleted; no operation of the API does that, so a test calls it here."""
        claim = self._by_id[claim_id]
        deleted_at = self._timestamp()
        claim.data.update(deleted_at=deleted_at, deleted_by=claim.data["created_by"], updated_at=deleted_at)

    def _timestamp(self) -> str:
        return self._now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
