"""One attempt at each of the API's operations: build, send with a good token, read.

The only importer of the generated endpoint modules. Their builders make the request, their models read
the answer; the bytes are sent here, so that each attempt of a call sends the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, cast
from urllib.parse import urlencode

import attrs

from ._engines.base import BODY_CAP, Engine, EngineRequest, EngineResponse, RequestMaybeSent, RequestNotSent
from ._generated.api.claims import claim_discounts, get_claim, list_claims
from ._generated.models.claim import Claim
from ._generated.models.claim_discount import ClaimDiscount
from ._generated.models.claim_discount_ref import ClaimDiscountRef
from ._generated.models.claim_request import ClaimRequest
from ._generated.types import UNSET, Unset
from ._limiter import Limiter, NoPlace, Place
from ._observing import AttemptFailure, Trace
from ._protocol import (
    Verdict,
    answers,
    cap_body,
    names_nobody,
    parse_retry_after,
    read_object,
    read_objects,
    shows_another,
    status_error,
    usable_id,
    verdict,
)
from ._retry import Ambiguous, Done, Failure, NotSent, Refused, RetryPolicy
from ._secrets import MaskedStr, scrub, scrub_error, withhold
from ._tokens import Token, TokenFailure, TokenSource
from ._validation import check_claim, encode_body, encode_without_null, invalid_extras
from ._watch import Watch
from .errors import APIStatusError, InvalidClaimError
from .events import Operation

_MOST_REPLAYS = 3
"""Of a request whose token is refused. The first is always made, and another one where the token that was
refused then had been good for some request: it was expired from elsewhere, and the next one may be good. A
new token that nobody could use means that the credentials are not good enough."""

Mint = Callable[[Mapping[str, Any]], str]
"""Makes the ref of a claim that has none, given the rest of it."""


# Not frozen, because one is made for each claim, and that would take three times as long.
@attrs.define
class ClaimToSend:
    """A checked claim: the bytes that every attempt sends, and what its answer is compared with."""

    content: bytes
    customer_id: str
    ref: str | None
    minted: bool
    """Whether the ref was made here, so that no other caller can have used it."""

    @property
    def body(self) -> dict[str, Any]:
        """The claim as a JSON object; not kept, because few ever need it."""
        body: dict[str, Any] = json.loads(self.content)
        return body


@attrs.frozen(eq=False)
class FoundClaim:
    """A claim in a list: the JSON object, and the model that is made from it when somebody asks for it."""

    raw: Mapping[str, Any]

    @cached_property
    def model(self) -> Claim | None:
        """The model; None where the object is no claim."""
        return make_claim(self.raw)

    @property
    def claim(self) -> Claim:
        """The model of what is known to be a claim."""
        return cast("Claim", self.model)


class _Blank:
    """A claim of which only the way to the API is asked."""

    def to_dict(self) -> dict[str, Any]:
        return {}


_BLANK = cast("ClaimRequest", _Blank())


# As above.
@attrs.define(eq=False)
class _Answered:
    """An answer, the token that it answers and may echo, and whether one with another token was refused."""

    answer: EngineResponse
    token: Token
    replayed: bool = False


class Operations:
    """Makes single attempts, and says how they ended.

    Raises nothing but `InvalidClaimError`. Safe under concurrent calls on one event loop.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        limiter: Limiter,
        tokens: TokenSource,
        base_url: str,
        account_id: str,
        headers: Mapping[str, str],
        policy: RetryPolicy,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._limiter = limiter
        self._tokens = tokens
        self._base_url = base_url
        self._account_id = account_id
        self._headers = headers
        # Of a claim only the body is its own.
        built = claim_discounts._get_kwargs(account_id, body=_BLANK)
        self._claim_request = EngineRequest("POST", base_url + built["url"], {**headers, **built["headers"]})
        self._authorized: tuple[Mapping[str, str], Token, Mapping[str, str]] | None = None
        self._policy = policy
        self._clock = clock
        self.claim_requests = 0
        """Claim requests that were handed to the engine, repetitions among them."""
        self.answered_at: float | None = None
        """When the server last answered with anything but 429 or a server error."""
        self.failing_since: float | None = None
        """When the first request since then failed, or had no token."""
        self.failed_at = 0.0
        """When the last one did."""

    def prepare_claim(self, request: ClaimRequest, *, mint: Mint | None) -> ClaimToSend:
        """Check a claim and make its bytes; one without a `ref` gets one from `mint`, if given.

        Raises `InvalidClaimError`.
        """
        has_extras = check_claim(request)
        try:
            body, content = encode_without_null(request.to_dict(), has_extras=has_extras)
            minted = mint is not None and "ref" not in body
            if mint is not None and minted:
                body["ref"] = mint(body)
                content = encode_body(body)
        except InvalidClaimError:
            raise
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise invalid_extras() from None
        return _to_send(body, content, minted=minted)

    def restore_claim(self, content: bytes, *, minted: bool) -> ClaimToSend:
        """Return the claim whose bytes were made before, to be sent as they are."""
        body: dict[str, Any] = json.loads(content)
        return _to_send(body, content, minted=minted)

    async def claim(
        self,
        claim: ClaimToSend,
        deadline: float,
        watch: Watch | None = None,
        trace: Trace | None = None,
    ) -> Done[Claim] | Failure:
        """Attempt a claim once; a 401 is replayed once with a new token, as part of the attempt."""
        answered = await self._exchange(
            "claim_discounts",
            self._claim_request,
            trace,
            deadline=deadline,
            content=claim.content,
            ref=claim.ref,
            watch=watch,
        )
        if not isinstance(answered, _Answered):
            return answered
        answer = answered.answer
        if verdict(answer.status) is not Verdict.SUCCESS:
            return self._failure(answered, claim=True, ref=claim.ref)
        raw = read_object(answer.body) if answer.complete else None
        if raw is None:
            return _unreadable(answered, "the answer cannot be read")
        if not answers(raw, ref=claim.ref, customer_id=claim.customer_id) or (
            names_nobody(raw) and shows_another(raw, claim.body)
        ):
            await answer.drop()
            return _unreadable(answered, "the answer is for another claim")
        model = make_claim(raw) if usable_id(raw) is not None else None
        if model is None:
            return _unreadable(answered, "the answer is not a claim")
        return Done(model, answer.body)

    async def get(
        self, claim_id: str, *, deadline: float, trace: Trace | None = None
    ) -> Done[Claim] | Failure:
        """Attempt once to read a claim by its id."""
        built = get_claim._get_kwargs(self._account_id, claim_id)  # pyright: ignore[reportPrivateUsage]
        answered = await self._exchange("get_claim", self._read_request(built), trace, deadline=deadline)
        if not isinstance(answered, _Answered):
            return answered
        answer = answered.answer
        if verdict(answer.status) is not Verdict.SUCCESS:
            return self._failure(answered)
        raw = read_object(answer.body) if answer.complete else None
        claim = make_claim(raw) if raw is not None and usable_id(raw) is not None else None
        if claim is None:
            return _unreadable(answered, "the answer is not a claim")
        if claim.id != claim_id:
            await answer.drop()
            return _unreadable(answered, "the answer is another claim")
        return Done(claim)

    async def list_page(
        self,
        *,
        limit: int,
        starting_after: str | None,
        deadline: float,
        settling: bool = False,
        trace: Trace | None = None,
    ) -> Done[list[FoundClaim]] | Failure:
        """Attempt once to read a page of the account's claims; of fewer where they are too large for one.

        `settling` where it is to find out what became of a claim (see `Limiter.acquire`).
        """
        built = list_claims._get_kwargs(  # pyright: ignore[reportPrivateUsage]
            self._account_id,
            limit=limit,
            **({} if starting_after is None else {"starting_after": starting_after}),
        )
        answered = await self._exchange(
            "list_claims", self._read_request(built), trace, deadline=deadline, settling=settling
        )
        if not isinstance(answered, _Answered):
            return answered
        answer = answered.answer
        if verdict(answer.status) is not Verdict.SUCCESS:
            failure = self._failure(answered)
            if settling and answer.status == 401 and isinstance(failure, Refused):
                # Others may use up tokens as fast as this gets them, and what is to be found out is money.
                failure = attrs.evolve(failure, again=True)
            return failure
        if not answer.complete and len(answer.body) >= BODY_CAP and limit > 1:
            return await self.list_page(
                limit=limit // 2,
                starting_after=starting_after,
                deadline=deadline,
                settling=settling,
                trace=trace,
            )
        items = read_objects(answer.body) if answer.complete else None
        if items is None:
            return _unreadable(answered, "the answer is not a list of claims")
        page = [FoundClaim(raw) for raw in items]
        # Making models is most of the work, and only one of them is of use to who looks for one claim.
        if not settling and any(found.model is None for found in page):
            return _unreadable(answered, "the answer is a list of something else than claims")
        return Done(page)

    def _read_request(self, built: Mapping[str, Any]) -> EngineRequest:
        url = self._base_url + built["url"]
        if params := built.get("params"):
            url = f"{url}?{urlencode(params)}"
        return EngineRequest(built["method"].upper(), url, self._headers)

    async def _exchange(
        self,
        operation: Operation,
        request: EngineRequest,
        trace: Trace | None,
        *,
        deadline: float,
        content: bytes | None = None,
        ref: str | None = None,
        settling: bool = False,
        watch: Watch | None = None,
    ) -> _Answered | Failure:
        """Send one request, when it is its turn, with a token that is good then."""
        since = 0.0 if trace is None else self._clock()
        try:
            place = await self._limiter.acquire(deadline=deadline, settling=settling)
        finally:
            if trace is not None:
                trace.waited(since)
        if isinstance(place, NoPlace):
            return NotSent(place.reason, permanent=place.final, retry_after=place.retry_after)
        good = False
        try:
            answered = await self._send(operation, request, content, deadline, ref, watch, trace)
            replays = 0
            while isinstance(answered, _Answered) and answered.answer.status == 401:
                # The server says so before it executes anything; a new token is all that it wants.
                self._tokens.discard(answered.token)
                if replays and (replays >= _MOST_REPLAYS or not answered.token.accepted):
                    break
                replays += 1
                if trace is not None:
                    trace.again(operation, "the token was refused", 0.0)
                answered = await self._send(operation, request, content, deadline, ref, watch, trace)
                if isinstance(answered, _Answered):
                    answered = attrs.evolve(answered, replayed=True)
            if isinstance(answered, _Answered):
                answered.token.accepted |= answered.answer.status != 401
            good = isinstance(answered, _Answered) and not self._is_pushed_back(place, answered.answer)
            return answered
        finally:
            self._limiter.release(place, answered=good)

    def _is_pushed_back(self, place: Place, response: EngineResponse) -> bool:
        """Let all callers pause where the server asks this one to; say whether it does."""
        throttled = verdict(response.status) is Verdict.THROTTLED
        if not throttled and response.status < 500:
            return False
        seconds = parse_retry_after(response.headers.get("retry-after"), datetime.now(UTC))
        if seconds is None and throttled:
            # One alone is a reason to send less, and only more of them to send nothing for a while.
            again = self._limiter.pushed_back_in_a_row
            seconds = self._policy.backoff(again, 1.0) if again else 0.0
        if seconds is not None:
            self._limiter.push_back(place, seconds=seconds)
        return seconds is not None

    async def _send(
        self,
        operation: Operation,
        request: EngineRequest,
        content: bytes | None,
        deadline: float,
        ref: str | None,
        watch: Watch | None,
        trace: Trace | None,
    ) -> _Answered | Failure:
        """Send with the token of the moment."""
        token = self._tokens.at_hand() or await self._tokens.get(deadline=deadline)
        if isinstance(token, TokenFailure):
            if not token.final:
                self._note(None)
            error = token.make_error() if token.make_error is not None else None
            if error is not None:
                error.ref = ref
            return NotSent(token.reason, permanent=token.final, retry_after=token.retry_after, error=error)
        headers = self._authorize(request.headers, token)
        if watch is not None:
            # Last, so that nothing lies between a turn and its request.
            await watch.before_request()
        attempt, began = None, self._clock()
        if trace is not None and began < deadline:
            attempt = trace.attempt(operation, request.url)
            headers = {**headers, **attempt.headers}
            # Who watches takes time.
            began = self._clock()
        if began >= deadline:
            # An expired timer would fire only after the bytes have left.
            if attempt is not None:
                attempt.ended(None, "not_sent", "no time was left to send it")
            return NotSent("no time was left to send it")
        if request.method == "POST":
            self.claim_requests += 1
        failed: AttemptFailure | None = "cancelled"
        status, reason = None, None
        try:
            response = await self._engine.send(
                EngineRequest(request.method, request.url, headers, content, request.body_cap),
                deadline=min(deadline, began + self._policy.attempt_timeout),
            )
            status, failed = response.status, None
        except RequestNotSent as failure:
            failed, reason = "not_sent", failure.reason
            self._note(None)
            return NotSent(failure.reason, permanent=failure.permanent)
        except RequestMaybeSent as failure:
            failed, reason = "no_answer", failure.reason
            self._note(None)
            return Ambiguous(failure.reason)
        finally:
            if watch is not None:
                watch.after_request(status, self._clock() - began)
            if attempt is not None:
                attempt.ended(status, failed, reason)
        self._note(status)
        return _Answered(response, token)

    def _note(self, status: int | None) -> None:
        """Note whether the server is there."""
        if status is not None and status < 500 and status != 429:
            self.answered_at, self.failing_since = self._clock(), None
        else:
            self.failed_at = self._clock()
            if self.failing_since is None:
                self.failing_since = self.failed_at

    def _authorize(self, headers: Mapping[str, str], token: Token) -> Mapping[str, str]:
        """Return the headers with a token; the last ones are kept, because most requests have the same."""
        if self._authorized is not None:
            plain, of, authorized = self._authorized
            if plain is headers and of is token:
                return authorized
        authorized = {**headers, "Authorization": MaskedStr(f"Bearer {token.value}")}
        self._authorized = headers, token, authorized
        return authorized

    def _failure(
        self, answered: _Answered, *, claim: bool = False, ref: str | None = None
    ) -> Refused | Ambiguous:
        answer, token = answered.answer, answered.token.value
        error = status_error(
            answer.status,
            answer.headers,
            scrub(answer.body, token),
            now=datetime.now(UTC),
            ref=ref,
            # Only a claim has a ref that can conflict.
            cls=APIStatusError if answer.status == 409 and not claim else None,
        )
        scrub_error(error, token)
        match verdict(answer.status):
            case Verdict.AMBIGUOUS:
                return Ambiguous(
                    f"the server answered {answer.status}",
                    status=answer.status,
                    body=error.body,
                    retry_after=error.retry_after,
                    error=error,
                )
            case said:
                return Refused(error, again=said is Verdict.THROTTLED, replayed=answered.replayed)


def _to_send(body: Mapping[str, Any], content: bytes, *, minted: bool) -> ClaimToSend:
    return ClaimToSend(content, body["customer_id"], body.get("ref"), minted)


def make_claim(raw: Mapping[str, Any]) -> Claim | None:
    """Make the model of a claim, tolerantly; None where the generated code cannot."""
    try:
        claim = Claim.from_dict(raw)
    # It fails on malformed parts in whatever way it meets first.
    except (TypeError, ValueError, KeyError, AttributeError):
        return None
    if not _are_discounts(claim.discounts):
        # The generated code keeps malformed lists as they are, and then cannot write them. Nothing is lost:
        # they stay readable as what the contract does not know.
        claim.discounts = UNSET
        claim.additional_properties["discounts"] = raw["discounts"]
    return claim


def _are_discounts(value: object) -> bool:
    if not isinstance(value, list):
        return value is None or isinstance(value, Unset)
    # Loops, because a generator takes as long as what it goes through here.
    for item in cast("list[object]", value):
        if not isinstance(item, ClaimDiscount) or not _are_refs(item.refs):
            return False
    return True


def _are_refs(value: object) -> bool:
    if not isinstance(value, list):
        return value is None or isinstance(value, Unset)
    for item in cast("list[object]", value):  # noqa: SIM110 - as above
        if not isinstance(item, ClaimDiscountRef):
            return False
    return True


def _unreadable(answered: _Answered, reason: str) -> Ambiguous:
    # Not before: a token that is a common word would change what is believed.
    body = withhold(answered.answer.body, answered.token.value)
    return Ambiguous(reason, status=answered.answer.status, body=cap_body(body))
