"""The manifests in use: promotion by a merge, rollback by a revert, and metrics in a real Prometheus."""

import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.bake import git
from tests.release.fixtures import Shipped
from tests.release.golden import largest_difference
from tests.release.manifests import build, of_kind
from tests.release.servers import free_address, serving, wait_for
from tests.release.spoil import spoil

pytestmark = pytest.mark.dear

TOLERANCE = 1e-5  # between two answers of one model
PROMETHEUS = """scrape_configs:
  - job_name: model
    scrape_interval: 1s
    static_configs: [{{targets: ["{address}"]}}]
"""


@contextmanager
def running_production(shipped: Shipped, folder: Path) -> Iterator[str]:
    """Run production's deployment and volume, the kinds that podman has, and yield the address on this machine."""
    manifests = build(shipped.project / "deploy/overlays/production")
    deployment, address = of_kind("Deployment", manifests), free_address()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for name in ("ports", "startupProbe", "readinessProbe", "livenessProbe"):  # they need a network of the pod's own
        del container[name]
    container["env"] = [{"name": "BENTOML_PORT", "value": address.split(":")[1]}]
    pod = folder / "pod.yaml"
    pod.write_text(yaml.safe_dump_all([of_kind("PersistentVolumeClaim", manifests), deployment]))
    shipped.podman("kube", "play", "--network", "host", str(pod))
    try:
        wait_for(f"http://{address}/readyz", 60)
        yield address
    finally:
        shipped.podman("kube", "down", str(pod))
        shipped.podman(
            "volume", "rm", "predictions"
        )  # it outlives its pod, and kube play would fail on it the next time


def merge(project: Path) -> str:
    """Merge the promotion, as a person does on GitHub, and return the commit on main."""
    git(project, "fetch", "-q", "origin")
    git(project, "reset", "-q", "--hard", "origin/main")
    git(project, "merge", "-q", "--no-ff", "-m", "Promote", "origin/promote/production")
    git(project, "push", "-q", "origin", "HEAD:main")
    return git(project, "rev-parse", "HEAD").strip()


def release_another(shipped: Shipped, folder: Path) -> None:
    """Stage a model with other answers and open its promotion to production."""
    repository = shipped.image.rpartition(":")[0]
    spoil(shipped, folder, f"{repository}:other")
    shipped.podman("push", f"{repository}:other")
    host, _, name = repository.partition("/")
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    request = urllib.request.Request(f"http://{host}/v2/{name}/manifests/other", method="HEAD", headers=accept)
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - the test's own
        digest = answer.headers["Docker-Content-Digest"]
    (shipped.project / "another").write_text("another model")
    git(shipped.project, "add", "another")
    git(shipped.project, "commit", "-q", "-m", "Another model")
    git(shipped.project, "push", "-q", "origin", "HEAD:main")
    commit = git(shipped.project, "rev-parse", "HEAD").strip()
    facts = {"repository": repository, "digest": digest, "commit": commit, "lock": "other", "data": "other"}
    shipped.make("stage", "promote", RELEASE=json.dumps({**facts, "partition": "other", "verdict": "pass"}))


def test_a_merge_promotes_and_a_revert_restores_the_former_model(shipped: Shipped, tmp_path: Path) -> None:
    # given the judged model, published, staged and offered for promotion; a second time changes nothing
    project = shipped.project
    published = shipped.make("publish", "stage", "promote").splitlines()[0]
    before = git(project, "ls-remote", "origin")
    assert shipped.make("publish", "stage", "promote").splitlines()[0] == published
    assert git(project, "ls-remote", "origin") == before
    merge(project)
    with running_production(shipped, tmp_path) as address:
        assert largest_difference(project, address) <= TOLERANCE
        assert_monitored(address, project, tmp_path)
    # when another model is promoted, it answers
    release_another(shipped, tmp_path)
    promotion = merge(project)
    with running_production(shipped, tmp_path) as address:
        assert largest_difference(project, address) > 10 * TOLERANCE
    assert "other" in shipped.make("status", COLUMNS="200")
    # when that is reverted, the former model answers again
    git(project, "revert", "--no-edit", "--mainline", "1", promotion)
    with running_production(shipped, tmp_path) as address:
        assert largest_difference(project, address) <= TOLERANCE


def assert_monitored(target: str, project: Path, folder: Path) -> None:
    """Let a real Prometheus scrape the pod, and check that it has every metric that the alerts use."""
    address = free_address()
    (folder / "prometheus.yaml").write_text(PROMETHEUS.format(address=target))
    options = ["--config.file=prometheus.yaml", f"--web.listen-address={address}", f"--storage.tsdb.path={folder}/tsdb"]
    _, rules = yaml.safe_load_all((project / "deploy/monitoring/alerts.yaml").read_text())
    selectors = {
        selector
        for group in rules["spec"]["groups"]
        for rule in group["rules"]
        for selector in re.findall(r"(?:bentoml|model)_\w+(?:\{endpoint=\"[^\"]+\")?", rule["expr"])
    }
    with serving(["prometheus", *options], f"http://{address}/-/ready", folder):
        missing = selectors
        for _ in range(50):
            missing = {name for name in missing if not query_prometheus(address, name + "}" * ("{" in name))}
            if not missing:
                return
            time.sleep(0.2)
        raise AssertionError(f"not in the pod's metrics: {missing}")


def query_prometheus(address: str, query: str) -> list[object]:
    """Return what Prometheus has for a query."""
    url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(url) as answer:
        return list(json.load(answer)["data"]["result"])
