"""Bento → image. bentofile.yaml says what is in it, on which base; deploy/image/Containerfile how it is laid out."""

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from .. import files
from ..adapters import dvc_files
from ..adapters.lineage import lineage
from ..adapters.origin import origin
from ..config import INFRA, infra
from ..errors import UserError
from ..files import md5
from ..paths import LOCK, MODEL
from ..process import Deadline, call
from . import content
from .content import ENGINE
from .engine import engine, show

LAYOUT = Path("deploy/image")
PLATFORM = "x86_64-manylinux_2_28"  # what clusters run, whatever this machine is


def tag() -> str:
    """Name the image by training and content; where it is pushed to stands in infra.yaml."""
    image = infra().image
    if image is None:
        raise UserError(f"{INFRA}: image.repository is missing: where is the image to be pushed?")
    return f"{image.repository}:{md5(LOCK)[:12]}-{content.fingerprint()}"


def build() -> str:
    """Build the image of the model on disk and give its tag; raise `UserError` where it is not the one of the lock."""
    wanted = dvc_files.model(dvc_files.read(LOCK), str(LOCK))
    if not MODEL.exists() or md5(MODEL) != wanted:
        raise UserError(f"{MODEL} is not the one that {LOCK} names: run `make pipeline`, or `dvc pull {MODEL}`")
    builder, name, tags = engine(), tag(), lineage()
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        context = Path(folder)
        base = _bento(context, tags["lock"][:12])
        for path in LAYOUT.iterdir():
            shutil.copy(path, context)
        commit = content.commit() or ""
        arguments = {"BASE": base, "COMMIT": commit, "LOCK": tags["lock"]}
        labels = {"org.opencontainers.image.revision": commit, "lock": tags["lock"], "data": tags["data"]}
        if where := source():
            labels["org.opencontainers.image.source"] = where
        show(builder, "build", *_pairs("--build-arg", arguments), *_pairs("--label", labels), "--tag", name, folder)
    return name


def source() -> str | None:
    """Return the address of the repository that the image is from; None if that is on no server.

    ghcr.io links a package to the repository of this label: a first push from a laptop would otherwise make one that
    CI may not write.
    """
    if name := os.environ.get("GITHUB_REPOSITORY"):
        return f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}"
    found = origin()
    return f"https://{found[0]}/{found[1]}" if found else None


def _pairs(option: str, values: Mapping[str, str]) -> list[str]:
    return [word for key, value in values.items() for word in (option, f"{key}={value}")]


def _bento(context: Path, version: str) -> str:
    """Put Bento, packages and the bill of them (CycloneDX) into the build's context; give the base that is named."""
    newest = files.read_toml(Path("pyproject.toml"))["tool"]["uv"]["exclude-newer"]
    environment = {"BENTOML_HOME": f"{context}/home", "PYTHONPATH": "src:engine/src", "UV_EXCLUDE_NEWER": newest}
    _run([sys.executable, "-m", "bentoml", "build", "--version", version], environment)
    (made,) = (context / "home/bentos").glob(f"*/{version}")
    shutil.move(made, context / "bento")
    shutil.rmtree(context / "home")
    if installed := content.installed():  # from elsewhere: engine/ has no source that the Bento could take
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(installed, context / "bento/src" / ENGINE, ignore=ignored, dirs_exist_ok=True)
        for name in content.left_out():
            if name.startswith(f"{ENGINE}/"):
                path = context / "bento/src" / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    image = files.read_yaml(context / "bento/bento.yaml")["image"]
    python = ["--python-version", image["python_version"], "--python-platform", PLATFORM, "--only-binary", ":all:"]
    requirements = str(context / "bento/env/python/requirements.txt")
    _run(
        ["uv", "pip", "install", "--quiet", "--target", f"{context}/packages", *python, "--requirement", requirements],
        environment,
    )
    bill = ["--no-validate", "--output-reproducible", "--of", "JSON", "--output-file", f"{context}/sbom.json"]
    _run([sys.executable, "-m", "cyclonedx_py", "requirements", *bill, requirements], environment)
    return str(image["base_image"])


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    done = call(command, " ".join(command[:3]), Deadline.TRANSFER, environment=environment)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines() or ["no reason"]
        raise UserError(f"the Bento cannot be built ({' '.join(command[:4])}): {last[-1]}")
