"""One secret and one mark in every token of the whole suite, and where they must not show."""

from __future__ import annotations

import base64
import pickle
import traceback
from pathlib import Path

SECRET = "canary-secret-5f1c9"
TOKEN = "canary-token-91b7"
"""What every token that a test server gives begins with, or is."""

BASIC = base64.b64encode(f"client-1:{SECRET}".encode()).decode()
"""As it stands in the header of a token request."""

CANARIES = (SECRET, TOKEN, BASIC, base64.b64encode(f":{SECRET}".encode()).decode()[-16:])


def is_clean(text: str | bytes) -> bool:
    """Say whether none of the canaries shows."""
    if isinstance(text, bytes):
        return not any(canary.encode() in text for canary in CANARIES)
    return not any(canary in text for canary in CANARIES)


def shown(error: BaseException) -> str:
    """Return all that an error can show: its texts, its data, and its traceback with every local."""
    parts = [repr(error), str(error), repr(error.__dict__), repr(error.args)]
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        pending += [one.__cause__, one.__context__]
        # The frames of the tests and of pytest hold the canaries themselves.
        lines = traceback.TracebackException.from_exception(one, capture_locals=True, compact=True).stack
        parts += [
            f"{frame.name} {frame.locals}"
            for frame in lines
            if "dintero_claims_client" in frame.filename or "site-packages" in frame.filename
        ]
    return "\n".join(parts)


def pickled(error: BaseException) -> bytes:
    """Return the error's pickle."""
    return pickle.dumps(error)


def files_that_show(folder: Path) -> list[Path]:
    """Return the files below a folder in which a canary shows; a test's own file of a secret is named so."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and "secret" not in path.name
        and not is_clean(path.read_bytes())
    ]
