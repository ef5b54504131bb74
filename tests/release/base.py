"""A base image made of Debian's packages, so that no registry is needed: Python without shell or installer."""

import subprocess
from pathlib import Path

# The packages of gcr.io/distroless/python3-debian12.
PACKAGES = """base-files netbase tzdata libc6 libgcc-s1 libgomp1 libstdc++6 libbz2-1.0 libcrypt1 libexpat1 libffi8
liblzma5 libncursesw6 libnsl2 libtirpc3 libreadline8 libsqlite3-0 libssl3 libtinfo6 libuuid1 zlib1g python3-minimal
python3.11-minimal libpython3.11-minimal libpython3.11-stdlib python3-distutils""".split()
NAME = "localhost/python3-debian12"


def make_base(folder: Path, environment: dict[str, str]) -> str:
    """Download and unpack the packages, import them as an image, and return its name."""
    packages, root = folder / "packages", folder / "root"
    packages.mkdir(parents=True)
    _run(["apt-get", "download", "-qq", *PACKAGES], packages, environment)
    for package in packages.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(root)], folder, environment)
    (root / "tmp").mkdir(mode=0o1777, exist_ok=True)
    _run(["tar", "-C", str(root), "--exclude=./usr/share/doc", "-cf", "base.tar", "."], folder, environment)
    _run(["podman", "import", "--quiet", "base.tar", NAME], folder, environment)
    return NAME


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
