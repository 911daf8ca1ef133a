"""What the documentation shows works as it stands: each page is followed from its top to its end."""

import ast
import asyncio
import datetime
import inspect
import os
import re
import sys
from pathlib import Path

import pytest

from dintero_claims_client import ClaimDiscount, ClaimRequest, ClaimsClient, RetryPolicy
from dintero_claims_client.sandbox import FaultPlan, Sandbox, SandboxServer

DOCS = Path(__file__).resolve().parents[2] / "docs"
# Followed by a test of its own, in a copy of the repository.
ELSEWHERE = {"regenerating.md"}
BLOCK = re.compile(
    r"^```(?:\{code-block\} )?(?P<language>\w+)\n(?::caption: (?P<file>\S+)\n\n)?(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PAGES = {
    str(page.relative_to(DOCS)): list(BLOCK.finditer(page.read_text()))
    for page in sorted(DOCS.rglob("*.md"))
    if page.name not in ELSEWHERE
}


def test_there_is_something_to_follow():
    """Pages of each kind have snippets, and the patterns find them."""
    assert {"tutorial.md", "howto/batches.md", "howto/testing.md", "howto/observing.md"} <= {
        page for page, blocks in PAGES.items() if blocks
    }


@pytest.mark.parametrize("page", [page for page, blocks in PAGES.items() if blocks])
async def test_a_page_can_be_followed(page, tmp_path, monkeypatch):
    """Its files are written, its Python runs, and its commands print what the page shows."""
    sandbox = Sandbox(faults=FaultPlan(retry_after=0))
    async with SandboxServer(sandbox) as server:
        reader = _Reader(sandbox, server.base_url, tmp_path, monkeypatch)
        async with ClaimsClient.from_env(retry=RetryPolicy(base_delay=0.01)) as client:
            reader.names["client"] = client
            for block in PAGES[page]:
                line = block.string[: block.start()].count("\n") + 1
                await reader.follow(block["language"], block["file"], block["text"], f"{page}:{line}")


class _Reader:
    """Somebody who does what a page says. Python knows a `client`, a `request` and `requests`."""

    def __init__(self, sandbox, base_url, folder, monkeypatch):
        self.folder = folder
        settings = {
            "ACCOUNT_ID": sandbox.account_id,
            "CLIENT_ID": sandbox.client_id,
            "CLIENT_SECRET": sandbox.client_secret,
            "BASE_URL": base_url,
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"DINTERO_{name}", value)
        monkeypatch.chdir(folder)
        # Pages about the project itself are followed in a checkout.
        for name in (".venv", "benchmarks"):
            (folder / name).symlink_to(DOCS.parent / name)
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "COLUMNS": "100",
        }
        self.names = {"request": _claim("order-1001"), "requests": [_claim(f"row-{n}") for n in range(5)]}

    async def follow(self, language, file, text, where):
        if file is not None:
            (self.folder / file).write_text(text)
        elif language == "python":
            code = compile(text, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            done = eval(code, self.names)  # noqa: S307 - what the page shows
            if inspect.iscoroutine(done):
                await done
        elif language == "console":
            await self._type(text, where)

    async def _type(self, text, where):
        commands = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)
        assert commands, where
        # What installs is of this environment already.
        commands = [(command, shown) for command, shown in commands if not _installs(command)]
        marks = [f"-- {number} --" for number in range(len(commands))]
        steps = zip(commands, marks, strict=True)
        script = "".join(f"{command}\necho '{mark}' $?\n" for (command, _), mark in steps)
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            script,
            env=self.environment,
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        rest = output.decode()
        for (command, shown), mark in zip(commands, marks, strict=True):
            printed, found, rest = rest.partition(f"{mark} ")
            assert found, (where, command, printed)
            code, _, rest = rest.partition("\n")
            # What fails on purpose shows it; but a page does not name a command that there is not.
            assert code not in ("126", "127"), (where, command, printed)
            pattern = ".*".join(re.escape(part) for part in re.split(r"…\n?", shown))
            # A page need not show what nobody reads on.
            assert not shown or re.fullmatch(pattern, printed, re.DOTALL), (where, command, printed)


def _installs(command):
    return re.match(r"python3 -m venv|\. \.venv|pip install", command)


def _claim(ref):
    return ClaimRequest(
        purchase_at=datetime.datetime(2026, 11, 24, 12, 30, tzinfo=datetime.UTC),
        customer_id="customer-1",
        ref=ref,
        discounts=[ClaimDiscount(id="discount-1")],
    )
