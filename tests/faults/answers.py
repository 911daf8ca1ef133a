"""The catalogue of all forms of answer, and which faults make a server tell a lie."""

from __future__ import annotations

from faults import forms_body, forms_framing, forms_head, forms_list, forms_status
from faults.script import Act, Fault, Point
from faults.wire import Form, Kind

FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        *forms_body.FORMS,
        *forms_status.FORMS,
        *forms_framing.FORMS,
        *forms_head.FORMS,
        *forms_list.FORMS,
    )
}

_SHORTEST_CLAIM = 40
"""Bytes: an id alone is 36 long, so less than this of a body is no claim."""

_DENIALS = (Kind.REFUSED, Kind.THROTTLED, Kind.UNAUTHORIZED)
_HONEST = (Kind.TAKEN, Kind.EITHER)


def of_kind(*kinds: Kind) -> list[str]:
    """Return the names of the forms of these kinds."""
    return [name for name, form in FORMS.items() if form.kind in kinds]


def lies(fault: Fault) -> bool:
    """Say whether a fault makes the server state what is not so, which no client could see through.

    It does where a claim is executed and refused by one and the same answer, and where one that was not
    executed is answered as taken. A gateway's refusal is no lie, because it is looked up.
    """
    if fault.at in (Point.ACCEPT, Point.UPLOAD, Point.RECEIVED):
        return False
    kind = FORMS[fault.answer].kind
    if fault.commit:
        # Some clients take a head that was cut off for a whole one.
        return kind in _DENIALS and (fault.at is not Point.STATUS_LINE or fault.act is Act.TRICKLE)
    if kind not in _HONEST:
        return False
    return (
        fault.at is Point.ANSWERED
        or fault.act is Act.TRICKLE
        or (fault.at is Point.BODY and fault.after >= _SHORTEST_CLAIM)
    )
