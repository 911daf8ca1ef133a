"""What an operation asks of who calls it, whatever the document calls that."""

from __future__ import annotations

from collections.abc import Sequence

from .documents import Json, Part, resolved


def ways_in(document: Json, operation: Json) -> str:
    """Return what an operation asks for, whatever it is called."""
    schemes = document.get("components", {}).get("securitySchemes", {})
    ways = [
        " and ".join(
            sorted(_way_in(document, schemes.get(name), name, scopes) for name, scopes in one.items())
        )
        for one in operation.get("security", document.get("security", ()))
    ]
    return " or ".join(sorted(way or "nothing" for way in ways)) or "nothing"


def _way_in(document: Json, scheme: Part, name: str, scopes: Sequence[str]) -> str:
    given = resolved(document, scheme)
    said = [str(given[key]) for key in ("type", "scheme", "in", "name", "openIdConnectUrl") if key in given]
    for flow, one in sorted(given.get("flows", {}).items()):
        # Which of its scopes are asked for is in the operation.
        said += [flow, *(f"{key} {one[key]}" for key in sorted(one) if key.endswith("Url"))]
    way = " ".join(said) or name
    if way.lower() == "apikey header authorization":
        # Swagger 2.0 has no other word for a bearer token.
        way = "http bearer"
    return f"{way} ({', '.join(sorted(scopes))})" if scopes else way
