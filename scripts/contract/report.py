"""What a change of the contract means, as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .levels import Change, Level

TOUCHES: Mapping[str, tuple[str, ...]] = {
    "claim_discounts": ("ClaimsClient.claim", "ClaimsClient.claim_many", "ClaimsClient.resume"),
    "list_claims": ("ClaimsClient.list_claims", "ClaimsClient.find_claim", "ClaimsClient.claim"),
    "get_claim": ("ClaimsClient.get_claim",),
    "ClaimRequest": (
        "ClaimRequest",
        "claim_request_from_json",
        "_validation.check_claim",
        "_reconcile.is_ours",
    ),
    "Claim": ("Claim", "Claimed.claim", "_protocol.answers", "_protocol.same_claim"),
    "ClaimDiscount": ("ClaimDiscount", "_validation.check_claim"),
    "ClaimDiscountRef": ("ClaimDiscountRef", "_validation.check_claim"),
    "ErrorResponse": ("_protocol.status_error",),
    "ErrorDetail": ("_protocol.status_error",),
}
"""What is written by hand around each operation and schema of the contract."""

_LEVELS = {
    Level.BREAKING: "breaking",
    Level.COMPATIBLE: "compatible",
    Level.DOCUMENTATION: "words",
}


def level(changes: Iterable[Change]) -> Level:
    """Return what all changes together do to callers."""
    return max((change.level for change in changes), default=Level.DOCUMENTATION)


def next_version(version: str, change: Level) -> str:
    """Return the version that a change asks for, by Semantic Versioning; before 1.0 one place lower."""
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    if change is Level.BREAKING:
        return f"{major + 1}.0.0" if major else f"0.{minor + 1}.0"
    if change is Level.COMPATIBLE:
        return f"{major}.{minor + 1}.0" if major else f"0.{minor}.{patch + 1}"
    return version


def touched(changes: Iterable[Change]) -> list[str]:
    """Return the functions and models that changes are about, in the order of the table."""
    names = {name for change in changes for name in change.names}
    found = [what for name, whats in TOUCHES.items() if name in names for what in whats]
    return list(dict.fromkeys(found))


def report(
    changes: Sequence[Change],
    stated: Sequence[Change],
    conflicts: Sequence[str],
    unmarked: Sequence[str],
    *,
    version: str,
) -> str:
    """Return the report.

    `changes` are those of our contract, `stated` those of what the provider states; `conflicts` what ours
    does not follow, and `unmarked` where marks and differences do not go together any more.
    """
    worst = max(level(changes), level(stated))
    parts = [f"# The contract changes: {_headline(changes, stated)}\n"]
    if changes:
        asked = next_version(version, level(changes))
        parts.append(f"Version: {version} -> {asked}." if asked != version else f"Version: {version} stays.")
        if names := touched(change for change in changes if change.level > Level.DOCUMENTATION):
            parts.append(f"Look at: {', '.join(f'`{name}`' for name in names)}.")
        parts += ["\n## Ours\n", _table(changes)]
    if conflicts:
        parts += ["\n## To settle: what ours does not follow\n", *(f"- {one}" for one in conflicts)]
    if unmarked:
        parts += ["\n## To settle: marks\n", *(f"- {one}" for one in unmarked)]
    followed = {(change.operation, change.place, change.what) for change in changes}
    others = [one for one in stated if (one.operation, one.place, one.what) not in followed]
    if others:
        parts += ["\n## What else the provider changes\n", _table(others)]
    if worst is not Level.DOCUMENTATION or changes:
        parts += ["\n## Then\n", _THEN]
    return "\n".join(parts).rstrip() + "\n"


_THEN = """\
1. Settle what is to be settled in `openapi/discounts.yaml`, each difference with its `x-deviation`.
2. `./scripts/regenerate.sh`
3. `.venv/bin/python scripts/surface.py --write`, and read the difference.
4. `./scripts/test.sh`
5. An entry in `CHANGELOG.md`, and the version."""


def _headline(changes: Sequence[Change], stated: Sequence[Change]) -> str:
    if not changes and not stated:
        return "nothing"
    worst = max(level(changes), level(stated))
    return {
        Level.BREAKING: "it breaks callers",
        Level.COMPATIBLE: "compatible with callers",
        Level.DOCUMENTATION: "words only",
    }[worst]


def _table(changes: Sequence[Change]) -> str:
    """Return the changes, the worst first; one that shows in several operations once."""
    places: dict[tuple[Level, str, str], list[str]] = {}
    for change in changes:
        places.setdefault((change.level, _within(change), change.what), []).append(change.operation)
    rows = ["| | where | what | operations |", "| --- | --- | --- | --- |"]
    for (change_level, where, what), operations in sorted(
        places.items(), key=lambda item: (-item[0][0], item[0])
    ):
        named = ", ".join(f"`{_short(one)}`" for one in dict.fromkeys(operations))
        rows.append(f"| {_LEVELS[change_level]} | {_cell(where)} | {_cell(what)} | {named} |")
    return "\n".join(rows)


def _short(operation: str) -> str:
    """Return a method and the end of its path, which is enough to tell one from another."""
    method, _, path = operation.partition(" ")
    *above, last = path.split("/")
    end = f"{above[-1]}/{last}" if last.startswith("{") and above else last
    return f"{method} …/{end}" if path.startswith("/") else operation


def _within(change: Change) -> str:
    return change.place.replace("[].", ".").replace("response 200[]", "response 200")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
