"""The package imports its parts when they are asked for: pytest loads the plugin in every project."""

import ast
import inspect
import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import dintero_claims_client as package

NAME = "dintero_claims_client"
SUBMODULES = ("batch", "client", "errors", "events", "health", "journal", "models", "outcomes", "settings")
HEAVY = ("aiohttp", "anyio", "asyncio", "attr", "attrs", "httpx", "sqlite3", "ssl", "starlette", "yaml")


def _in_a_new_process(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_package_alone_imports_nothing():
    """A bare import brings in no module of the package, and nothing that claiming needs."""
    assert _in_a_new_process(
        f"import sys, {NAME}; print(*[name for name in sys.modules if name in {HEAVY} or '{NAME}' in name])"
    ) == [NAME]


def test_the_table_agrees_with_what_type_checkers_see():
    """Each public name stands in the imports for type checkers and in the table, with the same module."""
    tree = ast.parse(Path(package.__file__).read_text())
    checked = {
        alias.asname or alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        for alias in node.names
    }
    assert checked == package._MODULES
    assert sorted(checked) == sorted(package.__all__)


def test_type_checkers_do_not_see_that_any_name_can_be_asked_for():
    """For them a function `__getattr__` would make every misspelt name good."""
    (hidden,) = [
        block
        for block in ast.parse(Path(package.__file__).read_text()).body
        if "def __getattr__" in ast.unparse(block)
    ]
    assert isinstance(hidden, ast.If)
    assert ast.unparse(hidden.test) == "not TYPE_CHECKING"


@pytest.mark.parametrize("name", package.__all__)
def test_each_name_is_what_its_module_has(name):
    """A name of the package is the very object that its module has, and is looked for once."""
    there = getattr(import_module(f"{NAME}.{package._MODULES[name]}"), name)
    # Another test may have asked for it.
    vars(package).pop(name, None)
    assert getattr(package, name) is there
    assert vars(package)[name] is there


@pytest.mark.parametrize("module", SUBMODULES)
def test_public_modules_are_attributes(module):
    """After importing the package alone, its public modules can be used as its attributes."""
    assert _in_a_new_process(f"import {NAME}; print({NAME}.{module}.__name__)") == [f"{NAME}.{module}"]


def test_all_names_at_once():
    """A star import gives every public name, and no other."""
    names = _in_a_new_process(
        f"before = set(globals())\nfrom {NAME} import *\nprint(*(set(globals()) - before - {{'before'}}))"
    )
    assert sorted(names) == sorted(package.__all__)


def test_dir_lists_what_was_not_asked_for_yet():
    """All public names and modules are listed, so that completion finds them."""
    listed = _in_a_new_process(f"import {NAME}; print(*dir({NAME}))")
    assert {*package.__all__, *SUBMODULES, "__doc__", "__file__"} <= set(listed)
    assert listed == sorted(listed)


def test_a_name_that_there_is_not():
    """Another name is refused in the usual words, with a suggestion in the traceback."""
    with pytest.raises(AttributeError, match=rf"^module '{NAME}' has no attribute 'ClaimClient'$") as caught:
        _ = package.ClaimClient
    assert (caught.value.name, caught.value.obj) == ("ClaimClient", package)
    done = subprocess.run(
        [sys.executable, "-c", f"from {NAME} import ClaimClient"], capture_output=True, text=True, check=False
    )
    assert f"ImportError: cannot import name 'ClaimClient' from '{NAME}'" in done.stderr


def test_classes_are_at_home_in_their_modules():
    """Pickling and inspecting see where a class is defined, whatever name it was imported by."""
    classes = [value for name in package.__all__ if inspect.isclass(value := getattr(package, name))]
    assert len(classes) > 20
    for cls in classes:
        assert pickle.loads(pickle.dumps(cls)) is cls
        assert inspect.getmodule(cls) is sys.modules[cls.__module__] is not package


def test_a_name_can_be_replaced_for_a_test(monkeypatch):
    """A name that is patched, and given back, is the old one again."""
    real = package.RetryPolicy
    monkeypatch.setattr(package, "RetryPolicy", object)
    assert package.RetryPolicy is object
    monkeypatch.undo()
    assert package.RetryPolicy is real
