"""The log: fields and not sentences, for a call one line at INFO or above, and what it did at DEBUG.

A line's fields are its message (`event=call ending=taken …`) and the record's attribute `dintero`, a dict.
Customers appear in it as a hash whose key lives as long as the process: their lines can be told together, and
nobody can find out from them who it is.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import attrs

from .events import AttemptEnded, AttemptSent, CallEnded, Event, Paused, Refreshed, Retried

LOGGER = logging.getLogger("dintero_claims_client")
# Whether and where this is shown is for the application to say.
LOGGER.addHandler(logging.NullHandler())

_NAMES = {
    AttemptSent: "attempt_sent",
    AttemptEnded: "attempt_ended",
    Retried: "retried",
    Refreshed: "refreshed",
    Paused: "paused",
    CallEnded: "call",
}
_PLAIN = re.compile(r"[\w.:/+-]+", re.ASCII)
_KEY = os.urandom(16)


def level(event: Event, *, of_batch: bool = False) -> int:
    """Return at which level an event is logged; the rows of a batch are too many for INFO."""
    match event:
        case CallEnded(ending="unknown") | Paused():
            return logging.WARNING
        case Refreshed(reason=str()):
            return logging.WARNING
        case CallEnded():
            return logging.DEBUG if of_batch else logging.INFO
        case _:
            return logging.DEBUG


def log(event: Event, level: int, *, customer_id: str | None = None) -> None:
    """Write an event into the log."""
    fields: dict[str, Any] = {"event": _NAMES[type(event)]}
    fields.update(
        (name, round(value, 6) if isinstance(value, float) else value)
        for name, value in attrs.asdict(event, recurse=False).items()
        if value is not None
    )
    if customer_id is not None:
        fields["customer"] = blake2b(
            customer_id.encode("utf-8", "surrogatepass"), digest_size=8, key=_KEY
        ).hexdigest()
    LOGGER.log(level, "%s", _Line(fields), extra={"dintero": fields})


class _Line:
    """Fields as text, made only where somebody shows it."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __str__(self) -> str:
        return " ".join(f"{name}={_shown(value)}" for name, value in self._fields.items())


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    # What comes from outside must not look like another field, or another line.
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
