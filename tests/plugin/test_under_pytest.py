"""The plugin in other projects: each test runs pytest on files of its own, in a process of its own."""

import pytest
from support.canary import TOKEN, is_clean

pytest_plugins = ["pytester"]

SHOP = """
import datetime
from dintero_claims_client import ClaimDiscount, ClaimRequest

def order(ref):
    at = datetime.datetime.now(datetime.UTC)
    return ClaimRequest(purchase_at=at, customer_id="c", ref=ref, discounts=[ClaimDiscount(id="d")])
"""

PLUGIN, ASYNCIO, XDIST = "dintero_claims_client.pytest_plugin", "pytest_asyncio.plugin", "xdist.plugin"


@pytest.fixture
def run(pytester, monkeypatch):
    """Return a function that runs pytest on a file, with these plugins and no others; warnings are errors.

    What the other plugins of this environment import takes seconds, and would hide what ours does.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(shop=SHOP)

    def run_one(source, *arguments, plugins=(PLUGIN, ASYNCIO), warnings=("-W", "error")):
        pytester.makepyfile(source)
        loaded = [argument for plugin in plugins for argument in ("-p", plugin)]
        if ASYNCIO in plugins:
            # Unset, it warns.
            loaded += ["-o", "asyncio_default_fixture_loop_scope=function"]
        return pytester.runpytest_subprocess(*loaded, *warnings, *arguments, timeout=60)

    return run_one


@pytest.mark.parametrize("mode", ["strict", "auto"])
@pytest.mark.parametrize("plugins", [(PLUGIN, ASYNCIO), (ASYNCIO, PLUGIN)], ids=["first", "last"])
def test_in_either_mode(run, mode, plugins):
    """The fixtures work in both modes of pytest-asyncio, whichever comes first, and leak nothing."""
    mark = "@pytest.mark.asyncio" if mode == "strict" else ""
    run(
        f"""
        import gc
        import pytest
        from dintero_claims_client import ClaimsClient
        from shop import order

        @pytest.fixture(autouse=True)
        def nothing_is_left():
            yield
            gc.collect()

        {mark}
        async def test_in_process(claims_client, dintero_sandbox):
            dintero_sandbox.drop_after_commit()
            await claims_client.claim(order("order-1"))
            dintero_sandbox.ledger.assert_claimed(ref="order-1")

        {mark}
        async def test_on_the_socket(dintero_environment, dintero_sandbox):
            async with ClaimsClient.from_env() as client:
                await client.claim(order("order-1"))
            dintero_sandbox.ledger.assert_claimed(ref="order-1")

        class TestShop:
            {mark}
            async def test_in_a_class(self, claims_client, dintero_sandbox):
                await claims_client.claim(order("order-1"))
                dintero_sandbox.ledger.assert_claimed(ref="order-1")

        def test_synchronous(claims_client, dintero_sandbox, dintero_sandbox_server):
            assert dintero_sandbox_server.base_url in repr(claims_client)
            dintero_sandbox.ledger.assert_nothing_claimed()
        """,
        "-o",
        f"asyncio_mode={mode}",
        plugins=plugins,
    ).assert_outcomes(passed=4)


LOOPS = ("function", "module", "session")


@pytest.mark.parametrize("of_fixtures", LOOPS)
@pytest.mark.parametrize("of_tests", LOOPS)
@pytest.mark.parametrize("fixture", ["dintero_sandbox", "dintero_sandbox_server"])
def test_whatever_loop_tests_and_fixtures_have(run, of_tests, of_fixtures, fixture):
    """The client is used on the test's event loop, however long that lasts, and that of async fixtures."""
    run(
        f"""
        import gc
        import pytest
        from shop import order

        @pytest.fixture(autouse=True)
        def nothing_is_left():
            yield
            gc.collect()

        @pytest.mark.parametrize("turn", [1, 2])
        async def test_it(claims_client, dintero_sandbox, {fixture}, turn):
            await claims_client.claim(order("order-1"))
            dintero_sandbox.ledger.assert_claimed(ref="order-1")

        @pytest.mark.asyncio(loop_scope="module")
        async def test_one_with_a_scope_of_its_own(claims_client, dintero_sandbox, {fixture}):
            await claims_client.claim(order("order-1"))
            dintero_sandbox.ledger.assert_claimed(ref="order-1")
        """.replace("dintero_sandbox, dintero_sandbox,", "dintero_sandbox,").replace(
            "dintero_sandbox, dintero_sandbox)", "dintero_sandbox)"
        ),
        "-o",
        "asyncio_mode=auto",
        "-o",
        f"asyncio_default_test_loop_scope={of_tests}",
        "-o",
        f"asyncio_default_fixture_loop_scope={of_fixtures}",
    ).assert_outcomes(passed=3)


@pytest.mark.parametrize("workers", [(), ("-p", XDIST, "-n", "2")], ids=["alone", "in workers"])
def test_tests_know_nothing_of_each_other(run, workers):
    """Each test has its own sandbox, credentials, port and ledger, one after the other and side by side."""
    result = run(
        """
        import pathlib
        import pytest
        from shop import order

        @pytest.mark.parametrize("turn", range(6))
        async def test_it(claims_client, dintero_sandbox, dintero_sandbox_server, turn):
            await claims_client.claim(order("order-1"))
            dintero_sandbox.ledger.assert_claimed(ref="order-1", times=1)
            assert len(dintero_sandbox.ledger.claims) == 1
            dintero_sandbox.fail_next(503, times=2)
            await claims_client.claim(order("order-2"))
            assert dintero_sandbox.ledger.outcomes["order-2", "503"] == 2
            # Left for nobody.
            dintero_sandbox.fail_next(503, times=3)
            await claims_client.claim(order("order-3"), timeout=10)
            pathlib.Path(f"seen-{turn}").write_text(dintero_sandbox.client_id)

        @pytest.mark.parametrize("turn", range(6))
        async def test_that_nothing_is_there(dintero_sandbox, turn):
            dintero_sandbox.ledger.assert_nothing_claimed()
            dintero_sandbox.assert_no_faults_left()
            assert not dintero_sandbox.ledger.requests
        """,
        "-o",
        "asyncio_mode=auto",
        *workers,
    )
    result.assert_outcomes(passed=12)


def test_an_assertion_that_fails(run, pytester):
    """A failing test shows its own line and the ledger's words, none of the ledger's code, and no secret."""
    pytester.makepyfile(
        secret_of_a_test=f"""
        import secrets
        TOKEN, make_up = {TOKEN!r}, secrets.token_urlsafe
        secrets.token_urlsafe = lambda size: TOKEN + make_up(size)
        """
    )
    result = run(
        """
        import secret_of_a_test
        from shop import order

        async def test_it(claims_client, dintero_sandbox, dintero_sandbox_server):
            assert dintero_sandbox.client_secret.startswith(secret_of_a_test.TOKEN)
            settings = dintero_sandbox.client_settings()
            dintero_sandbox.fail_next(503)
            await claims_client.claim(order("order-1"))
            dintero_sandbox.ledger.assert_claimed(ref="order-2", times=1)

        async def test_nothing(claims_client, dintero_sandbox):
            await claims_client.claim(order("order-1"))
            dintero_sandbox.ledger.assert_nothing_claimed()

        def test_faults(dintero_sandbox):
            dintero_sandbox.fail_next(503)
            dintero_sandbox.assert_no_faults_left()
        """,
        "-p",
        "secret_of_a_test",
        "--showlocals",
        "-vv",
        "-o",
        "asyncio_mode=auto",
        "--log-level=DEBUG",
        warnings=(),
    )
    result.assert_outcomes(failed=3, warnings=1)
    result.stdout.fnmatch_lines(
        [
            ">       dintero_sandbox.ledger.assert_claimed(ref=*",
            "E       AssertionError: expected 1 claim with the ref 'order-2', found 0",
            "E         requests with it: none",
            "E         claimed instead: 'order-1'",
            "E         all requests: claim_discounts 200 once, 503 once; token 200 once",
            "*'client_secret': '[[]secret]',",
            "*DEBUG*attempt_sent*",
            ">       dintero_sandbox.ledger.assert_nothing_claimed()",
            "E       AssertionError: expected no claim, found 1: 'order-1'",
            ">       dintero_sandbox.assert_no_faults_left()",
            "E       AssertionError: faults that were asked for did not happen",
            "E         unavailable 503 to claim_discounts, 1 of 1 left",
            "E         all requests: none; does the application talk to this sandbox?",
            "FAILED *expected 1 claim with the ref 'order-2', found 0*",
        ],
    )
    output = result.stdout.str() + result.stderr.str()
    assert "raise AssertionError" not in output
    assert is_clean(output)


def test_a_server_ends_with_its_test(run):
    """The server of a test that failed is gone afterwards, with its thread and what was open of it."""
    run(
        """
        import socket
        import threading
        import pytest

        ports = []
        connections = []

        async def test_that_fails(dintero_sandbox_server):
            port = int(dintero_sandbox_server.base_url.split(":")[2].removesuffix("/v1"))
            ports.append(port)
            connections.append(socket.create_connection(("127.0.0.1", port)))
            raise LookupError("on purpose")

        def test_that_it_is_gone():
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", ports[0]))
            # Ended, and not left to wait for.
            with connections[0] as connection:
                connection.settimeout(10)
                try:
                    assert connection.recv(1) == b""
                except ConnectionResetError:
                    pass
            assert threading.enumerate() == [threading.main_thread()]
        """,
        "-o",
        "asyncio_mode=auto",
    ).assert_outcomes(passed=1, failed=1)


def test_a_client_ends_with_its_test(run):
    """The client of a test, and what it sends with, are closed afterwards, also when the test failed."""
    run(
        """
        from shop import order

        clients = []

        async def test_that_fails(claims_client):
            clients.append(claims_client)
            await claims_client.claim(order("order-1"))
            assert not claims_client._http_client.is_closed
            raise LookupError("on purpose")

        def test_without_a_call(claims_client):
            clients.append(claims_client)

        def test_that_they_are_closed():
            assert [repr(client).endswith(", closed>") for client in clients] == [True, True]
            assert clients[0]._http_client.is_closed
        """,
        "-o",
        "asyncio_mode=auto",
    ).assert_outcomes(passed=2, failed=1)


UNMET = """
    from shop import order

    async def test_half(claims_client, dintero_sandbox):
        dintero_sandbox.fail_next(503, times=1000)
        for turn in range(3):
            try:
                await claims_client.claim(order("order-1"), timeout=0.05)
            except Exception:
                pass

    async def test_none(claims_client, dintero_sandbox):
        dintero_sandbox.fail_next(503)
        dintero_sandbox.expire_tokens(times=2)
"""


def test_a_fault_that_did_not_happen(run):
    """A fault that no request met is told of, and one that was met in part is not; no test fails of it."""
    result = run(UNMET, "-o", "asyncio_mode=auto", warnings=())
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "*test_none",
            "*FaultNotMetWarning: a fault that was asked for did not happen at all: "
            "unavailable 503 to claim_discounts, 1 of 1 left; expire_token to claim_discounts, 2 of 2 left",
        ]
    )


def test_a_fault_that_did_not_happen_as_an_error(run):
    """For who takes warnings for errors it is one, unless its class is passed over."""
    run(UNMET, "-o", "asyncio_mode=auto").assert_outcomes(passed=2, errors=1)
    run(UNMET, "-o", "asyncio_mode=auto", "-W", f"ignore::{PLUGIN}.FaultNotMetWarning").assert_outcomes(
        passed=2
    )


LEAN = """
    import sys

    def ours():
        return sorted(name for name in sys.modules if name.startswith("dintero_claims_client"))

    def test_nothing_is_imported():
        heavy = {"aiohttp", "anyio", "attr", "attrs", "httpx", "sqlite3", "starlette", "uvicorn", "yaml"}
        assert heavy.isdisjoint(sys.modules)
        assert ours() == ["dintero_claims_client", "dintero_claims_client.pytest_plugin"]

    def test_it_is_a_test_that_can_fail(dintero_sandbox):
        assert {"httpx", "starlette", "yaml"} <= set(sys.modules)
        assert "dintero_claims_client.sandbox" in ours()
        assert "aiohttp" not in sys.modules
"""


@pytest.mark.parametrize("plugins", [(PLUGIN,), (PLUGIN, ASYNCIO)], ids=["without asyncio", "with asyncio"])
def test_nothing_is_imported_until_it_is_used(run, plugins):
    """A project that does not use the plugin pays for two modules, and nothing that they would import."""
    run(LEAN, plugins=plugins).assert_outcomes(passed=2)


def test_without_pytest_asyncio(run):
    """The fixtures need no plugin for async tests: whoever runs an event loop can use the client."""
    run(
        """
        import asyncio
        import sys
        from shop import order

        def test_sandbox(dintero_sandbox, dintero_environment):
            assert dintero_sandbox.client_id

        def test_client(claims_client, dintero_sandbox):
            assert "pytest_asyncio" not in sys.modules
            asyncio.run(claims_client.claim(order("order-1")))
            dintero_sandbox.ledger.assert_claimed(ref="order-1")
        """,
        plugins=(PLUGIN,),
    ).assert_outcomes(passed=2)
