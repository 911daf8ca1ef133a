"""How long importing the library takes beyond importing aiohttp and httpx, and what comes with it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

_LIBRARIES = "import aiohttp, httpx"
# A name, because the package alone imports nothing.
_CLIENT = "from dintero_claims_client import ClaimsClient"
_TIMED = """
import json, sys, time
{before}
began = time.perf_counter()
{what}
print(json.dumps([(time.perf_counter() - began) * 1000, sorted(sys.modules)]))
"""
_UNWANTED = (
    "dintero_claims_client.cli.", "dintero_claims_client.sandbox.", "pytest.", "respx.", "rich.", "cyclopts.",
    "starlette.", "uvicorn.", "jsonschema_rs.", "yaml.", "openapi_python_client.",
)  # fmt: skip


def import_ms(rounds: int) -> float:
    """Return the median of how many milliseconds importing the library adds."""
    return statistics.median(_timed(_LIBRARIES, _CLIENT)[0] for _ in range(max(rounds, 3) * 3))


def unwanted() -> list[str]:
    """Return what is imported with the library and must not be."""
    _, before = _timed("", _LIBRARIES)
    _, after = _timed("", f"{_LIBRARIES}\n{_CLIENT}")
    return [name for name in after if name not in before and f"{name}.".startswith(_UNWANTED)]


def _timed(before: str, what: str) -> tuple[float, list[str]]:
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", _TIMED.format(before=before, what=what)],
        check=True,
        capture_output=True,
        text=True,
    )
    milliseconds, modules = json.loads(done.stdout)
    return milliseconds, modules
