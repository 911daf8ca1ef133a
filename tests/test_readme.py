"""What the README shows works as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

from dintero_claims_client.sandbox import Sandbox, SandboxServer

README = (Path(__file__).parents[1] / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def _snippet(part):
    (snippet,) = (snippet for snippet in SNIPPETS if part in snippet)
    return snippet


async def test_the_first_claim():
    """The first example claims, with the settings in the environment."""
    import asyncio

    sandbox = Sandbox()
    async with SandboxServer(sandbox) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "error",
            "-c",
            _snippet("asyncio.run"),
            env={
                **os.environ,
                "DINTERO_ACCOUNT_ID": sandbox.account_id,
                "DINTERO_CLIENT_ID": sandbox.client_id,
                "DINTERO_CLIENT_SECRET": sandbox.client_secret,
                "DINTERO_BASE_URL": server.base_url,
            },
            stdout=subprocess.PIPE,
        )
        output, _ = await process.communicate()
    (claim,) = sandbox.ledger.claims
    assert (process.returncode, claim.ref) == (0, "order-1001")
    assert claim.id in output.decode()


async def test_the_calls_and_the_test_of_an_integration(make_request):
    """The example of a test passes as it stands, and so do the further calls on its client."""
    names = {"request": make_request("order-1001")}
    lines = _snippet("drop_after_commit").rstrip().split("\n")
    end = next(n for n, line in enumerate(lines) if line.strip().startswith("await client.claim(request)"))
    indent = " " * (len(lines[end]) - len(lines[end].lstrip()))
    calls = _snippet("find_claim").replace("get_claim(claim_id)", "get_claim(claim.id)")
    calls = calls.replace('if_exists="return")', 'if_exists="return")', 1).replace(
        "await client.claim(request, timeout=5)",
        'claim = await client.claim(request, if_exists="return", timeout=5)',
    )
    more = [indent + line for line in calls.rstrip().split("\n")]
    body = "\n".join("    " + line for line in [*lines[: end + 1], *more, *lines[end + 1 :]])
    source = f"from dintero_claims_client import ClaimsClient\nasync def example(request):\n{body}\n"
    exec(compile(source, "README.md", "exec"), names)  # noqa: S102
    await names["example"](names["request"])


async def test_many_claims(make_request, tmp_path, monkeypatch, capsys):
    """The example of a batch claims each of its requests."""
    sandbox = Sandbox()
    requests = [make_request(f"order-{number}") for number in range(5)]
    body = "\n".join("        " + line for line in _snippet("claim_many").rstrip().split("\n"))
    source = (
        "from dintero_claims_client import ClaimsClient\n"
        "async def example(sandbox, http, requests):\n"
        "    async with ClaimsClient(account_id=sandbox.account_id, client_id=sandbox.client_id,\n"
        "        client_secret=sandbox.client_secret, base_url=sandbox.base_url,\n"
        "        http_client=http) as client:\n"
        f"{body}\n"
    )
    names = {}
    monkeypatch.chdir(tmp_path)
    exec(compile(source, "README.md", "exec"), names)  # noqa: S102
    async with sandbox.http_client() as http:
        await names["example"](sandbox, http, requests)
    assert capsys.readouterr().out.count("was taken") == len(sandbox.ledger.claims) == 5


def test_every_error_is_explained():
    """Each error of the library stands in the README's table."""
    from dintero_claims_client import errors

    table = README.partition("## What an error means")[2].partition("##")[0]
    for name in errors.__all__:
        assert f"`{name}`" in table, name


def test_every_guard_has_its_test():
    """Each test that the table of guards names exists."""
    root = Path(__file__).parent
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", (root.parent / "CONTRIBUTING.md").read_text()))
    defined = {
        name for file in root.rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    assert named
    assert named <= defined
