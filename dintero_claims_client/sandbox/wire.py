"""Bodies and headers: what the API reads from the wire and writes on it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from starlette.responses import Response

from dintero_claims_client.sandbox.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from dintero_claims_client.sandbox.contract import JsonObject

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
MAX_BODY = 1024 * 1024
# Far above any claim, far below where Python's JSON encoder gives up on an answer.
_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body: its JSON content, or the reason why it has none."""

    content: object = None
    flaw: str | None = None

    @property
    def fields(self) -> JsonObject:
        """The content's fields; none if it is not an object."""
        content = self.content
        return cast("JsonObject", content) if isinstance(content, dict) else {}

    @property
    def ref(self) -> str | None:
        """The `ref` among the fields, whether the rest is valid or not."""
        ref = self.fields.get("ref")
        return ref if isinstance(ref, str) else None

    def require_content(self) -> object:
        """Return the content; refuse the request (400) if there is none."""
        if self.flaw is not None:
            raise Refusal(400, self.flaw)
        return self.content


async def read_body(request: Request) -> Body:
    """Read a request to its end; refuse one that is larger than `MAX_BODY` (413)."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY:
            raise Refusal(413, f"The body is larger than {MAX_BODY} bytes")
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        return Body(flaw="The body is not application/json")
    return parse_json(bytes(raw))


def parse_json(raw: bytes) -> Body:
    """Decode JSON strictly: UTF-8, and nothing that could not be written back as JSON."""
    try:
        content: object = json.loads(raw.decode())
        # NaN and infinities, also those of 1e999, and halves of surrogate pairs end here.
        _to_json(content)
    except (ValueError, RecursionError):
        return Body(flaw="The body is not valid JSON")
    if not _is_nested_within(content, _MAX_DEPTH):
        return Body(flaw=f"The body is nested more than {_MAX_DEPTH} levels deep")
    return Body(content)


def _to_json(content: object) -> bytes:
    return _ENCODER.encode(content).encode()


def _is_nested_within(value: object, levels: int) -> bool:
    if isinstance(value, dict):
        children = list(cast("JsonObject", value).values())
    elif isinstance(value, list):
        children = cast("list[object]", value)
    else:
        return True
    return levels > 0 and all(_is_nested_within(child, levels - 1) for child in children)


def basic_credentials(authorization: str) -> tuple[str, str]:
    """Return the user and password of HTTP Basic, empty ones where the header has another form."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return user, password


def bearer_token(authorization: str) -> str:
    """Return the token of HTTP Bearer, an empty one where the header has another form."""
    scheme, _, token = authorization.partition(" ")
    return token if scheme.lower() == "bearer" else ""


def json_response(
    content: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Answer with JSON."""
    return Response(_to_json(content), status, headers, media_type="application/json")


def error_response(refusal: Refusal) -> Response:
    """Answer in the API's form of errors."""
    try:
        code = HTTPStatus(refusal.status).phrase.upper()
    except ValueError:
        code = "ERROR"
    error: JsonObject = {"code": code, "message": refusal.message}
    if refusal.details:
        error["errors"] = list(refusal.details)
    return json_response({"error": error}, status=refusal.status, headers=refusal.headers)
