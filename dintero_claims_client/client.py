"""The client: its lifecycle, and one method for each operation."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import warnings
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from platform import python_implementation, python_version
from random import random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import uuid4
from weakref import WeakSet

import attrs

from ._calls import Calls, IfExists, NotTaken, check_if_exists
from ._engines import is_async_client, make_engine
from ._engines.base import AsyncHttpClient, Engine
from ._generated.models.claim import Claim
from ._generated.models.claim_request import ClaimRequest
from ._harmless import harmless
from ._limiter import Limiter
from ._observing import Observer, check_hook
from ._operations import Operations
from ._pages import PAGE_SIZE, walk
from ._quota import CAPACITY, RetryQuota
from ._reconcile import Absence
from ._retry import RetryPolicy, check_count, check_seconds
from ._secrets import MASK, MaskedStr, SecretSource, wrap_secret
from ._tokens import TokenEndpoint, TokenSource
from ._validation import check_text_argument
from ._version import __version__
from ._waiting import Sleeper
from .errors import ClaimsError, ClientStateError, ConfigurationError, NoAnswerError, NotSentError
from .events import EventHook
from .journal import Journal
from .settings import (
    DEFAULT_BASE_URL,
    ClientArguments,
    Settings,
    build_settings,
    default_user_agent,
    settings_from_environment,
)

if TYPE_CHECKING:
    from ._batch_run import BatchRun
    from ._batch_start import MakeRows
    from ._otel import Telemetry
    from .batch import Batch
    from .health import ClientHealth, ClientStats, State

_DEFAULT_RETRY = RetryPolicy()

_NEWS = 60.0
"""Seconds after which a failure says nothing of now. An app that was taken out of service because of one
makes no call that could tell that the server is back."""


@attrs.frozen(eq=False)
class _Opened:
    """What a client holds while it is open, and the process and the event loop that it belongs to."""

    pid: int
    loop: asyncio.AbstractEventLoop
    engine: Engine
    limiter: Limiter
    tokens: TokenSource
    operations: Operations
    sleeper: Sleeper
    calls: Calls


class ClaimsClient:
    """Claims discounts at Dintero, and says truthfully what became of each claim.

    One client serves a whole process: it is safe under thousands of concurrent calls on one event loop,
    and belongs to the event loop and the process of its first use. Open it with `async with`, or call
    `aclose()` when done.

    account_id: `P` or `T` and eight digits.
    client_id, client_secret: the API client's credentials; the secret may be a function (also an async one)
    that returns the secret of the moment.
    timeout: seconds for one call, with all its attempts, token fetches and look-ups.
    max_connections: how many requests are under way at once; further calls wait their turn.
    generate_refs: whether a claim without a `ref` gets one; without, it is not sent again once it may have
    been taken.
    retry: how often and how fast a call is tried again.
    token_url, audience: where tokens come from and what for; by default those of the account.
    ssl_context, proxy, trust_env: how to connect; trust_env takes proxies from the environment.
    allow_http: whether a base_url other than loopback may be `http://`.
    http_client: an `httpx.AsyncClient` of the caller's to send with; it is never closed here.
    on_event: a function that is told what the client does (see `dintero_claims_client.events`).
    system_name … system_plugin_version: the merchant's system and the plugin, which the provider asks for.

    Raises `ConfigurationError` for a setting that cannot be.
    """

    _opened: _Opened | None = None
    _closed = False
    _draining = False

    def __init__(
        self,
        *,
        account_id: str,
        client_id: str,
        client_secret: SecretSource,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = 30.0,
        max_connections: int = 100,
        generate_refs: bool = True,
        retry: RetryPolicy = _DEFAULT_RETRY,
        token_url: str | None = None,
        audience: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        trust_env: bool = False,
        allow_http: bool = False,
        http_client: AsyncHttpClient | None = None,
        on_event: EventHook | None = None,
        system_name: str = python_implementation(),
        system_version: str = python_version(),
        system_plugin_name: str = "dintero-claims-client",
        system_plugin_version: str = __version__,
        user_agent: str | None = None,
    ) -> None:
        # Rebound at once: this frame is in the traceback of every setting that is refused.
        secret, client_secret = wrap_secret(client_secret), MASK
        # May hold a password.
        proxy = None if proxy is None else MaskedStr(proxy)
        self._settings: Settings = build_settings(
            account_id=account_id,
            client_id=client_id,
            client_secret=secret,
            base_url=base_url,
            timeout=timeout,
            max_connections=max_connections,
            generate_refs=generate_refs,
            retry=retry,
            token_url=token_url,
            audience=audience,
            ssl_context=ssl_context,
            proxy=proxy,
            trust_env=trust_env,
            allow_http=allow_http,
            own_engine=http_client is None,
            user_agent=default_user_agent() if user_agent is None else user_agent,
            system_name=system_name,
            system_version=system_version,
            system_plugin_name=system_plugin_name,
            system_plugin_version=system_plugin_version,
        )
        if http_client is not None and not is_async_client(http_client):
            raise ConfigurationError("http_client: must be an httpx.AsyncClient")
        if on_event is not None:
            check_hook(on_event)
        self._http_client = http_client
        self._on_event = on_event
        self._batches: WeakSet[BatchRun] = WeakSet()

    @classmethod
    def from_env(cls, **settings: Unpack[ClientArguments]) -> Self:
        """Make a client from the environment; `settings` are arguments of the client and go before it.

        Reads DINTERO_ACCOUNT_ID, DINTERO_CLIENT_ID, DINTERO_CLIENT_SECRET or DINTERO_CLIENT_SECRET_FILE
        (a file's path, read anew for every token), and DINTERO_BASE_URL. Raises `ConfigurationError`.
        """
        found: dict[str, Any] = {**settings_from_environment(), **settings}
        for name in ("account_id", "client_id", "client_secret"):
            if name not in found:
                raise ConfigurationError(f"{name}: is missing; set DINTERO_{name.upper()}")
        return cls(**found)

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the client and its connections; again is no error.

        Calls under way end soon: with `ClientStateError` where nothing was sent, else with what is known.
        """
        opened = None if self._opened is None else self._check_place(self._opened)
        self._closed = True
        # Not only at the first call: that one may have been cancelled.
        if opened is not None:
            opened.sleeper.close()
            opened.calls.quota.close()
            opened.calls.read_quota.close()
            opened.limiter.close()
            try:
                await opened.tokens.aclose()
            finally:
                await opened.engine.aclose()

    async def drain(self, timeout: float) -> bool:
        """Take no more calls, and wait until those under way have ended; at most so many seconds.

        For a shutdown in order, before `aclose()`: new calls raise `ClientStateError` from here on, and
        batches take no more rows: they give the outcomes of those under way, and raise `ClientStateError`
        where their source was not at its end. A batch has ended when somebody has gone through it, or left
        it by `async with` or `aclose()`; so not to be awaited inside of its loop. Returns whether all have
        ended; those that have not go on until the client's `aclose()`. A second call waits again. Raises
        `ConfigurationError` for a timeout that is not above 0, and `ClientStateError` on another event loop.
        """
        check_seconds("timeout", timeout)
        opened = None if self._opened is None else self._check_place(self._opened)
        self._draining = True
        if opened is None:
            return True
        batches = list(self._batches)
        for batch in batches:
            batch.drain()
        try:
            async with asyncio.timeout(timeout):
                for batch in batches:
                    await batch.until_over()
                await opened.calls.under_way.until_empty()
        except TimeoutError:
            return False
        return True

    def __del__(self) -> None:
        opened = self._opened
        if opened is not None and not self._closed and opened.pid == os.getpid():
            # Before the warning, which may be an error.
            opened.engine.abandon()
            warnings.warn(f"{self!r} was never closed", ResourceWarning, stacklevel=2)

    def __repr__(self) -> str:
        if "_settings" not in self.__dict__:
            # In the traceback of a setting that was refused.
            return "<ClaimsClient, not made>"
        return f"<ClaimsClient {self._settings.account_id} at {self._settings.base_url}, {self._state}>"

    @property
    def _state(self) -> State:
        if self._closed:
            return "closed"
        if self._draining:
            return "draining"
        return "new" if self._opened is None else "open"

    def stats(self) -> ClientStats:
        """Return what the client has done so far."""
        from .health import ClientStats

        opened = self._opened
        if opened is None:
            return ClientStats(retries_left=int(CAPACITY))
        calls = opened.calls
        return ClientStats(
            claim_requests=opened.operations.claim_requests,
            taken=calls.endings["taken"],
            refused=calls.endings["refused"],
            not_sent=calls.endings["not_sent"],
            unknown=calls.endings["unknown"],
            cancelled=calls.endings["cancelled"],
            recovered=calls.recovered,
            token_requests=opened.tokens.fetches,
            in_flight=calls.under_way.count,
            waiting=opened.limiter.waiting,
            retries_left=int(calls.quota.left),
        )

    def health(self) -> ClientHealth:
        """Return how the client is, as far as it knows; makes no call, and never waits.

        For the health check of an application. It is not ok when it is closed or draining, when the last
        token was refused for good, and when requests have failed for as long as a call may take without one
        good answer between them. That counts for a minute: older failures say nothing of now, and who makes
        no call meanwhile would never find out that all is well again.
        """
        from .health import ClientHealth

        opened = self._opened
        if opened is None:
            return ClientHealth(
                ok=not self._closed and not self._draining, state=self._state, retries_left=int(CAPACITY)
            )
        now, operations = opened.loop.time(), opened.operations
        problems: list[str] = []
        refusal = opened.tokens.refusal
        if refusal is not None and now - refusal.at < _NEWS:
            problems.append(refusal.reason)
        since, last = operations.failing_since, operations.failed_at
        failing = 0.0 if since is None else last - since
        if failing >= self._settings.timeout and now - last < _NEWS:
            problems.append(f"all requests failed for {failing:.0f} s")
        return ClientHealth(
            ok=self._state == "open" and not problems,
            state=self._state,
            problems=tuple(problems),
            token_expires_in=opened.tokens.expires_in,
            answered_ago=None if operations.answered_at is None else now - operations.answered_at,
            paused_for=opened.limiter.paused_for,
            in_flight=opened.calls.under_way.count,
            waiting=opened.limiter.waiting,
            retries_left=int(opened.calls.quota.left),
        )

    async def claim(
        self,
        request: ClaimRequest,
        *,
        timeout: float | None = None,
        if_exists: IfExists = "raise",
    ) -> Claim:
        """Claim discounts, and return the claim as the server took it.

        A claim with a `ref` (its own, or a minted one) is sent again, byte for byte the same, after
        anything that leaves its outcome open, and is looked up when that does not settle it; one without
        is sent again only if it was not executed. The request is not changed, and may be used again.
        Give a `ref` of your own (an order number) wherever the caller may be cancelled or restarted: it is
        how the claim is found again.

        timeout: seconds for the whole call; None for the client's.
        if_exists: what to do where the `ref` is already taken when the call begins. "raise" raises
        `RefConflictError`; "return" returns the existing claim if it is the same claim; then
        any refusal is looked behind too, because what an earlier call took may be the reason for it.

        Raises `InvalidClaimError` before anything is sent; `NotSentError`, `AuthenticationError`,
        `RefConflictError`, `RateLimitedError` and other `APIStatusError` when the claim was not taken;
        `OutcomeUnknownError` when that could not be found out; `ClientStateError`.
        """
        try:
            opened = self._open()
            check_if_exists(if_exists)
            deadline = self._deadline(opened, timeout)
            mint = _mint_ref if self._settings.generate_refs else None
            claim = opened.operations.prepare_claim(request, mint=mint)
        except ClaimsError as error:
            ref: object = getattr(request, "ref", None)
            error.ref = ref if isinstance(ref, str) else None
            raise
        # No call before can have used a ref that is made for this one.
        asked = "raise" if claim.minted else if_exists
        taken = await opened.calls.claim(claim, deadline=deadline, if_exists=asked)
        if isinstance(taken, NotTaken):
            raise self._unless_closed(taken.error)
        return taken.claim

    def claim_many(
        self,
        requests: Iterable[ClaimRequest] | AsyncIterable[ClaimRequest],
        *,
        concurrency: int | None = None,
        rate: float | None = None,
        ordered: bool = False,
        journal: Journal | None = None,
        timeout: float | None = None,
        patience: float = 900.0,
        if_exists: IfExists | None = None,
    ) -> Batch:
        """Claim many, and give for each how it ended: `Claimed`, `Rejected` or `Unknown`.

        Requests are taken from the source only as far as they can be claimed and their outcomes are taken,
        so that it may be of any length. One that fails stops no other. A claim whose outcome is open is
        asked for again and looked up, in the whole list if need be, and `Unknown` only when that does not
        help. When nothing gets through, the batch pauses and goes on when the server is there again.

        concurrency: how many are under way at once, at most; None for the client's `max_connections`, beyond
        which they wait for a connection. Less are when the server pushes back (429, 503, rising latency).
        rate: claim requests per second, at most, repetitions among them.
        ordered: whether outcomes come in the order of the requests; else they come as they are known.
        journal: where each row is written down before it is sent, and its outcome before it is given. The
        same requests with the same journal go on where a batch ended that was killed: what is known is
        given again (`replayed`), and what was under way is settled. A request without a `ref` gets one that
        it keeps.
        timeout: seconds for one call; a row may take several.
        patience: seconds without any answer after which the batch gives up.
        if_exists: as in `claim`; by default "raise", and "return" with a journal, which may be an old copy
        and not know what was claimed. With a journal that is new no other refusal is looked behind.

        Going through it raises what the source raised, `JournalError`, `AuthenticationError` when the
        credentials are refused again and again, `ConfigurationError` when the secret cannot be got,
        `NotSentError` when the patience is at its end, or `ClientStateError`: each after the outcomes of all
        that was under way. Rows that were given up because of that are `Rejected` with it, and stay open in
        the journal.
        """
        opened = self._open()
        # Only here and below, because who claims no batch needs nothing of it.
        from ._batch_start import rows_of_requests

        mint = _mint_ref if self._settings.generate_refs else None
        rows = rows_of_requests(requests, journal, opened.operations, self._settings.account_id, mint=mint)
        return self._batch(
            opened, rows, journal, concurrency, rate, timeout, patience, if_exists, ordered=ordered
        )

    def resume(
        self,
        journal: Journal,
        *,
        concurrency: int | None = None,
        rate: float | None = None,
        timeout: float | None = None,
        patience: float = 900.0,
        if_exists: IfExists | None = None,
    ) -> Batch:
        """Claim, or settle, the rows of a journal that have no final outcome; else as `claim_many`.

        This needs no source, because a journal holds its rows: those that were taken from a source before
        it was at its end, and no others. With the same requests `claim_many` goes on with all.
        """
        opened = self._open()
        from ._batch_start import rows_of_journal

        rows = rows_of_journal(journal, opened.operations, self._settings.account_id)
        return self._batch(
            opened, rows, journal, concurrency, rate, timeout, patience, if_exists, ordered=False
        )

    def _batch(
        self,
        opened: _Opened,
        make_rows: MakeRows,
        journal: Journal | None,
        concurrency: int | None,
        rate: float | None,
        timeout: float | None,
        patience: float,
        if_exists: IfExists | None,
        *,
        ordered: bool,
    ) -> Batch:
        from ._batch_start import start
        from .batch import Batch

        run = start(
            make_rows,
            journal,
            opened.calls,
            concurrency=self._settings.max_connections if concurrency is None else concurrency,
            rate=rate,
            ordered=ordered,
            timeout=self._settings.timeout if timeout is None else timeout,
            patience=patience,
            if_exists=if_exists,
            is_closed=lambda: self._closed,
        )
        self._batches.add(run)
        return Batch(run)

    async def get_claim(self, claim_id: str, *, timeout: float | None = None) -> Claim:
        """Return the claim with this id.

        Raises `NotFoundError` and other `APIStatusError`, `NotSentError`, `NoAnswerError`,
        `ClientStateError`, and `InvalidClaimError` for what cannot be an id.
        """
        opened = self._open()
        check_text_argument("claim_id", claim_id)
        deadline = self._deadline(opened, timeout)
        claim = await opened.calls.get(claim_id, deadline=deadline)
        if isinstance(claim, ClaimsError):
            raise self._unless_closed(claim)
        return claim

    async def list_claims(
        self, *, page_size: int = PAGE_SIZE, timeout: float | None = None
    ) -> AsyncIterator[Claim]:
        """Give all claims of the account, in the server's order.

        Each comes once, but where a server repeats one after 10,000 others.

        page_size: claims in one request, 1 to 100.
        timeout: seconds for each page.
        Raises as `get_claim` does.
        """
        opened = self._open()
        check_count("page_size", page_size, most=PAGE_SIZE)
        # Each page is a call, which a client that is draining does not take.
        read_page = opened.calls.pages(lambda: self._deadline(self._open(), timeout))
        async for page in walk(read_page, page_size=page_size):
            if isinstance(page, ClaimsError):
                raise self._unless_closed(page)
            for found in page:
                yield found.claim

    async def find_claim(self, *, ref: str, timeout: float | None = None) -> Claim | None:
        """Return the claim with this `ref`, or None when it is not among those that were looked through.

        The API has no filter by `ref`, so this reads at most 20 pages of 100 claims; None proves nothing
        for an account that has more. A deleted claim is returned too, with its `deleted_at`.
        Raises as `get_claim` does; `timeout` is for the whole walk.
        """
        opened = self._open()
        check_text_argument("ref", ref)
        deadline = self._deadline(opened, timeout)
        found = await opened.calls.find(ref, deadline=deadline)
        if isinstance(found, ClaimsError):
            raise self._unless_closed(found)
        return None if isinstance(found, Absence) else found.claim

    def _open(self) -> _Opened:
        """Return what the client holds, opening it on first use; raises `ClientStateError`."""
        if self._closed or self._draining:
            raise ClientStateError(f"the client is {self._state}, and takes no more calls")
        if self._opened is None:
            self._opened = self._assemble(asyncio.get_running_loop())
        return self._check_place(self._opened)

    @staticmethod
    def _check_place(opened: _Opened) -> _Opened:
        """Raise `ClientStateError` in another process or on another event loop than the client's."""
        if opened.pid != os.getpid():
            raise ClientStateError(
                f"the client was opened in process {opened.pid} and this is a fork of it, {os.getpid()}; "
                "a fork would share its connections: make a client in each process"
            )
        if opened.loop is not asyncio.get_running_loop():
            raise ClientStateError(
                "the client was opened on another event loop than this one; make a client in each event loop"
            )
        return opened

    def _assemble(self, loop: asyncio.AbstractEventLoop) -> _Opened:
        settings = self._settings
        engine = make_engine(
            self._http_client,
            max_connections=settings.max_connections,
            ssl_context=settings.ssl_context,
            proxy=settings.proxy,
            trust_env=settings.trust_env,
        )
        telemetry: Telemetry | None = None
        # What an application has set up wrongly is told, and fails no claim.
        with harmless():
            telemetry = _telemetry()
        observer = Observer(self._on_event, telemetry, clock=loop.time)
        limiter = Limiter(settings.max_connections, clock=loop.time, on_pause=observer.paused)
        endpoint = TokenEndpoint(
            engine=engine,
            url=settings.token_url,
            audience=settings.audience,
            client_id=settings.client_id,
            client_secret=settings.client_secret,
            headers=settings.headers,
            attempt_timeout=settings.retry.attempt_timeout,
            observer=observer,
            clock=loop.time,
        )
        tokens = TokenSource(endpoint.fetch, clock=loop.time, on_fetch=observer.refreshed)
        operations = Operations(
            engine=engine,
            limiter=limiter,
            tokens=tokens,
            base_url=settings.base_url,
            account_id=settings.account_id,
            headers=settings.headers,
            policy=settings.retry,
            clock=loop.time,
        )
        sleeper = Sleeper()
        calls = Calls(
            operations=operations,
            policy=settings.retry,
            quota=RetryQuota(clock=loop.time),
            read_quota=RetryQuota(clock=loop.time),
            clock=loop.time,
            sleep=sleeper.sleep,
            random=random,
            observer=observer,
        )
        return _Opened(os.getpid(), loop, engine, limiter, tokens, operations, sleeper, calls)

    def _deadline(self, opened: _Opened, timeout: float | None) -> float:
        return opened.loop.time() + (
            self._settings.timeout if timeout is None else check_seconds("timeout", timeout)
        )

    def _unless_closed(self, error: ClaimsError) -> ClaimsError:
        """Return the error, or the reason behind it: the client was closed under the call."""
        if self._closed and isinstance(error, NotSentError | NoAnswerError):
            return ClientStateError(
                "the client was closed during the call, which has claimed nothing", ref=error.ref
            )
        return error


def _telemetry() -> Telemetry | None:
    """Return what tells OpenTelemetry; who has not imported that cannot have set it up."""
    if "opentelemetry.trace" not in sys.modules and "opentelemetry.metrics" not in sys.modules:
        return None
    from ._otel import make_telemetry

    return make_telemetry()


def _mint_ref(_claim: object) -> str:
    return str(uuid4())
