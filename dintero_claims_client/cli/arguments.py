"""Kinds of arguments that several commands have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token


def _whole(_type: object, tokens: Sequence[Token]) -> int:
    # By itself cyclopts rounds 1.5 to 2, and nobody who asks for so many claims means that.
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError("It must be a whole number.") from None


def _check_share(_type: object, value: float) -> None:
    # Written so that it refuses NaN too.
    if not 0 <= value <= 1:
        raise ValueError("It must be between 0 and 1.")


def _check_positive(_type: object, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError("It must be 1 or more.")


def _check_natural(_type: object, value: int) -> None:
    if value < 0:
        raise ValueError("It must be 0 or more.")


def _check_positive_number(_type: object, value: float | None) -> None:
    if value is not None and not 0 < value < math.inf:
        raise ValueError("It must be a number above 0.")


def _check_port(_type: object, value: int) -> None:
    if not 0 <= value <= 65_535:
        raise ValueError("It must be between 0 and 65535.")


def as_arguments(options: Mapping[str, Any]) -> list[str]:
    """Return options by their names as a command is given them."""
    arguments: list[str] = []
    for name, value in options.items():
        arguments.append(f"--{name.replace('_', '-')}")
        if value is not True:
            # 200 and not 200.0, as it was given.
            whole = isinstance(value, float) and value.is_integer()
            arguments.append(str(int(value) if whole else value))
    return arguments


Json = Annotated[
    bool, Parameter(name="--json", help="Print JSON; errors too, on stderr.", show_default=False)
]
Flag = Annotated[bool, Parameter(show_default=False)]
Share = Annotated[float, Parameter(validator=_check_share)]
Whole = Annotated[int, Parameter(converter=_whole)]
Natural = Annotated[int, Parameter(converter=_whole, validator=_check_natural)]
Positive = Annotated[int, Parameter(converter=_whole, validator=_check_positive)]
PositiveNumber = Annotated[float, Parameter(validator=_check_positive_number)]
Port = Annotated[int, Parameter(converter=_whole, validator=_check_port)]
# A path and no text, because then shells complete the names of files.
File = Annotated[Path, Parameter(allow_leading_hyphen=True)]
