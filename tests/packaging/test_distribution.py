"""What is released: the archives hold what they should and nothing else, and work without the source tree."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from dintero_claims_client import __version__

ROOT = Path(__file__).resolve().parents[2]
NAME = "dintero_claims_client"
KEPT_OUT = {".git", ".venv", "__pycache__", "_build", "dist"}


@pytest.fixture(scope="module")
def folder():
    """Return a folder of our own: the tests in it hold what no other test may leave behind."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def archives(folder):
    """Build an sdist of a copy of the tree, and the wheel from that sdist, as an index would."""
    shutil.copytree(ROOT, folder / "tree", ignore=shutil.ignore_patterns(*KEPT_OUT, ".*_cache"))
    _build(folder / "tree", "sdist", folder)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    shutil.rmtree(folder / "tree")
    _build(unpacked, "wheel", folder)
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def _build(tree, target, folder):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder],
        check=True,
        capture_output=True,
        cwd=tree,
    )


def test_the_wheel_holds_the_package_and_nothing_else(archives):
    """All modules of the package, the contract, the types marker and the licence are in it; no test is."""
    _, wheel = archives
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f"{NAME}-{__version__}.dist-info"
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / NAME).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    contract = {f"{NAME}/sandbox/discounts.yaml"}
    about = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    told = {f"{info}/{name}" for name in about}
    assert names == package | contract | told
    assert f"{NAME}/py.typed" in names
    assert not [name for name in names if "test" in name and "pytest_plugin" not in name]


def test_the_sdist_can_be_worked_with(archives):
    """It has the sources of everything: contract, scripts, tests, examples, docs and pinned packages."""
    sdist, _ = archives
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    for name in (
        "openapi/discounts.yaml", "generator-config.yml", "scripts/regenerate.sh", "scripts/bootstrap.sh",
        "tests/conftest.py", "examples/README.md", "docs/conf.py", "constraints.txt", "README.md",
        "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "benchmarks/README.md",
    ):  # fmt: skip
        assert name in names, name
    assert not [name for name in names if KEPT_OUT & set(Path(name).parts)]


def test_the_metadata(archives):
    """It says which Python, which packages and which extras it needs, and none by its address."""
    _, wheel = archives
    told = BytesParser().parsebytes(zipfile.ZipFile(wheel).read(f"{NAME}-{__version__}.dist-info/METADATA"))
    assert (told["Name"], told["Version"]) == ("dintero-claims-client", __version__)
    assert str(Version(__version__)) == __version__
    assert told["Requires-Python"] == ">=3.11"
    assert told["License-Expression"] == "MIT"
    assert told["Description-Content-Type"] == "text/markdown"
    assert set(told.get_all("Provides-Extra")) == {"cli", "sandbox", "pytest", "otel"}
    needed = [Requirement(one) for one in told.get_all("Requires-Dist")]
    assert {one.name for one in needed if one.marker is None} == {"aiohttp", "attrs", "httpx"}
    assert all(one.url is None for one in needed)
    assert "Typing :: Typed" in told.get_all("Classifier")


def test_what_is_installed_works_without_the_source_tree(archives, folder):
    """Tests pass on the wheel alone: nothing of the checkout is on the path."""
    _, wheel = archives
    installed, elsewhere = folder / "installed", folder / "elsewhere"
    # What pip does with a wheel that has nothing but files.
    shutil.unpack_archive(wheel, installed, "zip")
    shutil.copytree(ROOT / "tests", elsewhere / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", elsewhere)
    (elsewhere / "where.py").write_text(f"import {NAME}\nprint({NAME}.__file__)\n")
    environment = {**os.environ, "PYTHONPATH": str(installed)}

    def run(*command):
        return subprocess.run(
            [sys.executable, *command],
            check=False,
            capture_output=True,
            text=True,
            cwd=elsewhere,
            env=environment,
        )

    assert run("where.py").stdout.strip() == str(installed / NAME / "__init__.py")
    done = run("-m", "pytest", "-q", "tests/client/test_claim.py", "-k", "taken or settled or list")
    assert done.returncode == 0, done.stdout[-2000:]
    assert re.search(r"[1-9]\d* passed", done.stdout)
