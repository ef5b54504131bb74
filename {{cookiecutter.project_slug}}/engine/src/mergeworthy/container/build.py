"""The service's image: its content and fingerprint, the container engine, and the build.

bentofile.yaml names the content and the base, deploy/image/Containerfile the layout. The tag holds a fingerprint of the
content: another model or other code is another image.
"""

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from .. import files
from .. import process as outside
from ..adapters import dvc_files, git
from ..adapters.git import lineage, origin
from ..config import infra
from ..config.infra import INFRA
from ..errors import UserError
from ..files import md5
from ..paths import LOCK, MODEL
from ..process import Deadline, call

BENTO = Path("bentofile.yaml")
IGNORED = Path(".bentoignore")
LAYOUT = Path("deploy/image")
PYPROJECT, UV_LOCK = Path("pyproject.toml"), Path("uv.lock")  # which decide the versions of the packages
ENGINE_PACKAGE = Path("engine/src/mergeworthy")
ENGINE_PYPROJECT = Path("engine/pyproject.toml")
BUILD_INPUTS = (BENTO, IGNORED, LAYOUT, PYPROJECT)  # not in the image, but they decide what is
PLATFORM = "x86_64-manylinux_2_28"  # of clusters, whatever this machine is
RUNNERS = ("docker", "podman")
BUILDERS = (*RUNNERS, "buildah")


def build() -> str:
    """Build the image of the model on disk and return its tag; raise `UserError` if dvc.lock names another model."""
    expected = dvc_files.model(dvc_files.read(LOCK), str(LOCK))
    if not MODEL.exists() or md5(MODEL) != expected:
        raise UserError(f"{MODEL} is not the one that {LOCK} names: run `make pipeline`, or `dvc pull {MODEL}`")
    builder, image, origins = engine(), tag(), lineage()
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        context = Path(folder)
        base = _bento(context, origins["lock"][:12])
        for path in LAYOUT.iterdir():
            shutil.copy(path, context)
        commit = image_commit() or ""
        arguments = {"BASE": base, "COMMIT": commit, "LOCK": origins["lock"]}
        labels = {"org.opencontainers.image.revision": commit, "lock": origins["lock"], "data": origins["data"]}
        if address := source():
            labels["org.opencontainers.image.source"] = address
        stream_engine(
            builder, "build", *_pairs("--build-arg", arguments), *_pairs("--label", labels), "--tag", image, folder
        )
    return image


def tag() -> str:
    """Return repository, training and fingerprint as a tag; raise `UserError` if infra.yaml names no repository."""
    image = infra().image
    if image is None:
        raise UserError(
            f"{INFRA}: image.repository is missing: name the repository that the image is pushed to, "
            "such as ghcr.io/OWNER/NAME"
        )
    return f"{image.repository}:{md5(LOCK)[:12]}-{fingerprint()}"


def fingerprint() -> str:
    """Return 12 hex digits of the image's files as they are in the folder.

    Files that DVC tracks count by their entry in dvc.lock, which is one of the files.
    """
    names = [name for name in git.files(*paths()) if Path(name).is_file()]
    lines = "".join(f"{name}\0{md5(Path(name))}\n" for name in names)
    if folder := installed_engine():
        lines += "".join(f"{path.relative_to(folder)}\0{md5(path)}\n" for path in sorted(folder.rglob("*.py")))
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def image_commit() -> str | None:
    """Return the newest commit on this branch that changed the image's files or build inputs; None if there is none."""
    return git.newest(*paths())


def paths() -> list[str]:
    """Return the pathspecs of the image's files and of its build inputs."""
    content = files.read_yaml(BENTO)
    included = content.get("include") if isinstance(content, dict) else None
    if not isinstance(included, list) or not all(isinstance(path, str) for path in included):
        raise UserError(f"{BENTO}: include: a list of paths is expected: restore it from git")
    return [*included, *map(str, BUILD_INPUTS), *(f":(exclude){path}" for path in excluded())]


def excluded() -> list[str]:
    """Return the paths that .bentoignore keeps out of the image."""
    lines = files.read_text(IGNORED, "restore it from git").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def installed_engine() -> Path | None:
    """Return the folder of the installed package if the project has no engine/ of its own; else None."""
    return None if ENGINE_PYPROJECT.exists() else Path(__file__).parents[1]


def source() -> str | None:
    """Return the address of the repository that the image is built from; None if it has no server.

    ghcr.io links a package to the repository of this label. Without it, a first push from a laptop would create a
    package that CI may not write.
    """
    if name := os.environ.get("GITHUB_REPOSITORY"):
        return f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}"
    remote = origin()
    return f"https://{remote[0]}/{remote[1]}" if remote else None


def engine(programs: tuple[str, ...] = BUILDERS) -> str:
    """Return the first container engine of `programs` that answers; raise `UserError` if none does."""
    for name in programs:
        # A docker without its daemon does not count, nor one that hangs.
        with suppress(UserError):
            if shutil.which(name) and outside.call([name, "version"], name, Deadline.ANSWER).returncode == 0:
                return name
    raise UserError(f"no container engine answers: install one of {', '.join(programs)}, or start its daemon")


def call_engine(*command: str, check: bool = True, deadline: Deadline = Deadline.EXCHANGE) -> str:
    """Run an engine's command and return its output; raise `UserError` with its last line if it fails.

    Without `check` a failure is ignored.
    """
    result = outside.call(command, f"{command[0]} {command[1]}", deadline)
    if result.returncode and check:
        lines = [line for line in (result.stderr or result.stdout).splitlines() if line.strip()] or ["no reason"]
        raise UserError(f"{command[0]} {command[1]} failed: {lines[-1].strip()}")
    return result.stdout.strip()


def stream_engine(*command: str) -> None:
    """Run an engine's long command and show its output as it comes; raise `UserError` if it fails."""
    result = outside.call(command, f"{command[0]} {command[1]}", Deadline.TRANSFER, shown=True)
    if result.returncode:
        raise UserError(f"{command[0]} {command[1]} failed: see its output above")


def _pairs(option: str, values: Mapping[str, str]) -> list[str]:
    return [word for key, value in values.items() for word in (option, f"{key}={value}")]


def _bento(context: Path, version: str) -> str:
    """Put the Bento, its packages and their bill of materials (CycloneDX) into the build context; return the base."""
    newest = files.read_toml(PYPROJECT)["tool"]["uv"]["exclude-newer"]
    environment = {"BENTOML_HOME": f"{context}/home", "PYTHONPATH": "src:engine/src", "UV_EXCLUDE_NEWER": newest}
    if UV_LOCK.exists():  # what the tests had is what the image gets
        locked = context / "locked.txt"
        ours = ["--no-emit-project", "--no-emit-local"]  # are no packages of an index
        _run(["uv", "export", "--frozen", "--quiet", "--no-hashes", *ours, "--output-file", str(locked)], {})
        environment["UV_CONSTRAINT"] = str(locked)
    _run([sys.executable, "-m", "bentoml", "build", "--version", version], environment)
    (bento,) = (context / "home/bentos").glob(f"*/{version}")
    shutil.move(bento, context / "bento")
    shutil.rmtree(context / "home")
    if installed := installed_engine():
        _copy_engine(installed, context / "bento/src")
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


def _copy_engine(installed: Path, bento_source: Path) -> None:
    """Copy the installed package into the Bento, which has no engine/ to take it from, without what is excluded."""
    bytecode = shutil.ignore_patterns("__pycache__")
    shutil.copytree(installed, bento_source / ENGINE_PACKAGE, ignore=bytecode, dirs_exist_ok=True)
    for name in excluded():
        if name.startswith(f"{ENGINE_PACKAGE}/"):
            path = bento_source / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    result = call(command, " ".join(command[:3]), Deadline.TRANSFER, environment=environment)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines() or ["no reason"]
        raise UserError(f"the Bento cannot be built ({' '.join(command[:4])}): {lines[-1]}")
