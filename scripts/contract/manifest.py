"""What the generated code was made of, written down beside it, so that drift shows without the generator."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "manifest.json"
SPEC, CONFIG, TEMPLATES = "openapi/discounts.yaml", "generator-config.yml", "scripts/templates"
TARGET = "dintero_claims_client/_generated"
TOOLS = ("openapi-python-client", "ruff")


def made_of(root: Path, versions: Mapping[str, str], outputs: Mapping[str, bytes]) -> bytes:
    """Return the manifest of generated files, by their names below the target."""
    return (
        json.dumps(
            {
                "inputs": _inputs(root),
                "tools": {tool: versions[tool] for tool in TOOLS},
                "outputs": {name: _hash(outputs[name]) for name in sorted(outputs)},
            },
            indent=2,
        )
        + "\n"
    ).encode()


def problems(root: Path) -> list[str]:
    """Say what does not go together: inputs that changed, other versions, and files that were edited."""
    path = root / TARGET / NAME
    if not path.is_file():
        return [f"{TARGET}/{NAME} is missing: run scripts/regenerate.sh"]
    manifest: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    said = []
    inputs = _inputs(root)
    for name in sorted({*inputs, *manifest["inputs"]}):
        if inputs.get(name) != manifest["inputs"].get(name):
            what = (
                "is gone" if name not in inputs else "is new" if name not in manifest["inputs"] else "changed"
            )
            said.append(f"{name} {what}, and the code was not regenerated: run scripts/regenerate.sh")
    pinned = pins(root)
    said += [
        f"{tool} {pinned.get(tool)} is pinned, and the code was generated with {version}: "
        "run scripts/regenerate.sh"
        for tool, version in manifest["tools"].items()
        if pinned.get(tool) != version
    ]
    outputs = {
        file.relative_to(root / TARGET).as_posix(): _hash(file.read_bytes())
        for file in (root / TARGET).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file != path
    }
    for name in sorted({*outputs, *manifest["outputs"]}):
        if outputs.get(name) != manifest["outputs"].get(name):
            what = (
                "was deleted" if name not in outputs
                else "was added by hand" if name not in manifest["outputs"]
                else "was edited by hand"
            )  # fmt: skip
            said.append(
                f"{TARGET}/{name} {what}: change {SPEC}, or a template, and run scripts/regenerate.sh"
            )
    return said


def spec_hash(root: Path) -> str:
    """Return what tells this contract from others, whatever its version is called."""
    return _hash((root / SPEC).read_bytes())


def _inputs(root: Path) -> dict[str, str]:
    templates = sorted((root / TEMPLATES).rglob("*.jinja"))
    files = [root / SPEC, root / CONFIG, *templates]
    return {file.relative_to(root).as_posix(): _hash(file.read_bytes()) for file in files if file.is_file()}


def pins(root: Path) -> dict[str, str]:
    """Return the exact versions that the project asks for."""
    project: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return dict(entry.split("==") for entry in project["dependency-groups"]["dev"] if "==" in entry)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
