"""What a client is made with, and from where."""

import ssl

import httpx
import pytest
from conftest import SECRET

from dintero_claims_client import ClaimsClient, ConfigurationError
from dintero_claims_client._secrets import MaskedStr, Secret, scrub
from dintero_claims_client.settings import settings_from_environment

GOOD = {"account_id": "T12345678", "client_id": "c", "client_secret": SECRET}


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(
            ("account_id", value)
            for value in [
                "",
                "T1234567",
                "T123456789",
                "X12345678",
                "t12345678",
                "T12345678\n",
                " T12345678",
                "T\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18",
                None,
                7,
            ]
        ),
        *(("client_id", value) for value in ["", "a:b", "a\nb", None, 7]),
        *(("client_secret", value) for value in ["", "a\nb", None, 7]),
        *(
            ("base_url", value)
            for value in [
                "",
                "api.dintero.com",
                "ftp://x",
                "https://",
                "https:///v1",
                "https://x:y",
                "https://x:99999",
                "https://user:pass@x",
                "https://user:1/pass@x",
                "https://x?a=b",
                "https://x?",
                "https://x#f",
                "https://x\\y/v1",
                "https://x y",
                "https://ø",
                "http://api.dintero.com/v1",
                "http://10.0.0.1",
                "http://localhost.evil.com",
                "http://[::2]",
                None,
                7,
            ]
        ),
        *(("token_url", value) for value in ["", "http://x/token", "x"]),
        *(("audience", value) for value in ["", 7]),
        *(("timeout", value) for value in [0, -1, float("nan"), float("inf"), True, "30", None]),
        *(("max_connections", value) for value in [0, -1, 1.5, True, "100", None]),
        ("retry", None),
        ("timeout", 10**400),
        ("timeout", 1e10),
        ("ssl_context", "x"),
        *((name, None) for name in ("generate_refs", "trust_env", "allow_http")),
        ("retry", 3),
        *(("proxy", value) for value in ["", "x", "socks5://x", "http://", "http://x:y", 7]),
        *(("user_agent", value) for value in ["", "a\r\nb", "ø", " x", 7]),
        *(
            (name, "a\nb")
            for name in ("system_name", "system_version", "system_plugin_name", "system_plugin_version")
        ),
        ("http_client", 7),
    ],
    ids=repr,
)
def test_a_setting_that_cannot_be(setting, value):
    """A setting that cannot be is refused at once, by its name, and the secret is in no word of it."""
    with pytest.raises(ConfigurationError, match=setting) as caught:
        ClaimsClient(**(GOOD | {setting: value}))
    assert SECRET not in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"account_id": "P00000000"},
        {"client_secret": lambda: "x"},
        {"base_url": "https://example.com:8443/a/b/"},
        {"base_url": "http://localhost:1"},
        {"base_url": "http://127.9.9.9"},
        {"base_url": "http://[::1]:80/v1"},
        {"base_url": "http://api.internal", "allow_http": True},
        {"token_url": "https://checkout.dintero.com/v1/auth"},
        {"proxy": "http://user:pass@proxy:3128", "trust_env": True},
        {"ssl_context": ssl.create_default_context()},
    ],
    ids=str,
)
def test_settings_that_can_be(settings):
    """A client can be made outside of an event loop, and makes no connection then."""
    client = ClaimsClient(**(GOOD | settings))
    assert "new" in repr(client)
    assert SECRET not in repr(client)


def test_defaults():
    """Token address and audience follow from the base URL, whose slash at the end is nothing."""
    proxied = ClaimsClient(**GOOD, proxy="http://user:proxy-secret@proxy")._settings
    assert "proxy-secret" not in repr(proxied)
    settings = ClaimsClient(**GOOD, base_url="https://x/v1/")._settings
    assert settings.base_url == "https://x/v1"
    assert settings.token_url == "https://x/v1/accounts/T12345678/auth/token"
    assert settings.audience == "https://x/v1/accounts/T12345678"
    assert ClaimsClient(**GOOD)._settings.base_url == "https://api.dintero.com/v1"


@pytest.mark.parametrize(
    "extra", [{"ssl_context": ssl.create_default_context()}, {"proxy": "http://x"}, {"trust_env": True}]
)
async def test_settings_of_the_own_engine_with_a_callers_client(extra):
    """How to connect is the business of the caller's client, so saying it here is refused."""
    async with httpx.AsyncClient() as http_client:
        with pytest.raises(ConfigurationError, match="http_client"):
            ClaimsClient(**GOOD, http_client=http_client, **extra)


def test_a_synchronous_http_client_is_refused():
    """Only an async client can be sent with."""
    with httpx.Client() as http_client, pytest.raises(ConfigurationError, match="http_client"):
        ClaimsClient(**GOOD, http_client=http_client)


def test_from_env(monkeypatch, tmp_path):
    """The environment gives the settings, and arguments go before it."""
    for name, value in {"ACCOUNT_ID": "T00000001", "CLIENT_ID": "env", "BASE_URL": "https://env/v1"}.items():
        monkeypatch.setenv(f"DINTERO_{name}", value)
    monkeypatch.setenv("DINTERO_CLIENT_SECRET", SECRET)
    settings = ClaimsClient.from_env(client_id="mine", timeout=5)._settings
    assert (
        settings.account_id,
        settings.client_id,
        settings.base_url,
        settings.timeout,
    ) == ("T00000001", "mine", "https://env/v1", 5.0)


async def test_a_secret_file_is_read_for_every_token(monkeypatch, tmp_path):
    """A secret in a file can be rotated without a restart."""
    path = tmp_path / "secret"
    path.write_text("one\n")
    found = settings_from_environment({"DINTERO_CLIENT_SECRET_FILE": str(path)})
    secret = Secret(found["client_secret"])
    assert await secret.reveal() == "one"
    path.write_text("two\n")
    assert await secret.reveal() == "two"
    path.unlink()
    with pytest.raises(ConfigurationError, match="client_secret"):
        await secret.reveal()


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"DINTERO_CLIENT_SECRET": "a", "DINTERO_CLIENT_SECRET_FILE": "b"}, "one of them"),
        ({"DINTERO_CLIENT_SECRET_FILE": "/nowhere/at/all"}, "cannot be read"),
    ],
)
def test_an_environment_that_cannot_be(environ, message):
    """Two secrets, or one that cannot be read, is said at once."""
    with pytest.raises(ConfigurationError, match=message):
        settings_from_environment(environ)


@pytest.mark.parametrize("missing", ["account_id", "client_id", "client_secret"])
def test_what_is_missing_is_named(monkeypatch, missing):
    """What the environment should have held is named as the variable to set."""
    for name, value in GOOD.items():
        if name != missing:
            monkeypatch.setenv(f"DINTERO_{name.upper()}", value)
    with pytest.raises(ConfigurationError, match=f"DINTERO_{missing.upper()}"):
        ClaimsClient.from_env()


def test_masks():
    """A masked text shows nothing in a repr; a wrapped secret in neither repr nor str, nor in a pickle."""
    import pickle

    assert MaskedStr("secret-1") == "secret-1"
    assert "secret-1" not in repr({"Authorization": MaskedStr("secret-1")})
    secret = Secret("secret-1")
    assert "secret-1" not in f"{secret!r} {secret}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert scrub(b"no secret-1 here", "secret-1", "other") == b"no [secret] here"
