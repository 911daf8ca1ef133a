"""The package: its names, its extra, and its secrets."""

import importlib
import logging
import sys

import pytest

from dintero_claims_client import sandbox as package
from dintero_claims_client.sandbox import FaultPlan, Sandbox, SandboxServer


def test_public_names_are_sorted_and_there():
    """What is promised exists, in order."""
    assert package.__all__ == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


def without_package(monkeypatch, missing: str) -> None:
    """Make a module missing, and forget the sandbox so that it is imported anew."""
    for name in [name for name in sys.modules if name.startswith(package.__name__)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)


@pytest.mark.parametrize("missing", ["jsonschema_rs", "starlette.routing", "uvicorn", "yaml"])
def test_a_missing_extra_says_what_to_install(monkeypatch, missing):
    """Without a package of the extra, the import names the command that helps."""
    without_package(monkeypatch, missing)
    with pytest.raises(ImportError, match=r"pip install 'dintero-claims-client\[sandbox\]'"):
        importlib.import_module(package.__name__)


def test_another_missing_module_is_not_called_an_extra(monkeypatch):
    """A module of ours that is missing shows as what it is."""
    without_package(monkeypatch, f"{package.__name__}.ledger")
    with pytest.raises(ModuleNotFoundError, match="ledger"):
        importlib.import_module(package.__name__)


async def test_secrets_are_in_no_repr_and_no_log(open_api, caplog):
    """Neither the client's secret nor a token shows in a repr, a log, the ledger or an answer."""
    caplog.set_level(logging.DEBUG)
    sandbox = Sandbox(faults=FaultPlan(rate=0.2))
    api = await open_api(sandbox).log_in()
    token = api.authorization["Authorization"].removeprefix("Bearer ")
    sandbox.fail_next(503)
    answers = [(await api.claim()).text, (await api.ask_token(audience=token)).text]
    sandbox.expire_tokens()
    answers += [(await api.claim()).text, (await api.http.get("http://localhost/__sandbox__/ledger")).text]
    parts = [sandbox, sandbox.client, sandbox.rules, sandbox.ledger, sandbox.faults, sandbox.app]
    seen = [repr(part) for part in parts] + answers + [record.getMessage() for record in caplog.records]
    seen.append(repr(SandboxServer(sandbox)))
    assert sandbox.client_id in repr(sandbox)
    for secret in (sandbox.client_secret, token):
        assert not [text for text in seen if secret in text]


@pytest.mark.parametrize("account_id", ["", "12345678", "X12345678"])
def test_an_account_id_has_a_form(account_id):
    """An account that no request could reach is refused where it is opened."""
    with pytest.raises(ValueError, match="account id"):
        Sandbox(account_id)


def test_sandboxes_share_nothing():
    """Each sandbox has credentials of its own."""
    first, second = Sandbox(), Sandbox("P12345678")
    assert first.client_id != second.client_id
    assert first.client_secret != second.client_secret
    assert (first.account_id, second.account_id) == ("T12345678", "P12345678")
