"""One image, built once from a trained project on a base made here, for all tests of releases."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bake import git
from tests.release.base import make_base
from tests.release.engine import Podman, require_tools
from tests.release.servers import free_address, registry
from tests.work import clone, make

MADE = ("data", "features", "models", "reports")


@dataclass(frozen=True)
class Shipped:
    """A project whose model is committed, its image in `podman`, and the registry that it is pushed to."""

    project: Path
    podman: Podman
    image: str

    def make(self, *verb: str, **env: str) -> str:
        """What `make <verb>` prints, with this engine."""
        return make(self.project, *verb, **(self.podman.settings | env))


@pytest.fixture(scope="session")
def shipped(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    """The demo's model as an image; read it, never change it."""
    require_tools()
    folder, address = tmp_path_factory.mktemp("release"), free_address()
    podman = Podman(folder / "podman", address)
    base = make_base(folder / "base", podman.environment)
    work = clone(project, folder / "flight-delays")
    for name in MADE:
        shutil.copytree(project / name, work / name, dirs_exist_ok=True)
    shutil.copy(project / "dvc.lock", work)
    edit(work / "bentofile.yaml", r"base_image: \S+", f"base_image: {base}")
    edit(work / "infra.yaml", r"repository: \S+", f"repository: {address}/acme/flight-delays")
    edit(work / "gates.yaml", r"ready_s: \S+", "ready_s: 30")  # a machine that others work on shows its load, not ours
    edit(work / "gates.yaml", r"latency_p95_ms: 30", "latency_p95_ms: 300")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "First model")
    with registry(folder / "registry", address):
        image = make(work, "image", **podman.settings).strip().splitlines()[-1]
        yield Shipped(work, podman, image)
        podman("rm", "--all", "--force")
        podman("rmi", "--all", "--force")


def edit(path: Path, pattern: str, text: str) -> None:
    """Replace the one place that `pattern` names."""
    content, times = re.subn(pattern, text, path.read_text())
    assert times == 1, (path, pattern, times)
    path.write_text(content)
