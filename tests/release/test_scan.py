"""The image's packages are looked up before any push; pip-audit asks a stand-in of OSV over HTTP."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.release.fixtures import Shipped, edit
from tests.work import attempt, clone, make

pytestmark = pytest.mark.dear

PACKAGE = "starlette"
NAME = "GHSA-2c2j-9gv5-cj73"


def bill(shipped: Shipped, folder: Path) -> dict[str, str]:
    """Name and version of each package that the image says it holds."""
    container = shipped.podman("create", shipped.image)
    shipped.podman("cp", f"{container}:/app/sbom.json", str(folder))
    shipped.podman("rm", container)
    components = json.loads((folder / "sbom.json").read_text())["components"]
    return {one["name"]: one["version"] for one in components}


def test_a_vulnerable_image_is_refused_until_somebody_answers_for_it(shipped: Shipped, tmp_path: Path) -> None:
    # given an image of which nothing is known: every package in it was asked for
    known, settings, engine = bill(shipped, tmp_path), shipped.podman.settings, shipped.engine
    project = clone(shipped.project, tmp_path / "flight-delays")
    (engine.advisories / "asked").unlink(missing_ok=True)
    assert f"{len(known)} packages" in make(project, "scan", **settings)
    asked = [line.split()[0] for line in (engine.advisories / "asked").read_text().splitlines()]
    assert sorted(asked) == sorted(name.lower().replace("_", "-") for name in known)
    # when an advisory comes out, then package, version, id and the version that mends it are named, and it is red
    package = {"name": PACKAGE, "ecosystem": "PyPI"}
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}]
    affected = {"package": package, "ranges": ranges, "versions": [known[PACKAGE]]}
    advisory = engine.advisories / "advisory.json"
    advisory.write_text(json.dumps({"id": NAME, "summary": "Requests without an end", "affected": [affected]}))
    try:
        done = attempt(project, "scan", **settings)
        assert f"{PACKAGE} {known[PACKAGE]}: {NAME}, fixed in 99.1" in done.stdout, done.stdout + done.stderr
        assert done.returncode != 0
        assert "accept them under image in gates.yaml" in done.stderr
        # when gates.yaml accepts it until tomorrow, it passes
        day = datetime.now(UTC).date() + timedelta(1)
        entry = f"{{id: {NAME}, reason: the proxy ends such requests, until: {day}}}"
        edit(project / "gates.yaml", r"accepted_vulnerabilities: \[\]", f"accepted_vulnerabilities: [{entry}]")
        assert f"accepted until {day}: {PACKAGE}" in make(project, "scan", **settings)
    finally:
        advisory.unlink()
