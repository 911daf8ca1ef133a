"""How the commands reach the API: options go before the environment, and no option takes a secret."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from dintero_claims_client import ClaimsClient
from dintero_claims_client.cli.arguments import Flag
from dintero_claims_client.cli.exit_codes import UsageError
from dintero_claims_client.errors import ConfigurationError
from dintero_claims_client.settings import settings_from_environment


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Connection:
    """What a command was told about the API; the secret comes from the environment only."""

    account_id: Annotated[
        str | None, Parameter(help="P or T and eight digits, instead of $DINTERO_ACCOUNT_ID.")
    ] = None
    client_id: Annotated[str | None, Parameter(help="The API client, instead of $DINTERO_CLIENT_ID.")] = None
    base_url: Annotated[
        str | None, Parameter(help="The API's address with its version, instead of $DINTERO_BASE_URL.")
    ] = None
    timeout: Annotated[
        float | None, Parameter(help="Seconds for one call with all its attempts; by default 30.")
    ] = None
    # No bool that may be None too, for which shells would complete a value.
    trust_env: Annotated[Flag, Parameter(help="Go through the proxy that $HTTPS_PROXY names.")] = False

    def options(self) -> dict[str, Any]:
        """Return the client's arguments that were given as options."""
        return {
            name: value for name, value in asdict(self).items() if value is not None and value is not False
        }

    def client(self, **settings: Any) -> ClaimsClient:  # noqa: ANN401 - whatever the client takes
        """Return a client that is not open yet; raises `ConfigurationError`."""
        try:
            return ClaimsClient.from_env(**self.options(), **settings)
        except ConfigurationError as error:
            raise as_commands_say(error) from None

    def check_may_claim(self, *, live: bool) -> None:
        """Raise `UsageError` before a claim for a production account, unless `live` asks for that."""
        account_id = {**settings_from_environment(), **self.options()}.get("account_id")
        if not live and str(account_id).startswith("P"):
            raise UsageError(
                f"{account_id} is a production account, where a claim spends a customer's discount; "
                "nothing was sent. To claim there, add --live"
            )


def as_commands_say(error: ConfigurationError) -> ConfigurationError:
    """Return an error of the settings without the way out that only programs have."""
    return ConfigurationError(str(error).partition(", or allow_http=True")[0])


FROM_ENVIRONMENT = Connection()
"""No options."""
