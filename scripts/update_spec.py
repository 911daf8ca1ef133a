"""Bring what the provider has changed into the contract, and say what that means.

SOURCE is a whole specification (Swagger 2.0 or OpenAPI 3), or a documentation page with a slice of one. The
operations on claims are cut out of it into openapi/upstream/, and what has changed there is merged into
openapi/discounts.yaml, where what we changed on purpose stays. The report goes to stdout and into a file.

Exit codes: 0 = nothing that callers could notice, 1 = compatible, 2 = breaking; 3 = the document cannot be
used (it lacks a path, or refers to what is not in it), and nothing is changed; 4 = a failure of this script
itself, which says nothing of the document.
"""

import argparse
import datetime
import io
import json
import re
import sys
import traceback
from pathlib import Path
from typing import Any

import yaml
from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError
from referencing.exceptions import Unresolvable
from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from contract import changes, deviations, documents, extract, merge, report, swagger2

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = ROOT / "openapi" / "discounts.yaml"
UPSTREAM = ROOT / "openapi" / "upstream" / "discounts.yaml"
VERSION = ROOT / "dintero_claims_client" / "_version.py"
REFUSED, CRASHED = 3, 4

HEADER = """\
# The operations as the provider states them. Written by scripts/update_spec.py; not to be edited.
"""


def _as_openapi_3(document: dict[str, Any]) -> dict[str, Any]:
    return swagger2.converted(document) if documents.is_swagger(document) else document


def update(source: Path, today: str, reported: Path) -> tuple[str, int]:
    """Do all of it; return the report and the exit code. Raises before anything is changed, or not at all."""
    text = CONTRACT.read_text(encoding="utf-8")
    old = documents.read_document(CONTRACT)
    ours_paths = list(old["paths"])
    before = _as_openapi_3(documents.read_document(UPSTREAM))
    given, is_page = documents.read_source(source)
    if is_page:
        # It has one operation; the others are as they were.
        cut = after = extract.graft(before, _as_openapi_3(extract.whole(given)), ours_paths)
    else:
        cut = extract.extract(given, ours_paths)
        after = _as_openapi_3(cut)
    _validate(after, str(source))

    rounds = _round_trip()
    contract = rounds.load(text)
    merged = merge.merge(before, after, contract, ours_paths)
    if merged.followed:
        contract["info"]["version"] = DoubleQuotedScalarString(today)
    made = io.StringIO()
    rounds.dump(contract, made)
    new = documents.parse(made.getvalue())
    if new is None:
        raise documents.DocumentError("the merged contract cannot be read")
    _validate(new, str(CONTRACT))

    (version,) = re.findall(r'^__version__ = "(.+)"$', VERSION.read_text(encoding="utf-8"), re.MULTILINE)
    ours, theirs = changes.compare(old, new), changes.compare(before, after)
    said = report.report(
        ours,
        theirs,
        [str(one) for one in merged.conflicts],
        deviations.problems(after, new, ours_paths),
        version=version,
    )
    # First: where it cannot be written, nothing is changed.
    reported.write_text(said, encoding="utf-8")
    if made.getvalue() != text:
        _write(CONTRACT, made.getvalue())
    if cut != documents.read_document(UPSTREAM):
        # By way of JSON, where what is in two places is two: YAML would write it once, with an anchor.
        own = json.loads(json.dumps(cut))
        _write(UPSTREAM, HEADER + yaml.safe_dump(own, sort_keys=False, allow_unicode=True, width=110))
    return said, int(max(report.level(ours), report.level(theirs)))


def _round_trip() -> YAML:
    """Return what reads and writes the contract in its own form."""
    rounds = YAML()
    rounds.preserve_quotes = True
    rounds.width = 110
    rounds.indent(mapping=2, sequence=4, offset=2)
    return rounds


def _validate(document: dict[str, Any], name: str) -> None:
    try:
        validate(document)
    except OpenAPIValidationError as error:
        raise documents.DocumentError(f"{name}: is not valid: {error}") from None
    except Unresolvable as error:
        raise documents.DocumentError(f"{name}: {error.ref}: refers to nothing") from None
    except RecursionError:
        raise documents.DocumentError(f"{name}: has a schema that is made of itself") from None


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole."""
    # Not a temporary file, which would be for its owner only.
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def main() -> int:
    """Read the arguments, and turn refusals into exit code 3."""
    parser = argparse.ArgumentParser(
        prog="scripts/update_spec.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument(
        "--report", type=Path, default=ROOT / "contract-change.md", help="where the report goes beside stdout"
    )
    parser.add_argument(
        "--date",
        default=datetime.datetime.now(datetime.UTC).date().isoformat(),
        help="the version of a contract that changes; by default today",
    )
    options = parser.parse_args()
    try:
        said, code = update(options.source, options.date, options.report)
        print(said, end="", flush=True)
    except (documents.DocumentError, extract.MissingPathError) as error:
        print(f"scripts/update_spec.py: {error}", file=sys.stderr)
        return REFUSED
    except Exception:  # noqa: BLE001 - Python's own exit code for a crash is 1, which here means compatible
        traceback.print_exc()
        return CRASHED
    return code


if __name__ == "__main__":
    sys.exit(main())
