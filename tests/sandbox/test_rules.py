"""The rules, on their own: accounts, tokens and claims."""

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest

from dintero_claims_client.sandbox import Client, Rules
from dintero_claims_client.sandbox.refusal import Refusal

ACCOUNT = "T12345678"


@pytest.fixture
def rules(clock):
    """Return rules whose clocks stand still and whose ids are numbered."""
    ids = itertools.count(1)
    return Rules(
        token_lifetime=100,
        monotonic=clock,
        now=lambda: datetime(2026, 11, 7, 12, 0, 0, 250_000, timezone(timedelta(hours=1))),
        new_id=lambda: f"id-{next(ids)}",
    )


@pytest.fixture
def client(rules):
    """Return the credentials of the account."""
    return rules.add_account(ACCOUNT)


@pytest.fixture
def grant(rules, client):
    """Return the right to claim for the account."""
    return rules.authenticate(rules.issue_token(client, owner_id=ACCOUNT, account_id=ACCOUNT))


def refused(status, step, *args, **kwargs) -> Refusal:
    """Assert that a step is refused with a status."""
    with pytest.raises(Refusal) as caught:
        step(*args, **kwargs)
    assert status == caught.value.status
    return caught.value


def test_client_credentials(rules, client):
    """Only the id and the secret together are a client."""
    assert client == rules.check_client(client.client_id, client.client_secret)
    for client_id, secret in [
        (client.client_id, "wrong"),
        (client.client_id, ""),
        (client.client_id, "ø"),
        ("unknown", client.client_secret),
        ("", ""),
    ]:
        refusal = refused(401, rules.check_client, client_id, secret)
        assert refusal.headers == {"WWW-Authenticate": "Basic"}


def test_each_account_has_credentials_of_its_own(rules, client):
    """A client reaches no account that was not opened for it."""
    other = rules.add_account("T00000002")
    assert client.client_id != other.client_id
    assert client.client_secret != other.client_secret
    refused(403, rules.issue_token, client, owner_id=ACCOUNT, account_id="T00000002")
    refused(403, rules.issue_token, client, owner_id="T00000002", account_id=ACCOUNT)
    refused(403, rules.issue_token, client, owner_id=ACCOUNT, account_id="T99999999")


def test_a_client_may_have_several_accounts(rules, client):
    """A partner's client gets tokens for its merchants, through its own account or theirs."""
    assert client is rules.add_account("P00000001", client=client)
    for owner_id, account_id in itertools.product((ACCOUNT, "P00000001"), repeat=2):
        token = rules.issue_token(client, owner_id=owner_id, account_id=account_id)
        assert account_id == rules.authenticate(token).account_id


def test_credentials_can_be_chosen(rules):
    """A client that a test brings is taken as it is."""
    rules.add_account(ACCOUNT, client=Client("id", "secret"))
    assert rules.check_client("id", "secret").client_id == "id"


def test_a_token_expires_when_it_should(rules, client, clock):
    """A token is good until its lifetime is over, and not a moment longer."""
    token = rules.issue_token(client, owner_id=ACCOUNT, account_id=ACCOUNT)
    clock.seconds += 99.999
    assert rules.authenticate(token).account_id == ACCOUNT
    clock.seconds += 0.001
    refusal = refused(401, rules.authenticate, token)
    assert refusal.headers == {"WWW-Authenticate": "Bearer"}


def test_unknown_and_revoked_tokens(rules, client):
    """A token that was never issued, or was taken back, is good for nothing."""
    refused(401, rules.authenticate, "unknown")
    refused(401, rules.authenticate, "")
    token = rules.issue_token(client, owner_id=ACCOUNT, account_id=ACCOUNT)
    rules.revoke_token(token)
    rules.revoke_token("unknown")
    refused(401, rules.authenticate, token)


def test_counts_issued_tokens_only(rules, client):
    """A refused token request issues nothing."""
    rules.issue_token(client, owner_id=ACCOUNT, account_id=ACCOUNT)
    refused(403, rules.issue_token, client, owner_id=ACCOUNT, account_id="T00000002")
    assert rules.tokens_issued == 1


def test_fills_the_fields_of_the_server(rules, client, grant):
    """A claim is what was sent, and who took it and when, in UTC."""
    claim = rules.claim(grant, {"customer_id": "c", "ref": "r"})
    assert {
        "id": "id-1",
        "customer_id": "c",
        "ref": "r",
        "created_at": "2026-11-07T11:00:00.250Z",
        "created_by": client.client_id,
        "updated_at": "2026-11-07T11:00:00.250Z",
        "deleted_by": None,
        "deleted_at": None,
    } == claim.data
    assert (claim.id, claim.ref) == ("id-1", "r")


def test_a_ref_is_unique_in_its_account(rules, grant):
    """A ref is taken once in an account, and is free in another."""
    rules.claim(grant, {"ref": "r"})
    refused(409, rules.claim, grant, {"ref": "r"})
    other = rules.issue_token(rules.add_account("T00000002"), owner_id="T00000002", account_id="T00000002")
    rules.claim(rules.authenticate(other), {"ref": "r"})
    assert [claim.account_id for claim in rules.claims] == [ACCOUNT, "T00000002"]


def test_claims_without_ref_are_all_taken(rules, grant):
    """Nothing tells two claims without ref apart, so both are taken."""
    assert rules.claim(grant, {}).id != rules.claim(grant, {}).id
    assert [claim.ref for claim in rules.claims] == [None, None]


def test_get(rules, grant):
    """A claim is found by its id, in its own account."""
    claim = rules.claim(grant, {})
    assert claim is rules.get_claim(ACCOUNT, claim.id)
    refused(404, rules.get_claim, ACCOUNT, "unknown")
    refused(404, rules.get_claim, "T00000002", claim.id)


def test_a_deleted_claim_keeps_its_ref(rules, grant):
    """A deleted claim says so, stays readable, and its ref stays taken."""
    claim = rules.claim(grant, {"ref": "r"})
    rules.delete_claim(claim.id)
    assert claim.data["deleted_at"] == claim.data["updated_at"] == "2026-11-07T11:00:00.250Z"
    assert grant.client_id == claim.data["deleted_by"]
    assert [claim] == rules.list_claims(ACCOUNT, limit=10)
    refused(409, rules.claim, grant, {"ref": "r"})


@pytest.mark.parametrize(("order", "expected"), [("newest", "54321"), ("oldest", "12345")])
@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6])
def test_pages_cover_all_claims_once(order, expected, limit):
    """Following the cursor gives every claim once, in order, whatever the size of a page."""
    rules = Rules(order=order)
    client = rules.add_account(ACCOUNT)
    grant = rules.authenticate(rules.issue_token(client, owner_id=ACCOUNT, account_id=ACCOUNT))
    for ref in "12345":
        rules.claim(grant, {"ref": ref})
    seen, cursor = [], None
    while page := rules.list_claims(ACCOUNT, limit=limit, starting_after=cursor):
        assert limit >= len(page)
        seen += [claim.ref for claim in page]
        cursor = page[-1].id
    assert list(expected) == seen


def test_new_claims_do_not_move_a_page(rules, grant):
    """The page after a cursor stays the same while claims are taken, in the order from the newest."""
    first, second, third = (rules.claim(grant, {}) for _ in range(3))
    assert [third] == rules.list_claims(ACCOUNT, limit=1)
    fourth = rules.claim(grant, {})
    assert [second, first] == rules.list_claims(ACCOUNT, limit=2, starting_after=third.id)
    assert [fourth] == rules.list_claims(ACCOUNT, limit=1)


def test_a_cursor_is_a_claim_of_the_account(rules, grant):
    """A cursor that is no claim of the account is refused."""
    refused(400, rules.list_claims, ACCOUNT, limit=1, starting_after="unknown")
    claim = rules.claim(grant, {})
    rules.add_account("T00000002")
    refused(400, rules.list_claims, "T00000002", limit=1, starting_after=claim.id)
    assert rules.list_claims("T00000002", limit=1) == []


@pytest.mark.parametrize("wrong", [{"token_lifetime": 0}, {"token_lifetime": -1}, {"order": "random"}])
def test_refuses_wrong_settings(wrong):
    """A lifetime is positive, and an order is one of two."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Rules(**wrong)


def test_defaults_make_fresh_ids_tokens_and_times():
    """Without injected makers, ids and tokens are unique and the time is now."""
    rules = Rules()
    client = rules.add_account(ACCOUNT)
    tokens = {rules.issue_token(client, owner_id=ACCOUNT, account_id=ACCOUNT) for _ in range(10)}
    grant = rules.authenticate(tokens.pop())
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    claims = [rules.claim(grant, {}) for _ in range(10)]
    assert len(tokens) == 9
    assert len({claim.id for claim in claims}) == 10
    assert before <= datetime.fromisoformat(claims[0].data["created_at"]) <= datetime.now(UTC)
