"""A change of the API as a provider makes it, on which the way from there to a release is tried."""

from __future__ import annotations

import copy
from typing import Any


def changed(upstream: Any) -> Any:
    """Return what the provider states next: a new optional field, a renamed one, and a new required one."""
    document = copy.deepcopy(upstream)
    claim = document["components"]["schemas"]["Claim"]
    properties = claim["properties"]
    properties["store_id"] = {"type": "string", "maxLength": 64, "description": "The store of the purchase"}
    properties["channel"] = properties.pop("type")
    properties["currency"] = {"type": "string", "minLength": 3, "maxLength": 3, "description": "ISO 4217"}
    claim["required"].append("currency")
    return document
