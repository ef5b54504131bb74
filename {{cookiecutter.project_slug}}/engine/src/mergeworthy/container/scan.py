"""Known vulnerabilities of the packages in the image: pip-audit asks OSV, gates.yaml names those that are accepted."""

import http.client
import json
import re
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from .. import files
from .. import process as outside
from ..config import gates, infra
from ..config.gates import Accepted
from ..config.infra import INFRA
from ..errors import UserError
from ..process import Deadline, proxy, shown, within
from ..text import say
from .build import RUNNERS, call_engine, engine, tag

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
