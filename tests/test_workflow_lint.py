"""The rendered project's workflows, read by those who know what goes wrong in workflows."""

import re
from pathlib import Path

import pytest
import yaml

from tests.bake import BIN, ROOT, bake, run
from tests.tools import require

PINNED = re.compile(r"uses: (?:\./\S+|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$")


@pytest.fixture(scope="module", params=["../data-remote", "s3://bucket/flights", "gs://bucket/x", "azure://box/x"])
def rendered(request: pytest.FixtureRequest, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project for each kind of remote."""
    return bake(template, tmp_path_factory.mktemp("rendered"), dvc_remote=request.param)


def workflows(project: Path) -> list[str]:
    return [str(path) for path in sorted((project / ".github/workflows").iterdir())]


def test_actionlint_finds_nothing(rendered: Path) -> None:
    require("actionlint")
    done = run(["actionlint", *workflows(rendered)], rendered)
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing(rendered: Path) -> None:
    done = run([str(BIN / "zizmor"), "--offline", "--no-progress", "."], rendered)
    assert done.returncode == 0, done.stdout


def test_githubs_schemas_hold(rendered: Path) -> None:
    action = str(rendered / ".github/actions/setup/action.yaml")
    for schema, files in {"vendor.github-workflows": workflows(rendered), "vendor.github-actions": [action]}.items():
        done = run([str(BIN / "check-jsonschema"), "--builtin-schema", schema, *files], rendered)
        assert done.returncode == 0, done.stdout


def test_nothing_is_found_in_the_templates_own_workflows() -> None:
    require("actionlint")
    own = [str(path) for path in sorted((ROOT / ".github/workflows").iterdir())]
    for command in (["actionlint", *own], [str(BIN / "zizmor"), "--offline", "--no-progress", *own]):
        done = run(command, ROOT)
        assert done.returncode == 0, done.stdout + done.stderr


def scalars(node: yaml.Node | None) -> list[yaml.ScalarNode]:
    """Every scalar below a node of YAML."""
    if isinstance(node, yaml.ScalarNode):
        return [node]
    children = node.value if node and isinstance(node.value, list) else []
    return [
        found
        for child in children
        for part in (child if isinstance(child, tuple) else (child,))
        for found in scalars(part)
    ]


def test_no_scalar_is_read_otherwise_than_it_looks(rendered: Path) -> None:
    # 3.10 is 3.1 and 1e5 a number, unless quoted; `on` is a key, and whole numbers are what they look like
    plain = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:null"}
    for path in workflows(rendered):
        for scalar in scalars(yaml.compose(Path(path).read_text())):
            looks = scalar.value in ("on", "true", "false") or scalar.value.isdigit()
            assert scalar.style is not None or scalar.tag in plain or looks, (path, scalar.value)


def test_actions_are_pinned_and_permissions_start_from_none(rendered: Path) -> None:
    for path in workflows(rendered):
        text = Path(path).read_text()
        assert all(PINNED.search(line) for line in text.splitlines() if "uses:" in line), path
        parsed = yaml.safe_load(text)
        assert parsed["permissions"] == {}
        assert all("permissions" in job for job in parsed["jobs"].values())
        assert "|| true" not in text
        assert "pull_request_target" not in text
        checkouts = [
            step
            for job in parsed["jobs"].values()
            for step in job.get("steps", [])
            if "checkout" in step.get("uses", "")
        ]
        assert all(step["with"]["persist-credentials"] is False for step in checkouts)
