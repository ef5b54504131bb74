"""The other sample than flights, generated and run by its own verbs: data, pipeline, gate, report, service, drift."""

import json
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.bake import PRODUCT, ROOT, bake, files, git, run
from tests.work import borrow, make, own_code, uv

SAMPLES = sorted(path.name for path in (ROOT / PRODUCT / "samples").iterdir())
MONTHS = 5  # of those in data.dvc, the newest ones: enough for a model, and fast
SERVE = """
import json
from mergeworthy.artifact import load
from mergeworthy.files import ONLINE
from mergeworthy.project import registered
from mergeworthy.release.verify import read_golden
from mergeworthy.serving.schema import columns, request
from mergeworthy.serving.scorer import EmbeddedStore, Scorer

golden, project = read_golden(), registered()
rows = request(project.schema, 1000).validate_json(golden.many)["rows"]
scores = Scorer(load(), EmbeddedStore(ONLINE, project.time), project.schema)(columns(project.schema, rows))
error = float((abs(scores - golden.scores) / abs(golden.scores).clip(1)).max())
print(json.dumps({"error": error, "answer": project.task.answer(scores[:1])}))
"""


def test_flights_are_what_is_generated_without_a_choice(template: Path, fresh: Path, tmp_path: Path) -> None:
    chosen = bake(template, tmp_path, sample="flights")
    assert {name: (chosen / name).read_bytes() for name in files(chosen)} == {
        name: (fresh / name).read_bytes() for name in files(fresh)
    }
    assert not (fresh / "samples").exists()


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_takes_the_place_of_flights(template: Path, fresh: Path, tmp_path: Path, sample: str) -> None:
    chosen = bake(template, tmp_path, sample=sample)
    # given the files that the sample has, each of them is in its place, and no other of src/ml and tests is
    folder = ROOT / PRODUCT / "samples" / sample
    held = {Path(name): (folder / name).read_bytes() for name in git(folder, "ls-files").split()}
    assert {name: (chosen / name).read_bytes() for name in held} == held
    assert {name for name in files(chosen) if name.parts[0] in ("src", "tests")} <= set(held)
    # then every stage finds the files that it depends on, and the rest is that of flights
    others = {name for name in files(fresh) if name.parts[0] not in ("src", "tests")}
    assert set(files(chosen)) - set(held) == others - set(held)
    infra = yaml.safe_load((chosen / "infra.yaml").read_text())
    assert infra["source"] == {"kind": sample}


@pytest.fixture(scope="module")
def demand(project: Path, template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The demand project with the environment of flights, and the variables by which it finds its package of data."""
    folder = bake(template, tmp_path_factory.mktemp("demand"), sample="demand")
    shutil.copy(project / "uv.lock", folder)
    borrow(project, folder)
    engine = tomllib.loads((folder / "engine/pyproject.toml").read_text())
    packages = folder.parent / "packages"
    needed = engine["project"]["optional-dependencies"]["demand"]
    uv(project, "pip", "install", "--quiet", "--no-deps", f"--target={packages}", *needed)
    pointer = yaml.safe_load((folder / "data.dvc").read_text())
    for key, values in pointer["meta"].items():
        pointer["meta"][key] = dict(list(values.items())[-MONTHS:])
    (folder / "data.dvc").write_text(yaml.safe_dump(pointer))
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Generated")
    return folder, {"PYTHONPATH": f"{own_code(folder)['PYTHONPATH']}:{packages}"}


@pytest.mark.dear
def test_demand_runs_from_data_to_drift(demand: tuple[Path, dict[str, str]]) -> None:
    # given the sample's own months, when a person runs the verbs
    folder, environment = demand
    make(folder, "data", "pipeline", "gate", "report", **environment)
    # then the first model may be merged, and the report shows what a regression is judged by
    verdict = json.loads((folder / "reports/verdict.json").read_text())
    assert (verdict["outcome"], verdict["partition"]) == ("pass", "2024-06"), verdict
    metrics = json.loads((folder / "reports/metrics.json").read_text())
    assert metrics["model"]["mae"] < 0.25 * metrics["baseline"]["mae"]
    report = (folder / "reports/report.md").read_text()
    assert all(word in report for word in ("mae", "pinball", "people an hour", "Coverage of the interval")), report
    # and the service answers as the model was judged, with the quantiles in their order
    done = run([str(folder / ".venv/bin/python"), "-c", SERVE], folder, **(own_code(folder) | environment))
    served = json.loads(done.stdout)
    assert served["error"] < 1e-5
    answer = served["answer"]
    assert answer["quantiles"]["0.1"][0] <= answer["predictions"][0] <= answer["quantiles"]["0.9"][0]
    # and a later month, which the model has not seen, is compared with what it learned from
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "First model")
    make(folder, "drift", "UNTIL=2024-07", **environment)
    drift = (folder / "reports/drift.md").read_text()
    assert "2024-07" in drift
    assert "(interval width)" in drift
