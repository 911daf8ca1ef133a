"""The public Python surface: compare it with the one that is checked in, or write that anew.

Exit codes: 0 = the same, or written; 1 = it differs, and how is on stdout.
"""

import argparse
import sys
from pathlib import Path

from contract import surface

ROOT = Path(__file__).resolve().parent.parent
SNAPSHOT = "openapi/surface.txt"


def main() -> int:
    """Read the arguments."""
    parser = argparse.ArgumentParser(prog="scripts/surface.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="make this the surface that is checked in")
    options = parser.parse_args()
    snapshot = ROOT / SNAPSHOT
    before = surface.read(snapshot.read_text(encoding="utf-8")) if snapshot.exists() else {}
    after = surface.surface(ROOT)
    said = surface.differences(before, after)
    for one in said:
        print(one)
    if options.write:
        snapshot.write_text(surface.shown(after), encoding="utf-8")
        return 0
    if said:
        print("\nIf that is meant: scripts/surface.py --write, and an entry in CHANGELOG.md", file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
