"""The package as a whole: its public names, and which part may use which."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dintero_claims_client

PACKAGE = Path(dintero_claims_client.__file__).parent
NAME = "dintero_claims_client"

# What each part may import, besides the standard library.
ALLOWED = {
    "_generated": {"httpx", "attrs", "_generated"},
    "errors": set(),
    "_version": set(),
    "_protocol": {"errors"},
    "_secrets": {"errors"},
    "_retry": {"attrs", "errors"},
    "_waiting": {"attrs"},
    "_pacing": set(),
    "_limiter": {"attrs", "_pacing", "_waiting"},
    "_quota": {"_waiting"},
    "_engines.base": {"attrs"},
    "_engines.aiohttp_direct": {"aiohttp", "yarl", "_engines.base"},
    "_engines.deadlines": set(),
    "_engines.aiohttp_engine": {
        "aiohttp", "_engines.aiohttp_direct", "_engines.base", "_engines.deadlines",
    },
    "_engines.httpx_engine": {"_engines.base"},
    "_engines": {"_engines.base", "_engines.aiohttp_engine", "_engines.httpx_engine"},
    "_tokens": {"attrs", "_engines.base", "_observing", "_protocol", "_secrets", "errors"},
    "events": {"attrs"},
    "health": {"attrs"},
    "_logs": {"attrs", "events"},
    "_harmless": {"_logs"},
    "_otel": {"opentelemetry", "_harmless", "_version", "events"},
    "_observing": {"_harmless", "_logs", "_otel", "errors", "events"},
    "_validation": {"_generated", "errors"},
    "models": {"attrs", "_generated", "_validation", "errors"},
    "_operations": {
        "attrs", "_engines.base", "_generated", "_limiter", "_observing", "_protocol", "_retry", "_secrets",
        "_tokens", "_validation", "_watch", "errors", "events",
    },
    "_watch": {"_operations", "_reconcile"},
    "_calls": {
        "attrs", "_generated", "_observing", "_operations", "_pages", "_protocol", "_quota", "_reconcile",
        "_retry", "_waiting", "_watch", "errors", "events",
    },
    "_pages": {"_operations", "_protocol", "errors"},
    "_reconcile": {"attrs", "_generated", "_operations", "_pages", "_protocol", "_retry", "errors"},
    "_journal": {"attrs", "errors", "_journal"},
    "journal": {"_journal", "errors"},
    "outcomes": {"attrs", "_generated", "errors"},
    "_rate": set(),
    "_adaptive": set(),
    "_slots": set(),
    "_search": {"_operations", "_pages", "_protocol", "_reconcile", "errors"},
    "_batch_rows": {"attrs", "_generated", "_operations", "errors", "journal", "outcomes"},
    "_journal_rows": {
        "_batch_rows", "_generated", "_journal", "_operations", "_validation", "errors", "journal",
        "outcomes",
    },
    "batch": {"_batch_run", "errors", "outcomes"},
    "_batch_start": {
        "_batch_rows", "_batch_run", "_calls", "_generated", "_journal_rows", "_operations", "_retry",
        "errors", "journal",
    },
    "_batch_run": {
        "attrs", "_adaptive", "_batch_rows", "_calls", "_generated", "_operations", "_rate", "_reconcile",
        "_search", "_slots", "errors", "outcomes",
    },
    "settings": {
        "attrs", "_engines.base", "_generated", "_retry", "_secrets", "_version", "errors", "events",
    },
    "client": {
        "attrs", "_batch_run", "_batch_start", "_calls", "_engines", "_engines.base", "_generated",
        "_harmless", "_limiter", "_observing", "_operations", "_otel", "_pages", "_quota", "_reconcile",
        "_retry", "_secrets", "_tokens", "_validation", "_version", "_waiting", "batch", "errors", "events",
        "health", "journal", "settings",
    },
    "": {
        "_generated", "_retry", "_version", "batch", "client", "errors", "health", "journal", "models",
        "outcomes",
    },
    "pytest_plugin": {"anyio", "pytest", "", "_pytest_plugin_client", "sandbox"},
    "_pytest_plugin_client": {"client"},
    "sandbox": {"starlette", "uvicorn", "yaml", "jsonschema_rs", "httpx", "sandbox"},
    "cli": {
        "cyclopts", "rich", "attrs", "httpx", "", "_generated", "_journal", "_tokens", "_validation",
        "settings", "errors", "models", "outcomes", "sandbox", "cli",
    },
}  # fmt: skip

# Parts of the standard library that a part must not use: I/O, clocks, event loops.
FORBIDDEN = {
    "_protocol": {"asyncio", "time", "os", "socket", "random", "ssl"},
    "errors": {"asyncio", "time", "os", "socket", "random", "ssl"},
    "_rate": {"time", "os", "socket", "random", "ssl"},
    "_adaptive": {"asyncio", "time", "os", "socket", "random", "ssl"},
    "outcomes": {"asyncio", "time", "os", "socket", "random", "ssl"},
    "_batch_run": {"time", "os", "socket", "random", "ssl", "sqlite3"},
    "_pacing": {"asyncio", "time", "os", "socket", "random", "ssl"},
    "_retry": {"asyncio", "time", "os", "socket", "random", "ssl"},
    "_pages": {"asyncio", "time", "os", "socket", "random", "ssl"},
    "_reconcile": {"asyncio", "time", "os", "socket", "random", "ssl"},
    "_validation": {"asyncio", "time", "os", "socket", "random", "ssl"},
    "_operations": {"asyncio", "time", "os", "socket", "random", "ssl"},
    "_calls": {"asyncio", "time", "os", "socket", "random", "ssl"},
    "_journal": {"asyncio", "socket", "ssl", "random"},
    "events": {"asyncio", "time", "os", "socket", "random", "ssl"},
    "_observing": {"asyncio", "time", "os", "socket", "random", "ssl"},
    "_logs": {"asyncio", "time", "socket", "random", "ssl"},
    "_otel": {"asyncio", "time", "os", "socket", "random", "ssl"},
    "client": {"json", "time", "socket", "sqlite3"},
}


def _modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
        yield path, ".".join(part for part in parts if part != "__init__")


def _part(module):
    """Return the row of the table that a module belongs to."""
    if module in ALLOWED:
        return module
    return module.partition(".")[0]


def _imports(path, module):
    """Return the names of all modules that a file imports, ours relative to the package."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            target = node.module or ""
            if node.level:
                base = package.split(".") if package else []
                base = base[: len(base) - node.level + 1]
                target = ".".join([NAME, *base, *([target] if target else [])])
            # `from . import x` may name a module.
            for alias in node.names:
                inner = f"{target}.{alias.name}"
                is_module = (PACKAGE.parent / Path(*inner.split("."))).with_suffix(".py").exists() or (
                    PACKAGE.parent / Path(*inner.split("."))
                ).is_dir()
                yield inner if target.startswith(NAME) and is_module else target


@pytest.mark.parametrize(("path", "module"), [pytest.param(*m, id=m[1] or "__init__") for m in _modules()])
def test_import_arrows(path, module):
    """No module imports what the architecture does not allow its part."""
    part = _part(module)
    for imported in _imports(path, module):
        top = imported.partition(".")[0]
        if top == NAME:
            used = _part(imported.removeprefix(NAME).removeprefix("."))
        elif top in sys.stdlib_module_names:
            assert top not in FORBIDDEN.get(part, ()), f"{module} must not use {top}"
            continue
        else:
            used = top
        assert used in ALLOWED[part], f"{module or NAME} must not import {imported}"


def test_only_the_settings_read_the_environment():
    """No other module looks at the environment."""
    readers = {module for path, module in _modules() if re.search(r"os\.environ|getenv", path.read_text())}
    assert {"settings"} == {module for module in readers if not module.startswith("cli")} - {"sandbox"}


def test_only_operations_import_the_generated_endpoints():
    """The endpoint modules have one user."""
    users = {module for path, module in _modules() if "_generated.api" in path.read_text()}
    assert {"_operations"} == users


def test_public_names():
    """The public names exist, once each, and those that we wrote are documented."""
    names = dintero_claims_client.__all__
    assert len(set(names)) == len(names)
    for name in names:
        value = getattr(dintero_claims_client, name)
        if isinstance(value, type) and "_generated" not in value.__module__:
            assert value.__doc__, name


def test_importing_is_lean():
    """Importing the client brings in no command line, sandbox or SQLite, and nothing that only they need."""
    script = (
        f"import sys; from {NAME} import *; "
        "print([m for m in ('cyclopts', 'starlette', 'uvicorn', 'yaml', 'jsonschema_rs', 'pytest',"
        f" 'sqlite3', '{NAME}.cli', '{NAME}.sandbox', '{NAME}._journal') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_changelog_has_the_version():
    """The version of the package has an entry in the changelog."""
    changelog = (Path(__file__).parents[2] / "CHANGELOG.md").read_text()
    assert f"## {dintero_claims_client.__version__}" in changelog
