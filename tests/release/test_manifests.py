"""The manifests are valid for Kubernetes, Prometheus and Argo CD, and give the pod only the rights that it needs."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.release.fixtures import edit
from tests.release.manifests import Manifest, build, of_kind
from tests.tools import require

HERE = Path(__file__).parent
CUSTOM = yaml.safe_load((HERE / "crds.yaml").read_text())
OVERLAYS = ["staging", "production"]


@pytest.fixture(scope="module", params=OVERLAYS)
def manifests(request: pytest.FixtureRequest, fresh: Path) -> list[Manifest]:
    """Return the manifests of one overlay of a fresh project."""
    require("kustomize", "promtool")
    return build(fresh / f"deploy/overlays/{request.param}")


def validate(manifest: Manifest) -> None:
    """Raise if a field is unknown, missing or of the wrong type."""
    custom = CUSTOM.get(f"{manifest['apiVersion']} {manifest['kind']}")
    if custom:
        jsonschema.validate(manifest["spec"], custom)
    else:
        kubernetes_validate.validate(manifest, "1.37", strict=True)


def test_every_manifest_is_valid(manifests: list[Manifest]) -> None:
    kinds = {manifest["kind"] for manifest in manifests}
    assert kinds >= {
        "Deployment", "Service", "ServiceAccount", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy",
        "PersistentVolumeClaim", "ServiceMonitor", "PrometheusRule", "ConfigMap",
    }  # fmt: skip
    for manifest in manifests:
        validate(manifest)


def test_a_typo_is_found(manifests: list[Manifest]) -> None:
    deployment = json.loads(json.dumps(of_kind("Deployment", manifests)))
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(Exception, match="readynessProbe"):
        validate(deployment)
    monitor = json.loads(json.dumps(of_kind("ServiceMonitor", manifests)))
    monitor["spec"]["endpoints"][0]["ports"] = "http"
    with pytest.raises(jsonschema.ValidationError):
        validate(monitor)


def test_the_pod_has_no_rights_beyond_answering(manifests: list[Manifest]) -> None:
    pod = of_kind("Deployment", manifests)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert pod["automountServiceAccountToken"] is False
    assert not {"Role", "ClusterRole", "RoleBinding", "Secret"} & {manifest["kind"] for manifest in manifests}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == "http"
    assert {"requests", "limits"} <= set(container["resources"])


def test_only_selected_clients_may_connect(manifests: list[Manifest]) -> None:
    rules = of_kind("NetworkPolicy", manifests)["spec"]["ingress"]
    own = of_kind("Deployment", manifests)["spec"]["template"]["metadata"]["labels"]
    peers = [peer for rule in rules for peer in rule["from"]]  # a rule without `from` admits every client
    assert peers
    for peer in peers:
        selector = peer["podSelector"]
        assert selector.get("matchExpressions") or selector.get("matchLabels")
        # kustomize adds the service's own labels to matchLabels, so no client would match
        assert not selector.get("matchLabels", {}).items() & own.items()


def test_all_select_the_same_pods(manifests: list[Manifest]) -> None:
    labels = of_kind("Deployment", manifests)["spec"]["template"]["metadata"]["labels"]
    selectors = [
        of_kind("Service", manifests)["spec"]["selector"],
        of_kind("NetworkPolicy", manifests)["spec"]["podSelector"]["matchLabels"],
        *(
            of_kind(kind, manifests)["spec"]["selector"]["matchLabels"]
            for kind in ("Deployment", "PodDisruptionBudget")
        ),
    ]
    assert all(selector and selector.items() <= labels.items() for selector in selectors)
    service = of_kind("Service", manifests)["metadata"]["labels"]
    assert of_kind("ServiceMonitor", manifests)["spec"]["selector"]["matchLabels"].items() <= service.items()


def test_a_canary_takes_over_the_pods_with_one_line(fresh: Path, tmp_path: Path) -> None:
    # given production with the component
    require("kustomize", "promtool")
    shutil.copytree(fresh / "deploy", tmp_path / "deploy")
    overlay = tmp_path / "deploy/overlays/production"
    edit(overlay / "kustomization.yaml", "  - model\n", "  - model\n  - ../../canary\n")
    manifests = build(overlay)
    for manifest in manifests:
        validate(manifest)
    # then a Rollout takes over the Deployment's pods, and the autoscaler scales the Rollout
    rollout, deployment = of_kind("Rollout", manifests), of_kind("Deployment", manifests)
    assert rollout["spec"]["workloadRef"]["name"] == deployment["metadata"]["name"]
    assert rollout["spec"]["selector"] == deployment["spec"]["selector"]
    target = of_kind("HorizontalPodAutoscaler", manifests)["spec"]["scaleTargetRef"]
    assert target == {key: rollout[key] for key in ("apiVersion", "kind")} | {"name": rollout["metadata"]["name"]}


def test_a_private_image_is_pulled_with_a_secret(fresh: Path, tmp_path: Path) -> None:
    require("kustomize")
    shutil.copytree(fresh / "deploy", tmp_path / "deploy")
    overlay = tmp_path / "deploy/overlays/production"
    edit(overlay / "kustomization.yaml", "  - model\n", "  - model\n  - ../../private\n")
    manifests = build(overlay)
    for manifest in manifests:
        validate(manifest)
    pod, account = of_kind("Deployment", manifests)["spec"]["template"]["spec"], of_kind("ServiceAccount", manifests)
    assert pod["serviceAccountName"] == account["metadata"]["name"]
    assert account["imagePullSecrets"] == [{"name": "registry"}]


def test_argo_syncs_both_overlays(fresh: Path) -> None:
    applications = list(yaml.safe_load_all((fresh / "deploy/argocd.yaml").read_text()))
    for application in applications:
        validate(application)
    paths = [application["spec"]["source"]["path"] for application in applications]
    assert paths == [f"deploy/overlays/{name}" for name in OVERLAYS]


def test_alerts_fire_when_they_should(fresh: Path, tmp_path: Path) -> None:
    require("kustomize", "promtool")
    _, alerts = yaml.safe_load_all((fresh / "deploy/monitoring/alerts.yaml").read_text())
    rules = alerts["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    (tmp_path / "tests.yaml").write_text((HERE / "alerts.yaml").read_text())
    result = subprocess.run(
        ["promtool", "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    tests = yaml.safe_load((HERE / "alerts.yaml").read_text())["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case.get("exp_alerts")}
    assert fired == {rule["alert"] for group in rules["groups"] for rule in group["rules"]}


def test_the_dashboard_shows_metrics_of_the_alerts(fresh: Path) -> None:
    dashboard = json.loads((fresh / "deploy/monitoring/dashboard.json").read_text())
    alerts = (fresh / "deploy/monitoring/alerts.yaml").read_text()
    queries = {target["expr"] for panel in dashboard["panels"] for target in panel["targets"]}
    metrics = {name for expr in queries for name in re.findall(r"\b(?:bentoml|model)_\w+", expr)}
    assert metrics <= set(re.findall(r"\b(?:bentoml|model)_\w+", alerts))
