"""The access token: cached, refreshed before it expires, and fetched once however many wait for it."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

import attrs

from ._engines.base import TOKEN_BODY_CAP, Engine, EngineRequest, RequestMaybeSent, RequestNotSent
from ._observing import AttemptFailure, Observer
from ._protocol import (
    Verdict,
    parse_retry_after,
    read_object,
    status_error,
    token_lifetime,
    usable_token,
    verdict,
)
from ._secrets import MaskedStr, Secret, scrub, scrub_error
from .errors import AuthenticationError, ClaimsError, ConfigurationError

EARLY_SECONDS = 60.0
"""How long before its expiry a token is refreshed, but never earlier than at half its life."""

MIN_INTERVAL = 1.0
"""Seconds between two fetches at least, however short the tokens live, unless a token was refused."""

_FAILURE_DELAYS = (1.0, 4.0, 26.0)
"""Seconds between failed fetches. Together with the first they are three requests in 30 seconds, which a
token endpoint in trouble can bear, however many calls wait."""


_LONGEST_PAUSE = 60.0
"""Seconds that a Retry-After of the token endpoint keeps all calls from asking again, at most."""


@attrs.define
class Token:
    """An access token and the times, on the source's clock, from which it is refreshed and not used."""

    value: MaskedStr
    refresh_at: float
    expires_at: float
    accepted: bool = attrs.field(default=False, eq=False)
    """Whether it was good for any request."""


@attrs.frozen
class Grant:
    """What a fetch brought: a token and its life in seconds."""

    value: MaskedStr
    lifetime: float


@attrs.frozen
class TokenFailure:
    """Why there is no token. The same facts go to all that waited for the fetch.

    `final` where asking again cannot help; `retry_after` is the number of seconds after which the next
    fetch may be made. `make_error` makes the error that says more than "not sent", a new one for each
    caller, because a raised error gathers the traceback of its call.
    """

    reason: str
    final: bool = False
    retry_after: float | None = None
    make_error: Callable[[], ClaimsError] | None = None


@attrs.frozen
class Refusal:
    """Why the last fetch was refused for good, and when, on the source's clock."""

    reason: str
    at: float


_REFUSED = "the token endpoint refused the client's credentials"
_TOKEN_REFUSALS = {400: _REFUSED, 401: _REFUSED, 403: _REFUSED}


class TokenEndpoint:
    """Fetches a token with the client's credentials: HTTP Basic and a JSON body (api: Get Token)."""

    def __init__(
        self,
        *,
        engine: Engine,
        url: str,
        audience: str,
        client_id: str,
        client_secret: Secret,
        headers: Mapping[str, str],
        attempt_timeout: float,
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._url = url
        self._client_id = client_id
        self._client_secret = client_secret
        self._headers = {**headers, "Content-Type": "application/json"}
        self._body = json.dumps({"grant_type": "client_credentials", "audience": audience}).encode()
        self._attempt_timeout = attempt_timeout
        self._observer = observer
        self._clock = clock

    async def fetch(self) -> Grant | TokenFailure:
        """Ask once for a token. Never raises for what the server or the network does."""
        try:
            async with asyncio.timeout(self._attempt_timeout):
                secret = await self._client_secret.reveal()
        except TimeoutError:
            return TokenFailure("the function that gives the client_secret did not return in time")
        except ConfigurationError as error:
            message = str(error)
            return TokenFailure(message, final=True, make_error=lambda: ConfigurationError(message))
        basic = MaskedStr(b64encode(f"{self._client_id}:{secret}".encode()).decode())
        headers = {**self._headers, "Authorization": MaskedStr(f"Basic {basic}")}
        attempt = self._observer.attempt_token(self._url)
        if attempt is not None:
            headers |= attempt.headers
        failed: AttemptFailure | None = "cancelled"
        status, reason = None, None
        try:
            response = await self._engine.send(
                EngineRequest("POST", self._url, headers, self._body, TOKEN_BODY_CAP),
                deadline=self._clock() + self._attempt_timeout,
            )
            status, failed = response.status, None
        except RequestNotSent as failure:
            failed, reason = "not_sent", failure.reason
            return TokenFailure(
                f"the token endpoint cannot be reached: {failure.reason}", final=failure.permanent
            )
        except RequestMaybeSent as failure:
            failed, reason = "no_answer", failure.reason
            return TokenFailure(f"the token endpoint did not answer: {failure.reason}")
        finally:
            if attempt is not None:
                attempt.ended(status, failed, reason)
        answer = read_object(response.body) if response.complete else None
        said = verdict(response.status)
        if response.status == 200 and answer is not None:
            token = usable_token(answer)
            if token is not None:
                return Grant(MaskedStr(token), token_lifetime(answer.get("expires_in")))
        elif said is Verdict.SUCCESS:
            # Not the token endpoint's own words, so perhaps a proxy's, for a while.
            return TokenFailure(f"the token endpoint's answer ({response.status}) cannot be read")
        again = said in (Verdict.AMBIGUOUS, Verdict.THROTTLED)

        def make_error() -> ClaimsError:
            error = status_error(
                response.status,
                response.headers,
                # What holds a token, or may hold one, is not kept, whatever its status.
                b""
                if said is Verdict.SUCCESS or b"access_token" in response.body
                else scrub(response.body, secret, basic),
                now=datetime.now(UTC),
                cls=None if again else AuthenticationError,
                fallback=_TOKEN_REFUSALS.get(
                    response.status,
                    "the token endpoint gave no token that can be used"
                    if said is Verdict.SUCCESS
                    else "there seems to be no token endpoint; check base_url, token_url and account_id"
                    if not again
                    else "the token endpoint is in trouble",
                ),
            )
            scrub_error(error, secret, basic)
            return error

        return TokenFailure(
            f"the token endpoint answered {response.status}",
            final=not again,
            retry_after=parse_retry_after(response.headers.get("retry-after"), datetime.now(UTC)),
            make_error=make_error,
        )


class TokenSource:
    """Gives a token that is good now.

    Safe under any number of concurrent callers on one event loop. The source owns the fetch: whoever
    waits may be cancelled, also the one that started it, and the others still get the token. All that
    wait share a failure. `on_fetch` is told how many seconds each fetch took, and why it failed.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Grant | TokenFailure]],
        *,
        clock: Callable[[], float],
        on_fetch: Callable[[float, str | None], None] = lambda _seconds, _reason: None,
    ) -> None:
        self._fetch = fetch
        self._on_fetch = on_fetch
        self._clock = clock
        self._token: Token | None = None
        self._task: asyncio.Task[Token | TokenFailure] | None = None
        self._failure: TokenFailure | None = None
        self._failures = 0
        self._failed_at = float("-inf")
        self._next_fetch = float("-inf")
        self._pause: asyncio.Future[None] | None = None
        self._closed = False
        self.fetches = 0

    @property
    def expires_in(self) -> float | None:
        """In how many seconds the token expires; None where there is none that is good."""
        seconds = 0.0 if self._token is None else self._token.expires_at - self._clock()
        return seconds if seconds > 0 else None

    @property
    def refusal(self) -> Refusal | None:
        """Why there will be no token, where the last fetch was told so."""
        failure = self._failure
        return Refusal(failure.reason, self._failed_at) if failure is not None and failure.final else None

    def at_hand(self) -> Token | None:
        """Return a token that is good and needs no successor yet, if there is one."""
        token = self._token
        return token if token is not None and self._clock() < token.refresh_at else None

    async def get(self, *, deadline: float) -> Token | TokenFailure:
        """Return a token, waiting for a fetch until the deadline (a reading of the event loop's clock).

        After a fetch that failed all wait for the next one, unless it is beyond their deadline: to have no
        token is no attempt at a claim, and is not paid for as one.
        """
        while True:
            result = await self.get_now(deadline=deadline)
            now = self._clock()
            if isinstance(result, Token) or result.final or max(self._next_fetch, now) >= deadline:
                return result
            if now < self._next_fetch:
                await self._until_next_fetch(now)

    async def get_now(self, *, deadline: float) -> Token | TokenFailure:
        """Return a token, or what became of the last fetch, or of one that is under way."""
        token, now = self._token, self._clock()
        if token is not None and now < token.expires_at:
            # One that is about to expire is still good: nobody waits for its successor.
            idle = self._task is None and not self._closed
            if idle and now >= token.refresh_at and now >= self._next_fetch:
                self._start()
            return token
        if self._task is None:
            if self._closed:
                return TokenFailure("the client is closed", final=True)
            if self._failure is not None and now < self._next_fetch:
                return attrs.evolve(self._failure, retry_after=self._next_fetch - now)
        task = self._task or self._start()
        try:
            async with asyncio.timeout_at(deadline):
                # The shield keeps a cancelled caller from cancelling the fetch of all the others.
                return await asyncio.shield(task)
        except TimeoutError:
            return TokenFailure("no access token came in time")
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if not task.cancelled() or caller is None or caller.cancelling():
                raise
            return TokenFailure("the fetch of the access token was cancelled", final=self._closed)

    async def _until_next_fetch(self, now: float) -> None:
        """Wait until the next fetch may be made, or the source is closed."""
        if self._pause is None:
            self._pause = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(self._next_fetch - now, self._end_pause, self._pause)
        # One timer for all; the shield keeps a cancelled caller from ending it for the others.
        await asyncio.shield(self._pause)

    def _end_pause(self, pause: asyncio.Future[None]) -> None:
        if not pause.done():
            pause.set_result(None)
        if self._pause is pause:
            self._pause = None

    def discard(self, token: Token) -> None:
        """Forget this token, which the server refused; a newer one stays."""
        if self._token is not None and self._token.value == token.value:
            self._token = None
            self._next_fetch = float("-inf")

    async def aclose(self) -> None:
        """Stop a fetch that is under way; those that wait for it are told so."""
        self._closed = True
        if self._pause is not None:
            self._end_pause(self._pause)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _start(self) -> asyncio.Task[Token | TokenFailure]:
        task = asyncio.get_running_loop().create_task(self._run(), name="dintero-claims-token")
        self._task = task
        # Here and not in the fetch, which may end before it is assigned, or be cancelled before it begins.
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Token | TokenFailure]) -> None:
        if self._task is task:
            self._task = None

    async def _run(self) -> Token | TokenFailure:
        # A token lives from when the server made it, which is after the request began.
        began = self._clock()
        self.fetches += 1
        result = await self._fetch()
        self._on_fetch(self._clock() - began, result.reason if isinstance(result, TokenFailure) else None)
        if isinstance(result, TokenFailure):
            if result.final:
                # Remembered for the least time only: what was refused may be mended meanwhile.
                pause = MIN_INTERVAL
            else:
                own = _FAILURE_DELAYS[min(self._failures, len(_FAILURE_DELAYS) - 1)]
                # The call that asked is told all of the server's wish; others try again before next year.
                pause = max(own, min(result.retry_after or 0.0, _LONGEST_PAUSE))
            self._failures += 1
            self._failure, self._failed_at = result, self._clock()
            self._next_fetch = self._failed_at + pause
            return attrs.evolve(result, retry_after=max(pause, result.retry_after or 0.0))
        self._failures, self._failure = 0, None
        self._next_fetch = began + MIN_INTERVAL
        expires_at = began + result.lifetime
        self._token = Token(
            result.value,
            refresh_at=expires_at - min(EARLY_SECONDS, result.lifetime / 2),
            expires_at=max(expires_at, self._next_fetch),
        )
        return self._token
