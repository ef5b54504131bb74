"""Known vulnerabilities of the packages in the image: pip-audit asks OSV, gates.yaml says which are accepted."""

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
from ..config import INFRA, Accepted, gates, infra
from ..errors import UserError
from ..process import Deadline, proxy, shown, within
from ..text import say
from .build import tag
from .engine import RUNNERS, call, engine

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
        container = call(program, "create", "--pull=never", image or tag())
        try:
            call(program, "cp", f"{container}:{BILL}", folder)
        finally:
            call(program, "rm", container)
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
