"""Manifests as kustomize builds them."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]


def build(folder: Path) -> list[Manifest]:
    """Return the manifests of a folder; raise with the output of kustomize if it fails."""
    result = subprocess.run(["kustomize", "build", str(folder)], capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(result.stderr)
    return list(yaml.safe_load_all(result.stdout))


def of_kind(kind: str, manifests: list[Manifest]) -> Manifest:
    """Return the only manifest of its kind."""
    (manifest,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return manifest
