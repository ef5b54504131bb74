"""The image's packages are looked up before a push; pip-audit queries a stand-in for OSV over HTTP."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.release.fixtures import Shipped, edit
from tests.work import attempt, clone, make

pytestmark = pytest.mark.dear

PACKAGE = "starlette"
ADVISORY = "GHSA-2c2j-9gv5-cj73"


def packages_in(shipped: Shipped, folder: Path) -> dict[str, str]:
    """Return name and version of each package in the image's bill of materials."""
    container = shipped.podman("create", shipped.image)
    shipped.podman("cp", f"{container}:/app/sbom.json", str(folder))
    shipped.podman("rm", container)
    components = json.loads((folder / "sbom.json").read_text())["components"]
    return {component["name"]: component["version"] for component in components}


def test_a_vulnerable_image_is_refused_until_the_advisory_is_accepted(shipped: Shipped, tmp_path: Path) -> None:
    # given an image without known vulnerabilities, then every package in it is looked up
    packages, settings, engine = packages_in(shipped, tmp_path), shipped.podman.settings, shipped.engine
    project = clone(shipped.project, tmp_path / "flight-delays")
    (engine.advisories / "asked").unlink(missing_ok=True)
    assert f"{len(packages)} packages" in make(project, "scan", **settings)
    queried = [line.split()[0] for line in (engine.advisories / "asked").read_text().splitlines()]
    assert sorted(queried) == sorted(name.lower().replace("_", "-") for name in packages)
    # when an advisory is published, then package, version, id and fixed version are named, and the scan fails
    package = {"name": PACKAGE, "ecosystem": "PyPI"}
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}]
    affected = {"package": package, "ranges": ranges, "versions": [packages[PACKAGE]]}
    advisory = engine.advisories / "advisory.json"
    advisory.write_text(json.dumps({"id": ADVISORY, "summary": "Requests without an end", "affected": [affected]}))
    try:
        result = attempt(project, "scan", **settings)
        assert f"{PACKAGE} {packages[PACKAGE]}: {ADVISORY}, fixed in 99.1" in result.stdout, (
            result.stdout + result.stderr
        )
        assert result.returncode != 0
        assert "accept them under image in gates.yaml" in result.stderr
        # when gates.yaml accepts it until tomorrow, it passes
        day = datetime.now(UTC).date() + timedelta(1)
        entry = f"{{id: {ADVISORY}, reason: the proxy ends such requests, until: {day}}}"
        edit(project / "gates.yaml", r"accepted_vulnerabilities: \[\]", f"accepted_vulnerabilities: [{entry}]")
        assert f"accepted until {day}: {PACKAGE}" in make(project, "scan", **settings)
    finally:
        advisory.unlink()
