"""The service's image: what is in it, how it is built, and known vulnerabilities of its packages."""

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
from ..adapters import dvc_files, git
from ..adapters.git import lineage, origin
from ..config import gates, infra
from ..config.gates import Accepted
from ..config.infra import INFRA
from ..errors import UserError
from ..files import md5
from ..paths import LOCK, MODEL
from ..process import Deadline, call, proxy, shown, within
from ..text import say

# DOC container.content: What is in the image beside its packages. It names the image: another model or other code is
# another image.

BENTO, LEFT_OUT = Path("bentofile.yaml"), Path(".bentoignore")
ENGINE, SOURCE = Path("engine/src/mergeworthy"), Path("engine/pyproject.toml")
DECIDES = (str(BENTO), str(LEFT_OUT), "deploy/image", "pyproject.toml")  # the last by the date that packages are from


def paths() -> list[str]:
    """Give what goes into the image, and what decides on it, as git's pathspecs."""
    content = files.read_yaml(BENTO)
    included = content.get("include") if isinstance(content, dict) else None
    if not isinstance(included, list) or not all(isinstance(path, str) for path in included):
        raise UserError(f"{BENTO}: include: a list of paths is expected: restore it from git")
    return [*included, *DECIDES, *(f":(exclude){one}" for one in left_out())]


def left_out() -> list[str]:
    """Return the paths that the image leaves out."""
    lines = files.read_text(LEFT_OUT, "restore it from git").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def installed_engine() -> Path | None:
    """Return the engine's folder if it is installed from elsewhere than engine/; else None."""
    return None if SOURCE.exists() else Path(__file__).parents[2]


def fingerprint() -> str:
    """Give 12 hex digits of these files as they lie here; those that DVC keeps are told by dvc.lock, which is one."""
    names = [name for name in git.files(*paths()) if Path(name).is_file()]
    told = "".join(f"{name}\0{md5(Path(name))}\n" for name in names)
    if folder := installed_engine():
        told += "".join(f"{path.relative_to(folder)}\0{md5(path)}\n" for path in sorted(folder.rglob("*.py")))
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def image_commit() -> str | None:
    """Give the newest commit on this line that changed any of it; None before the first."""
    return git.newest(*paths())


# DOC container.engine: docker, podman or buildah: whichever is there.

BUILDERS, RUNNERS = ("docker", "podman", "buildah"), ("docker", "podman")


def engine(choice: tuple[str, ...] = BUILDERS) -> str:
    """Give the first of these programs that answers; raise `UserError` where none does."""
    for name in choice:
        # A docker without its daemon is no engine.
        with suppress(UserError):  # one that hangs is no engine either
            if shutil.which(name) and outside.call([name, "version"], name, Deadline.ANSWER).returncode == 0:
                return name
    raise UserError(f"no container engine answers: install one of {', '.join(choice)}, or start its daemon")


def call_engine(*command: str, check: bool = True, deadline: Deadline = Deadline.EXCHANGE) -> str:
    """Run an engine's command and return what it prints; raise `UserError` with its last words if it fails.

    Without `check` a failure is passed over.
    """
    done = outside.call(command, f"{command[0]} {command[1]}", deadline)
    if done.returncode and check:
        words = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["no reason"]
        raise UserError(f"{command[0]} {command[1]} failed: {words[-1].strip()}")
    return done.stdout.strip()


def show_engine(*command: str) -> None:
    """Run an engine's long command with all that it says in sight; raise `UserError` where it fails."""
    done = outside.call(command, f"{command[0]} {command[1]}", Deadline.TRANSFER, shown=True)
    if done.returncode:
        raise UserError(f"{command[0]} {command[1]} failed, for the reason that stands above")


# DOC container.build: Bento → image. bentofile.yaml says what is in it, on which base; deploy/image/Containerfile how
# it is laid out.

LAYOUT = Path("deploy/image")
PLATFORM = "x86_64-manylinux_2_28"  # what clusters run, whatever this machine is


def tag() -> str:
    """Name the image by training and content; where it is pushed to stands in infra.yaml."""
    image = infra().image
    if image is None:
        raise UserError(f"{INFRA}: image.repository is missing: where is the image to be pushed?")
    return f"{image.repository}:{md5(LOCK)[:12]}-{fingerprint()}"


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
        commit = image_commit() or ""
        arguments = {"BASE": base, "COMMIT": commit, "LOCK": tags["lock"]}
        labels = {"org.opencontainers.image.revision": commit, "lock": tags["lock"], "data": tags["data"]}
        if where := source():
            labels["org.opencontainers.image.source"] = where
        show_engine(
            builder, "build", *_pairs("--build-arg", arguments), *_pairs("--label", labels), "--tag", name, folder
        )
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
    if installed := installed_engine():  # from elsewhere: engine/ has no source that the Bento could take
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(installed, context / "bento/src" / ENGINE, ignore=ignored, dirs_exist_ok=True)
        for name in left_out():
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


# DOC container.scan: Known vulnerabilities of the packages in the image: pip-audit asks OSV, gates.yaml says which
# are accepted.

BILL = "/app/sbom.json"  # where deploy/image/Containerfile puts it
AGAIN = "build the image again with `make image`"
RIGHT = f"is advisories in {INFRA} right? Nothing unscanned is pushed; run it again"
RAISE = "raise the packages in bentofile.yaml and pyproject.toml, or accept them under image in gates.yaml"


# OSV answers `{}` about a package without vulnerabilities, and so does a server that knows none at all. So a version is
# asked for whose vulnerability every mirror of OSV has had since 2019.
PROBE, PROBE_VERSION, PROBE_ID = "jinja2", "2.10", "CVE-2019-10906"


@dataclass(frozen=True)
class Finding:
    """A vulnerability of a package at its version; `ids` are its names in several lists, `fixed` may be empty."""

    package: str
    version: str
    ids: tuple[str, ...]
    fixed: tuple[str, ...]

    def __str__(self) -> str:
        also = f" ({', '.join(self.ids[1:])})" if self.ids[1:] else ""
        mended = f"fixed in {' or '.join(self.fixed)}" if self.fixed else "no version fixes it yet"
        return f"{self.package} {self.version}: {self.ids[0]}{also}, {mended}"


def scan(image: str | None = None) -> None:
    """Print what is known of the image of this training, or of the one given; raise `UserError` unless accepted."""
    packages, program = {}, engine(RUNNERS)
    with tempfile.TemporaryDirectory() as folder:
        container = call_engine(program, "create", "--pull=never", image or tag())
        try:
            call_engine(program, "cp", f"{container}:{BILL}", folder)
        finally:
            call_engine(program, "rm", container)
        packages = read(Path(folder) / Path(BILL).name)
    refused = judge(find(packages), gates().image.accepted_vulnerabilities)
    if refused:
        raise UserError(f"{refused} known vulnerabilities of the image are not accepted: {RAISE}")
    say(f"{len(packages)} packages in the image, no known vulnerability that is not accepted")


def read(bill: Path) -> dict[str, str]:
    """Give name and version of each Python package that a bill of materials (CycloneDX) names; there are some."""
    components = files.read_mapping(bill, AGAIN).get("components") or []
    try:
        python = [one for one in components if (one.get("purl") or "").startswith("pkg:pypi/")]
        packages = {str(one["name"]): str(one["version"]) for one in python}
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{BILL} in the image has a component without a name or a version: {AGAIN}") from None
    if not packages:
        raise UserError(f"{BILL} in the image names no package: {AGAIN}")
    return packages


def find(packages: dict[str, str]) -> list[Finding]:
    """Ask for each package; raise `UserError` where not all can be told, for an unknown is not a pass."""
    service = infra().advisories
    _require_knowledge(service)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{name}=={version}\n" for name, version in packages.items()))
        file.flush()
        asked = ["--requirement", file.name, "--no-deps", "--disable-pip", "--strict"]
        told = ["--format", "json", "--aliases", "on", "--desc", "off", "--progress-spinner", "off"]
        source = ["--vulnerability-service", "osv", "--osv-url", service]
        command = [sys.executable, "-m", "pip_audit", *asked, *told, *source]
        done = outside.call(command, shown(f"the advisories at {service}"), Deadline.EXCHANGE)
    try:
        answers = json.loads(done.stdout)["dependencies"]
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        why = f"what is known of the image's packages cannot be told ({shown(last)})"
        raise UserError(f"{why}: {RIGHT}") from None
    answered = {(_normal(one["name"]), one.get("version")) for one in answers}
    if missing := sorted(f"{n} {v}" for n, v in packages.items() if (_normal(n), v) not in answered):
        raise UserError(f"nothing was told of {', '.join(missing)}: {RIGHT}")
    return [
        Finding(one["name"], one["version"], (known["id"], *sorted(known["aliases"])), tuple(known["fix_versions"]))
        for one in answers
        for known in one["vulns"]
    ]


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
        known = within(Deadline.ANSWER, shown(f"the advisories at {service}"), ask).get("vulns", [])
        names = {name for one in known for name in (one["id"], *one.get("aliases", []))}
    except (OSError, http.client.HTTPException, ValueError, AttributeError, KeyError, TypeError) as error:
        why = f"what is known of the image's packages cannot be told ({service}: {error}){proxy(service)}"
        raise UserError(f"{shown(why)}: {RIGHT}") from None
    if PROBE_ID not in names:
        raise UserError(
            f"{shown(service)} knows nothing of {PROBE_ID} in {PROBE} {PROBE_VERSION}, which OSV lists, "
            f"so its silence on the image's packages is no answer: {RIGHT}"
        )


def judge(findings: list[Finding], accepted: list[Accepted], today: date | None = None) -> int:
    """Print a line for each, and for each acceptance that nothing needs; give how many may not be released."""
    today, refused = today or datetime.now(UTC).date(), 0
    for found in findings:
        rule = next((one for one in accepted if one.id in found.ids), None)
        if rule and today <= rule.until:
            say(f"accepted until {rule.until}: {found} ({rule.reason})")
            continue
        refused += 1
        say(f"refused: {found}" + (f"; its acceptance ended on {rule.until}" if rule else ""))
    for rule in accepted:
        if not any(rule.id in found.ids for found in findings):
            say(f"{rule.id} is accepted in gates.yaml, and nothing in the image has it: take it out")
    return refused
