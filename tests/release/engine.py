"""podman on this machine, with a store, a network and limits that a container without privileges can have."""

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
    """An engine of its own below `folder`; `registry` (host:port) may be spoken to without TLS."""

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
        """Environment in which `podman` is this engine."""
        return os.environ | self.settings

    def __call__(self, *arguments: str) -> str:
        """What a command prints; raises with its own words where it fails."""
        done = subprocess.run(["podman", *arguments], env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"podman {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()
