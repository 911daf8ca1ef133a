"""The documentation as a site: it builds strictly, needs no network, and has everything that is public."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import dintero_claims_client
from dintero_claims_client import events

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build it; any warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", folder / "doctrees", DOCS, folder / "html"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "html"


class _Loads(HTMLParser):
    """What a browser fetches to show a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video") and known.get("src"):
            self.found.append(known["src"])
        if tag == "link" and known.get("rel") not in ("canonical", "index", "search", "next", "prev"):
            self.found.append(known["href"])


def test_it_needs_no_network(site):
    """No page or style sheet takes a font, a script or a picture from elsewhere, and all of them exist."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        loads = _Loads()
        loads.feed(page.read_text())
        for url in loads.found:
            assert not re.match(r"(?:https?:)?//", url), (page.name, url)
            assert url.startswith("data:") or (page.parent / url.partition("?")[0]).resolve().exists(), url
    for sheet in site.rglob("*.css"):
        assert not re.search(r"""url\(["']?(?:https?:)?//|@import""", sheet.read_text()), sheet.name


def test_every_public_name_has_a_place(site):
    """Each name that users import is in the reference."""
    reference = "".join(page.read_text() for page in (site / "reference").glob("*.html"))
    constants = {"UNSET", "Unset", "Outcome", "__version__"}
    for name in set(dintero_claims_client.__all__) - constants:
        assert re.search(rf'id="dintero_claims_client\.(?:\w+\.)?{name}"', reference), name
    for name in events.__all__:
        assert f'id="dintero_claims_client.events.{name}"' in reference, name


def test_parameters_are_a_list(site):
    """The lines of a docstring that explain parameters are shown as a list, and not run together."""
    page = (site / "reference/client.html").read_text()
    assert re.search(r"<dt><code[^>]*><span[^>]*>max_connections</span></code></dt>\s*<dd>", page)
