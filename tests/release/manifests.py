"""Manifests as kustomize makes them."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]


def build(folder: Path) -> list[Manifest]:
    """What `kustomize build` makes of a folder; raises with its words where it makes nothing."""
    done = subprocess.run(["kustomize", "build", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return list(yaml.safe_load_all(done.stdout))


def of_kind(kind: str, manifests: list[Manifest]) -> Manifest:
    """The one manifest of its kind."""
    (found,) = [one for one in manifests if one["kind"] == kind]
    return found
