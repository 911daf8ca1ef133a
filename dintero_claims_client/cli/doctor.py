"""The command `doctor`: the settings in use, and all that can be looked at of whether they work.

It reads one claim at most, and claims nothing. What was looked at before tells why the rest is skipped.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from dintero_claims_client import RetryPolicy
from dintero_claims_client.cli.connection import Connection, as_commands_say
from dintero_claims_client.cli.doctor_api import ExaminedClient, ask_api, not_asked
from dintero_claims_client.cli.doctor_clock import check_clock
from dintero_claims_client.cli.doctor_contract import check_contract
from dintero_claims_client.cli.doctor_journal import check_journal
from dintero_claims_client.cli.doctor_network import Server, check_way, environment_proxy
from dintero_claims_client.cli.doctor_probe import Probe, ask
from dintero_claims_client.cli.doctor_report import Check, write_report
from dintero_claims_client.cli.doctor_settings import (
    Known,
    base_url,
    check_environment,
    check_secret,
    check_settings,
    known_settings,
    list_settings,
)
from dintero_claims_client.cli.doctor_tls import Certificate, check_tls
from dintero_claims_client.errors import ConfigurationError

_LONGEST = 10.0
"""Seconds for each step of the way to the server at most; who looks for what is wrong does not wait long."""


async def doctor(connection: Connection, journal: Path | None, *, as_json: bool) -> int:
    """Show the settings, try them, and return the exit code of what is wrong first."""
    known = known_settings(connection)
    checks = await _examine(connection, known, journal)
    return write_report(list_settings(connection, known), checks, as_json=as_json)


async def _examine(connection: Connection, known: Known, journal: Path | None) -> list[Check]:
    client, wrong = None, None
    try:
        # One attempt: who waits for an answer wants the first one.
        client = ExaminedClient.from_env(**connection.options(), retry=RetryPolicy(max_attempts=1))
    except ConfigurationError as error:
        wrong = as_commands_say(error)
    settings, secret = check_settings(known, wrong), check_secret(known)
    server = Server.of(base_url(known))
    road, probe, certificate = await _examine_road(connection, server)
    blocked = next((check.name for check in [settings, secret, *road] if check.status == "failed"), None)
    if client is None or blocked is not None:
        answered = not_asked(f"see {blocked}")
    else:
        answered = await ask_api(client)
    proxy, network, tls = road
    account_id = known.get("account_id")
    return [
        settings,
        secret,
        check_environment(known, server),
        proxy,
        check_clock(probe.ahead, certificate, datetime.now(UTC)),
        network,
        tls,
        *answered.checks,
        check_contract(answered.claims, answered.error, probe.contract),
        check_journal(journal, account_id),
    ]


async def _examine_road(
    connection: Connection, server: Server | None
) -> tuple[tuple[Check, Check, Check], Probe, Certificate | None]:
    """Look at the proxy, the network and TLS, and ask what the server says without credentials."""
    if server is None:
        reason = "base_url names no server"
        proxy, network, tls = (Check(name, reason, "skipped") for name in ("proxy", "network", "TLS"))
        return (proxy, network, tls), Probe(), None
    seconds = _LONGEST
    if connection.timeout is not None and 0 < connection.timeout < seconds:
        seconds = connection.timeout
    named, trusted = environment_proxy(server), bool(connection.trust_env)
    proxy, network = await check_way(server, named, trust_env=trusted, seconds=seconds)
    if "failed" in (proxy.status, network.status):
        failed = proxy if proxy.status == "failed" else network
        if network.status != "failed":
            network = Check("network", f"see {failed.name}", "skipped")
        return (proxy, network, Check("TLS", f"see {failed.name}", "skipped")), Probe(), None
    used = named if trusted else None
    tls, certificate = await check_tls(server, used, seconds=seconds)
    if tls.status == "failed":
        return (proxy, network, tls), Probe(), certificate
    return (proxy, network, tls), await ask(server, used, seconds=seconds), None
