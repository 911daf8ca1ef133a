"""Docstrings as the site shows them: lines on parameters become a list, and what is indented an example.

In the source a parameter is a plain line, `name: what it is`, which reStructuredText would run together.
"""

from __future__ import annotations

import inspect
import re

from sphinx.application import Sphinx

_EXPLAINED = re.compile(r"(?P<names>[a-z_]+(?:(?:, | … )[a-z_]+)*): (?P<what>.*)")


def _listed(_app: Sphinx, _what: str, _name: str, obj: object, _options: object, lines: list[str]) -> None:
    parameters = _parameters(obj)
    made: list[str] = []
    within = in_code = False
    for line in lines:
        found = _EXPLAINED.fullmatch(line)
        if found and not line.startswith(" ") and re.split(", | … ", found["names"])[0] in parameters:
            if not within:
                made.append("")
            names = ", ".join(f"``{name}``" for name in found["names"].split(", "))
            made += [names.replace(" … ", "`` … ``"), f"    {found['what']}"]
            within = True
        elif within and line and not re.match("(Raises|Returns) ", line):
            made.append(f"    {line}")
        else:
            if within and line:
                made.append("")
            if line.startswith("    ") and not within and made and not made[-1]:
                # An example: code, and no quotation.
                made += ["::", ""] if not in_code else []
                in_code = True
            elif line:
                in_code = False
            within = False
            made.append(line)
    lines[:] = made


def _parameters(obj: object) -> set[str]:
    try:
        return set(inspect.signature(obj).parameters)  # type: ignore[arg-type] # whatever is documented
    except (TypeError, ValueError):
        return set()


def setup(app: Sphinx) -> dict[str, object]:
    """Register it."""
    app.connect("autodoc-process-docstring", _listed)
    return {"parallel_read_safe": True}
