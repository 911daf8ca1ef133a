"""The command `dintero-claims`: results on stdout, everything else on stderr, and honest exit codes."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from dintero_claims_client.cli import exit_codes, output
from dintero_claims_client.cli.exit_codes import CommandError, UsageError
from dintero_claims_client.errors import ClaimsError

if TYPE_CHECKING:
    from cyclopts import CycloptsError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with these arguments, by default the process's, and return its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    as_json = "--json" in arguments
    output.replace_closed_streams()
    output.tolerate_any_text()
    try:
        try:
            code = _run(arguments)
        except (ClaimsError, CommandError) as error:
            output.write_error(error, as_json=as_json)
            code = exit_codes.exit_code(error)
        except KeyboardInterrupt:
            output.write_error(exit_codes.Interrupted("interrupted"), as_json=as_json)
            code = exit_codes.INTERRUPTED
        # Here and not when Python ends, where a closed pipe would be reported as an ignored exception.
        output.flush()
    except BrokenPipeError:
        _discard_output()
        return exit_codes.FAILED
    return code


def _run(arguments: Sequence[str]) -> int:
    for package in ("cyclopts", "rich"):
        if find_spec(package) is None:
            raise UsageError(
                f"the command needs the package {package}: pip install 'dintero-claims-client[cli]'"
            )
    from cyclopts import CycloptsError, UnusedCliTokensError

    from dintero_claims_client.cli.app import app

    try:
        # None is what cyclopts returns for --help and --version.
        return app(arguments) or exit_codes.DONE
    except UnusedCliTokensError as error:
        # cyclopts would show them, and a secret that was tried as an argument may be among them.
        raise UsageError(f"there are too many arguments. {_help(error)}") from error
    except CycloptsError as error:
        raise UsageError(f"{error} {_help(error)}") from error


def _help(error: CycloptsError) -> str:
    """Return where to read how the command that was meant is used."""
    return f"See {' '.join(('dintero-claims', *(error.command_chain or ()), '--help'))}"


def _discard_output() -> None:
    """Let what is still buffered go nowhere: whoever read it is gone, and wants no word about that."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        # A stream that is no file has no pipe behind it.
        with contextlib.suppress(OSError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
