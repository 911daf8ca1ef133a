"""The public Python surface as text, and how two of them differ in words.

A line for each public name, as the source has it: of a class its bases, fields, methods and properties, of a
function its parameters and what it returns. Read from the source, because how Python shows a signature is
another in each version.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = "dintero_claims_client"
MODULES = ("", "models", "errors", "outcomes", "batch", "journal", "events", "health", "sandbox")
"""What users import from."""

_SPECIAL = frozenset(("__init__", "__aenter__", "__aexit__", "__aiter__", "__anext__"))
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def surface(root: Path) -> dict[str, str]:
    """Return what each public name of the package below a folder is, by the name users have for it."""
    found: dict[str, str] = {}
    seen: set[tuple[Path, str]] = set()
    for module in MODULES:
        path = _file(root, module)
        for name in sorted(_exported(path)):
            where, defined, node = _definition(root, path, name)
            # Most are exported from two places; the first is what people use.
            if (where, defined) in seen:
                continue
            seen.add((where, defined))
            at = f"{module}.{name}".removeprefix(".")
            found.update(_described(at, node))
    return found


def shown(names: Mapping[str, str]) -> str:
    """Return a surface as the file that is checked in."""
    return "".join(f"{name}: {what}\n" for name, what in names.items())


def read(text: str) -> dict[str, str]:
    """Return the surface that a file shows."""
    return dict(line.split(": ", 1) for line in text.splitlines() if line)


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Say in words how one surface differs from another."""
    said = [f"{name} is gone; it was: {before[name]}" for name in before if name not in after]
    said += [f"{name} is new: {after[name]}" for name in after if name not in before]
    said += [
        f"{name} was: {was}\n{' ' * len(name)} and is: {after[name]}"
        for name, was in before.items()
        if after.get(name, was) != was
    ]
    return said


def _file(root: Path, module: str) -> Path:
    path = root.joinpath(PACKAGE, *module.split(".")) if module else root / PACKAGE
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _exported(path: Path) -> list[str]:
    for node in _tree(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    raise ValueError(f"{path}: has no __all__")


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _definition(root: Path, path: Path, name: str) -> tuple[Path, str, ast.stmt]:
    """Return where a name is defined, and what it is called there."""
    tree = _tree(path)
    for node in tree.body:
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef() if node.name == name:
                return path, name, node
            case ast.Assign() if ast.unparse(node.targets[0]) == name:
                return path, name, node
            case ast.AnnAssign() if ast.unparse(node.target) == name:
                return path, name, node
            case _:
                pass
    # Imports may be in a `try`.
    for imported in ast.walk(tree):
        if isinstance(imported, ast.ImportFrom):
            for alias in imported.names:
                if (alias.asname or alias.name) == name:
                    return _definition(root, _file(root, _imported(root, path, imported)), alias.name)
    raise ValueError(f"{path}: exports {name}, which is not there")


def _imported(root: Path, path: Path, node: ast.ImportFrom) -> str:
    """Return the module that is imported from, below the package."""
    if not node.level:
        return (node.module or "").removeprefix(PACKAGE).removeprefix(".")
    above = path.parent.parents[node.level - 2] if node.level > 1 else path.parent
    return ".".join([*above.relative_to(root / PACKAGE).parts, *([node.module] if node.module else [])])


def _described(name: str, node: ast.stmt) -> Iterator[tuple[str, str]]:
    match node:
        case ast.ClassDef():
            yield from _class(name, node)
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield name, _signature(node)
        case ast.AnnAssign():
            yield name, ast.unparse(node.annotation)
        case ast.Assign(value=ast.Constant(value=value)):
            # A version is another with each release.
            yield name, type(value).__name__
        case ast.Assign():
            yield name, f"= {ast.unparse(node.value)}"
        case _:
            yield name, ast.unparse(node)


def _class(name: str, node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    how = "".join(f"@{ast.unparse(one)} " for one in node.decorator_list)
    yield name, f"{how}class({', '.join(map(ast.unparse, node.bases))})"
    for item in node.body:
        match item:
            case ast.AnnAssign(target=ast.Name(id=field)) if not field.startswith("_"):
                default = "" if item.value is None else f" = {ast.unparse(item.value)}"
                yield f"{name}.{field}", f"{ast.unparse(item.annotation)}{default}"
            case ast.Assign(targets=[ast.Name(id=field)]) if not field.startswith("_"):
                yield f"{name}.{field}", f"= {ast.unparse(item.value)}"
            case ast.FunctionDef(name=method) | ast.AsyncFunctionDef(name=method):
                if not method.startswith("_") or method in _SPECIAL:
                    yield f"{name}.{method}", _signature(item)
            case _:
                pass


def _signature(node: _Function) -> str:
    kinds = [ast.unparse(one) for one in node.decorator_list]
    returns = "" if node.returns is None else f" -> {ast.unparse(node.returns)}"
    if any(kind.endswith("property") for kind in kinds):
        return f"property{returns}"
    before = "".join(f"@{kind} " for kind in kinds) + (
        "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    )
    return f"{before}({ast.unparse(node.args)}){returns}"
