"""podman on this machine, configured so that it works inside an unprivileged container."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

TOOLS = (
    "apt-get",
    "buildah",
    "catatonit",
    "cosign",
    "docker-registry",
    "kustomize",
    "podman",
    "prometheus",
    "promtool",
    "runc",
)
CONTAINERS = """[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
netns = "host"
env = ["BENTOML_HOST=127.0.0.1"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


@dataclass
class Podman:
    """A podman with its own store below `folder`; it may use `registry` (host:port) without TLS."""

    folder: Path
    registry: str
    settings: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        store = f'[storage]\ndriver = "overlay"\ngraphroot = "{self.folder}/graph"\nrunroot = "{self.folder}/run"\n'
        registries = f'[[registry]]\nlocation = "{self.registry}"\ninsecure = true\n'
        files = {"CONTAINERS": CONTAINERS, "CONTAINERS_STORAGE": store, "CONTAINERS_REGISTRIES": registries}
        (self.folder / "auth.json").write_text("{}")
        self.settings = {"REGISTRY_AUTH_FILE": str(self.folder / "auth.json")}
        for name, text in files.items():
            path = self.folder / f"{name.lower()}.conf"
            path.write_text(text)
            self.settings[f"{name}_CONF"] = str(path)

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which `podman` uses this store."""
        return os.environ | self.settings

    def __call__(self, *arguments: str) -> str:
        """Return what a command prints; raise with its error output if it fails."""
        result = subprocess.run(
            ["podman", *arguments], env=self.environment, capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise RuntimeError(f"podman {' '.join(arguments)}: {result.stderr}")
        return result.stdout.strip()
