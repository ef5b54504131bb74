"""The service's image: its content and fingerprint, the container engine, the build, and known vulnerabilities.

bentofile.yaml names the content and the base, deploy/image/Containerfile the layout. The tag holds a fingerprint of the
content: another model or other code is another image. pip-audit asks OSV for vulnerabilities of the packages in it;
gates.yaml names those that are accepted.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from .. import files
from .. import process as outside
from ..adapters import dvc, git
from ..adapters.dvc import lineage
from ..adapters.git import origin
from ..config import gates, infra
from ..config.gates import Accepted
from ..config.infra import INFRA
from ..errors import UserError
from ..files import LOCK, MODEL, md5
from ..process import Deadline, call, proxy, shown, within
from ..text import say

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
    expected = dvc.model(dvc.read(LOCK), str(LOCK))
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


BILL = "/app/sbom.json"  # deploy/image/Containerfile puts it there
REBUILD = "build the image again with `make image`"
CHECK_SERVICE = f"check advisories in {INFRA} and run it again; an image that was not scanned is not pushed"
UPGRADE = "raise the packages in bentofile.yaml and pyproject.toml, or accept them under image in gates.yaml"
# OSV answers `{}` about a package without vulnerabilities, and so does a server that knows none at all. So the service
# is first asked about a version whose vulnerability every mirror of OSV has had since 2019.
PROBE, PROBE_VERSION, PROBE_ID = "jinja2", "2.10", "CVE-2019-10906"


@dataclass(frozen=True)
class Finding:
    """A vulnerability of a package at its version; `ids` are its names in several lists, `fixed` may be empty."""

    package: str
    version: str
    ids: tuple[str, ...]
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        aliases = f" ({', '.join(self.ids[1:])})" if self.ids[1:] else ""
        fix = f"fixed in {' or '.join(self.fixed)}" if self.fixed else "no version fixes it yet"
        return f"{self.package} {self.version}: {self.ids[0]}{aliases}, {fix}"


def scan(image: str | None = None) -> None:
    """Print the known vulnerabilities of the image (default: of this training); raise `UserError` if one is refused."""
    program = engine(RUNNERS)
    with tempfile.TemporaryDirectory() as folder:
        container = call_engine(program, "create", "--pull=never", image or tag())
        try:
            call_engine(program, "cp", f"{container}:{BILL}", folder)
        finally:
            call_engine(program, "rm", container)
        packages = read_bill(Path(folder) / Path(BILL).name)
    refused = count_refused(find_vulnerabilities(packages), gates().image.accepted_vulnerabilities)
    if refused:
        raise UserError(f"{refused} known vulnerabilities of the image are not accepted: {UPGRADE}")
    say(f"{len(packages)} packages in the image, no known vulnerability that is not accepted")


def read_bill(path: Path) -> dict[str, str]:
    """Return name and version of each Python package in a bill of materials (CycloneDX).

    Raise `UserError` if it names no package, or one without a version.
    """
    components = files.read_mapping(path, REBUILD).get("components") or []
    try:
        python = [component for component in components if (component.get("purl") or "").startswith("pkg:pypi/")]
        packages = {str(component["name"]): str(component["version"]) for component in python}
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{BILL} in the image has a component without a name or a version: {REBUILD}") from None
    if not packages:
        raise UserError(f"{BILL} in the image names no package: {REBUILD}")
    return packages


def find_vulnerabilities(packages: dict[str, str]) -> list[Finding]:
    """Return the known vulnerabilities; raise `UserError` if one package stays without an answer."""
    service = infra().advisories
    _require_knowledge(service)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{name}=={version}\n" for name, version in packages.items()))
        file.flush()
        requirements = ["--requirement", file.name, "--no-deps", "--disable-pip", "--strict"]
        output = ["--format", "json", "--aliases", "on", "--desc", "off", "--progress-spinner", "off"]
        source = ["--vulnerability-service", "osv", "--osv-url", service]
        command = [sys.executable, "-m", "pip_audit", *requirements, *output, *source]
        result = outside.call(command, shown(f"the advisories at {service}"), Deadline.EXCHANGE)
    try:
        answers = json.loads(result.stdout)["dependencies"]
    except ValueError:
        reason = (result.stderr.strip().splitlines() or ["no reason"])[-1]
        raise UserError(f"the image's packages cannot be looked up ({shown(reason)}): {CHECK_SERVICE}") from None
    answered = {(_normal(answer["name"]), answer.get("version")) for answer in answers}
    if missing := sorted(
        f"{name} {version}" for name, version in packages.items() if (_normal(name), version) not in answered
    ):
        raise UserError(f"the advisories have no answer about {', '.join(missing)}: {CHECK_SERVICE}")
    return [
        Finding(
            answer["name"],
            answer["version"],
            (vulnerability["id"], *sorted(vulnerability["aliases"])),
            tuple(vulnerability["fix_versions"]),
        )
        for answer in answers
        for vulnerability in answer["vulns"]
    ]


def count_refused(findings: list[Finding], accepted: list[Accepted], today: date | None = None) -> int:
    """Print a line for each finding and for each acceptance without one; return how many findings are not accepted."""
    today, refused = today or datetime.now(UTC).date(), 0
    for finding in findings:
        rule = next((rule for rule in accepted if rule.id in finding.ids), None)
        if rule and today <= rule.until:
            say(f"accepted until {rule.until}: {finding} ({rule.reason})")
            continue
        refused += 1
        say(f"refused: {finding}" + (f"; its acceptance ended on {rule.until}" if rule else ""))
    for rule in accepted:
        if not any(rule.id in finding.ids for finding in findings):
            say(f"{rule.id} is accepted in gates.yaml, but no package in the image has it: remove it")
    return refused


def _normal(name: str) -> str:
    """Return a package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _require_knowledge(service: str) -> None:
    """Raise `UserError` unless the service knows the vulnerability of the probe."""
    query = json.dumps({"package": {"name": PROBE, "ecosystem": "PyPI"}, "version": PROBE_VERSION})
    request = urllib.request.Request(service, query.encode(), {"Content-Type": "application/json"})  # noqa: S310 (settings allow http and https alone)

    def ask() -> Any:
        with urllib.request.urlopen(request, timeout=Deadline.ANSWER.seconds) as answer:  # noqa: S310 (as above)
            return json.load(answer)

    try:
        vulnerabilities = within(Deadline.ANSWER, shown(f"the advisories at {service}"), ask).get("vulns", [])
        ids = {name for entry in vulnerabilities for name in (entry["id"], *entry.get("aliases", []))}
    except (OSError, http.client.HTTPException, ValueError, AttributeError, KeyError, TypeError) as error:
        problem = f"the image's packages cannot be looked up ({service}: {error}){proxy(service)}"
        raise UserError(f"{shown(problem)}: {CHECK_SERVICE}") from None
    if PROBE_ID not in ids:
        raise UserError(
            f"{shown(service)} does not know {PROBE_ID} in {PROBE} {PROBE_VERSION}, which OSV lists, "
            f"so it cannot clear the image's packages: {CHECK_SERVICE}"
        )
