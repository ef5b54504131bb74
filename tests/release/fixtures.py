"""The container engine, the registry and the image that all tests of releases share."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bake import git
from tests.release.base import make_base
from tests.release.engine import TOOLS, Podman
from tests.release.servers import advisories, free_address, registry
from tests.tools import require
from tests.work import clone, make

OUTPUTS = ("data", "features", "models", "reports")


@dataclass(frozen=True)
class Engine:
    """podman, the name of a base image in it, the address of its registry, and the folder and address of an OSV.

    Each JSON file in `advisories` is an advisory of that stand-in for OSV; the file `asked` lists its queries.
    """

    podman: Podman
    base: str
    registry: str
    advisories: Path
    osv: str

    def use(self, project: Path) -> None:
        """Configure a project to build on this base, push to this registry and look up these advisories."""
        edit(project / "bentofile.yaml", r"base_image: \S+", f"base_image: {self.base}")
        edit(project / "infra.yaml", r"repository: \S+", f"repository: {self.registry}/acme/flight-delays")
        edit(project / "infra.yaml", r"advisories: \S+", f"advisories: http://{self.osv}/v1/query")


@dataclass(frozen=True)
class Shipped:
    """A project whose model is committed, and the image of that model."""

    project: Path
    engine: Engine
    image: str

    @property
    def podman(self) -> Podman:
        """Return the podman that has the image."""
        return self.engine.podman

    def make(self, *verb: str, **env: str) -> str:
        """Return what `make <verb>` prints with this engine."""
        return make(self.project, *verb, **(self.podman.settings | env))


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Yield podman with a store of its own, a real registry and an OSV on loopback."""
    require(*TOOLS)
    folder, address = tmp_path_factory.mktemp("engine"), free_address()
    podman = Podman(folder / "podman", address)
    base = make_base(folder / "base", podman.environment)
    with registry(folder / "registry", address), advisories(folder / "advisories") as osv:
        yield Engine(podman, base, address, folder / "advisories", osv)
        podman("rm", "--all", "--force")
        podman("rmi", "--all", "--force")


@pytest.fixture(scope="session")
def shipped(project: Path, engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    """Return the sample's model as an image, committed to main of a remote; tests must not change the image."""
    folder = tmp_path_factory.mktemp("release")
    work = clone(project, folder / "flight-delays")
    for name in OUTPUTS:
        shutil.copytree(project / name, work / name, dirs_exist_ok=True)
    shutil.copy(project / "dvc.lock", work)
    engine.use(work)
    git(work, "config", "user.name", "Test")  # the verbs commit too, on machines without an identity
    git(work, "config", "user.email", "test@example.org")
    git(work, "switch", "-q", "-C", "main")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "First model")
    git(folder, "clone", "-q", "--bare", str(work), str(folder / "remote.git"))
    git(work, "remote", "set-url", "origin", str(folder / "remote.git"))
    settings = engine.podman.settings | {"GITHUB_REPOSITORY": "acme/flight-delays"}  # a job's, for the image's label
    return Shipped(work, engine, make(work, "image", **settings).strip().splitlines()[-1])


def edit(path: Path, pattern: str, text: str) -> None:
    """Replace the only match of `pattern`."""
    content, times = re.subn(pattern, text, path.read_text())
    assert times == 1, (path, pattern, times)
    path.write_text(content)
