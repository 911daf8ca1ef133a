"""A project that installs the wheel, and tests itself with the plugin where there is no network."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    not (ROOT / "dintero_claims_client").is_dir(), reason="the wheel is built from the source tree"
)

FILES = {
    "pyproject.toml": """
[tool.pytest.ini_options]
addopts = ["-p", "no:cacheprovider", "-p", "no:schemathesis"]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
filterwarnings = ["error"]
""",
    "shop.py": '''
"""An application that holds a client."""

import datetime
from dintero_claims_client import ClaimDiscount, ClaimRequest, ClaimsClient, ClaimsError


class Shop:
    def __init__(self, claims: ClaimsClient) -> None:
        self.claims = claims

    async def place_order(self, number: str) -> str:
        request = ClaimRequest(
            purchase_at=datetime.datetime.now(datetime.UTC),
            customer_id="customer-1",
            ref=number,
            discounts=[ClaimDiscount(id="ten-off")],
        )
        try:
            await self.claims.claim(request, if_exists="return")
        except ClaimsError as error:
            return f"sorry: {type(error).__name__}"
        return "thank you"
''',
    "conftest.py": '''
"""No test gets to a network: names are not looked up, and no connection leaves this process.

Except to the loopback interface, for tests that ask for a server.
"""

import ipaddress
import os
import socket
import pytest

LOOPBACK = os.environ.get("MAY_USE_LOOPBACK") == "1"
connect, connect_ex, sendto = socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto


class Forbidden(Exception):
    pass


def check(family, address):
    if family == socket.AF_UNIX:
        return
    if not (LOOPBACK and ipaddress.ip_address(address[0]).is_loopback):
        raise Forbidden(address)


def guarded(function, where):
    def call(self, *arguments):
        check(self.family, arguments[where])
        return function(self, *arguments)
    return call


def no_names(host, *_arguments, **_options):
    raise Forbidden(host)


socket.socket.connect = guarded(connect, 0)
socket.socket.connect_ex = guarded(connect_ex, 0)
socket.socket.sendto = guarded(sendto, -1)
look_up = socket.getaddrinfo


def getaddrinfo(host, *arguments, **options):
    check(socket.AF_INET, (host,) if host == "127.0.0.1" else no_names(host))
    return look_up(host, *arguments, **options)


socket.getaddrinfo = getaddrinfo
''',
    "test_in_process.py": """
import os
import pathlib
import socket
import sys
import dintero_claims_client
import pytest
from conftest import Forbidden
from dintero_claims_client import ClaimsClient, RetryPolicy
from shop import Shop


def test_the_wheel_is_what_is_tested():
    package = pathlib.Path(dintero_claims_client.__file__)
    assert package.is_relative_to(os.environ["INSTALLED"])
    assert os.environ["SOURCES"] not in sys.path


def test_the_network_is_forbidden():
    for address in [("192.0.2.1", 443), ("127.0.0.1", 9)]:
        with pytest.raises(Forbidden):
            socket.create_connection(address)
    with socket.socket() as plain, pytest.raises(Forbidden):
        plain.connect(("127.0.0.1", 9))
    with pytest.raises(Forbidden):
        socket.getaddrinfo("api.dintero.com", 443)


async def test_an_order(claims_client, dintero_sandbox):
    assert await Shop(claims_client).place_order("order-1") == "thank you"
    (claim,) = dintero_sandbox.ledger.assert_claimed(ref="order-1", times=1)
    assert claim.data["discounts"] == [{"id": "ten-off"}]


async def test_a_double_click(claims_client, dintero_sandbox):
    shop = Shop(claims_client)
    assert [await shop.place_order("order-1"), await shop.place_order("order-1")] == ["thank you"] * 2
    dintero_sandbox.ledger.assert_claimed(ref="order-1", times=1)


async def test_an_answer_that_is_lost(claims_client, dintero_sandbox):
    dintero_sandbox.drop_after_commit()
    dintero_sandbox.fail_next(503)
    dintero_sandbox.expire_tokens()
    assert await Shop(claims_client).place_order("order-1") == "thank you"
    dintero_sandbox.ledger.assert_claimed(ref="order-1", times=1)
    dintero_sandbox.assert_no_faults_left()


async def test_an_outage(dintero_sandbox):
    dintero_sandbox.fail_next(503, times=1000)
    retry = RetryPolicy(max_attempts=2, base_delay=0.001)
    async with ClaimsClient(**dintero_sandbox.client_settings(), retry=retry) as client:
        assert await Shop(client).place_order("order-1") == "sorry: OutcomeUnknownError"
    dintero_sandbox.ledger.assert_nothing_claimed()
""",
    "test_on_the_socket.py": """
import asyncio
import socket
import pytest
from conftest import Forbidden
from dintero_claims_client import ClaimsClient
from shop import Shop


def test_nothing_but_the_loopback_interface():
    with pytest.raises(Forbidden):
        socket.create_connection(("192.0.2.1", 443))


async def order():
    async with ClaimsClient.from_env() as client:
        return await Shop(client).place_order("order-1")


def test_by_environment(dintero_environment, dintero_sandbox):
    dintero_sandbox.drop_after_commit()
    assert asyncio.run(order()) == "thank you"
    dintero_sandbox.ledger.assert_claimed(ref="order-1", times=1)


async def test_by_injection(dintero_sandbox_server, dintero_sandbox):
    async with ClaimsClient(**dintero_sandbox_server.client_settings()) as client:
        assert await Shop(client).place_order("order-1") == "thank you"
    dintero_sandbox.ledger.assert_claimed(ref="order-1", times=1)
""",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a virtual environment with the wheel, in which the packages of this one can be imported too."""
    folder = tmp_path_factory.mktemp("installed")
    _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    _run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv/bin/python"
    site = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (wheel,) = folder.glob("*.whl")
    # All that an installer does with a wheel of Python modules, but for the scripts.
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # Files of this kind are not read in folders that come from one: the editable package stays out.
    (site / "of_this_environment.pth").write_text(
        "\n".join(path for path in sys.path if path.endswith(("site-packages", "dist-packages")))
    )
    return python, site


def _run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _tests(installed, folder, *arguments, within=(), **variables):
    """Run tests of the project; return what pytest says last."""
    python, site = installed
    for name, text in FILES.items():
        (folder / name).write_text(text.lstrip())
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    given = {"INSTALLED": str(site), "SOURCES": str(ROOT), **variables}
    output = _run(*within, python, "-m", "pytest", *arguments, cwd=folder, env=kept | given)
    return output.splitlines()[-1]


def test_in_process_without_a_network(installed, tmp_path):
    """The tests of a project that installed the wheel pass without connecting anywhere, found by pytest."""
    assert " 6 passed in " in _tests(installed, tmp_path, "test_in_process.py")


def test_in_process_where_there_is_no_network(installed, tmp_path):
    """The same where the system has no network at all, not even that of the machine itself."""
    alone = ("unshare", "--map-root-user", "--net")
    if not shutil.which(alone[0]) or subprocess.run([*alone, "true"], check=False).returncode:
        pytest.skip("the system does not let a process leave the network")
    plugins = ("-p", "dintero_claims_client.pytest_plugin", "-p", "pytest_asyncio.plugin")
    said = _tests(
        installed,
        tmp_path,
        *plugins,
        "test_in_process.py",
        within=alone,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )
    assert " 6 passed in " in said


def test_on_the_socket_without_a_network(installed, tmp_path):
    """With the server, tests connect to the loopback interface and nowhere else."""
    said = _tests(installed, tmp_path, "test_on_the_socket.py", MAY_USE_LOOPBACK="1")
    assert " 3 passed in " in said
