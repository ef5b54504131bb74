"""Whatever has become of a file that a verb reads: one line names it, and nothing is a traceback."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from dvc.cli import main as dvc
from starlette.applications import Starlette
from tests.attempts import refused, works
from tests.ops.trained import onnx_bytes

from pipeline import files, paths, settings
from pipeline.errors import UserError
from pipeline.ops import comment, data, gate, plan, report, retrain
from pipeline.ops.drift import check as drift
from pipeline.ops.gate.verdict import Check, Verdict
from pipeline.ops.image import content, golden
from pipeline.ops.release import card
from pipeline.ops.sweep import trial
from pipeline.ops.tracking import record
from pipeline.serving import start
from pipeline.stages import evaluate, features, parts, reference, train, validate

MONTHS = ("2013-01", "2013-02")
NEWEST = f"features/{MONTHS[1]}.parquet"
VERBS: dict[str, Callable[[], Any]] = {
    "validate": validate.main,
    "features": features.main,
    "train": lambda: (train.read_params(), train.key(train.training_files(), train.read_params(), compute()), dealt()),
    "evaluate": evaluate.main,
    "reference": reference.main,
    "plan": plan.stale_stages,
    "data": lambda: data.fetch(None),
    "gate": gate.run,
    "report": report.run,
    "card": card.run,
    "comment": comment._report,
    "drift": lambda: drift.run(MONTHS[1]),
    "retrain": retrain.run,
    "track": record.read,
    "sweep": lambda: (settings.sweep(), settings.params(), trial.split()),
    "image": lambda: (content.paths(), golden.read()),
    "serve": lambda: start.start(Starlette()),
}


def compute() -> settings.Compute:
    return settings.infra().compute


def dealt() -> None:
    """What the stage `train` does before it fits."""
    with files.whole(train.training_files(), "again"), parts.dealt(train.training_files(), 8) as some:
        pl.concat(some).collect()


READ_BY = {
    "params.yaml": "features train plan sweep",
    "gates.yaml": "reference gate drift plan",
    "infra.yaml": "train data drift plan",
    "sweep.yaml": "sweep",
    "dvc.yaml": "plan report",
    "pyproject.toml": "plan card",
    "bentofile.yaml": "image",
    "data.dvc": "plan data gate report card image",
    "dvc.lock": "plan gate report card track",
    "data/2013-02/flights.parquet": "validate features image",
    "features/2013-01.parquet": "train evaluate reference gate",
    NEWEST: "evaluate reference gate",
    "models/model.onnx": "evaluate reference gate drift track serve",
    "models/drift.json": "drift",
    "models/online/weather.parquet": "serve",
    "reports/contract.json": "gate",
    "reports/metrics.json": "gate report card track",
    "reports/predictions.parquet": "report image",
    "reports/training.csv": "evaluate report track",
    "reports/verdict.json": "report card track",
    "reports/drift.json": "retrain",
    "reports/report.md": "comment",
}
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "binary": lambda _: bytes(range(256)),
    "null": lambda _: b"null\n",
    "a list": lambda _: b"[1, 2]\n",
    "other keys": lambda _: b'{"stages": null, "outs": null, "meta": 3, "partitions": null, "model": [], "lock": 3}\n',
    "nested": lambda _: b"[" * 100_000,
    "in conflict": lambda content: b"<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> main\n" + content,
}
EVERYWHERE = ("binary", "other keys", "a folder")  # seen by every verb, the others by one verb each: they share readers
PLACES = ("a folder", "a loop of links")
TEXTS = ("truncated", "null", "a list", "other keys", "nested")
# What is left is a file of its kind all the same: nothing tells that more was there, and the verb works with it.
SOUND = [
    (
        "reports/training.csv",
        {"empty", "truncated", "null", "a list", "other keys", "nested"},
        {"evaluate", "report", "track"},
    ),
    ("reports/report.md", {"empty", "truncated", "null", "a list", "other keys", "nested", "in conflict"}, {"comment"}),
    ("*.yaml", {"truncated", "other keys"}, {"plan"}),  # what a key means, its stage says
    ("pyproject.toml", {"empty", "truncated"}, {"plan", "card"}),
    ("*.yaml", {"truncated"}, set(VERBS)),
    ("data.dvc", {"truncated"}, set(VERBS)),
    ("data.dvc", {"a loop of links"}, {"report"}),  # as if missing
    ("reports/verdict.json", {"other keys", "a loop of links"}, {"track"}),  # one of another model, or none yet
    ("dvc.lock", {"truncated", "other keys"}, {"plan", "card", "report"}),  # as before the first training
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, flights: dict[str, dict[str, pl.DataFrame]]) -> Iterator[Path]:
    """Every file that a verb reads, as the stages write them around a model of two inputs."""
    here, folder = Path.cwd(), tmp_path_factory.mktemp("broken") / "project"
    shutil.copytree("src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    settings_files = ("params.yaml", "gates.yaml", "infra.yaml", "sweep.yaml", "dvc.yaml", "pyproject.toml")
    for name in (*settings_files, "bentofile.yaml", ".bentoignore", ".dvcignore"):
        (folder / name).write_text(re.sub(r"\{\{.*?\}\}", "o", Path(name).read_text()))  # as it is generated
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DVC_NO_ANALYTICS", "1")
        git("init", "--quiet", "--initial-branch=main")
        assert dvc(["init", "--quiet"]) == 0
        for month in MONTHS:
            Path("data", month).mkdir(parents=True)
            for name, table in flights[month].items():
                some = table.gather_every(20) if name == "flights" else table
                some.write_parquet(f"data/{month}/{name}.parquet")
        assert dvc(["add", "--quiet", "data"]) == 0
        pointer = data.pointer.Pointer()
        for month in MONTHS:
            pointer.rows[month] = pl.read_parquet(f"data/{month}/flights.parquet").height
            pointer.md5[month] = data.pointer.folder_md5(Path("data", month))
        data.pointer.write(pointer)
        for folder_ in (paths.MODELS, paths.REPORTS):
            folder_.mkdir(exist_ok=True)
        validate.main()
        features.main()
        paths.MODEL.write_bytes(onnx_bytes())
        paths.TRAINING.write_text("epoch,epochs,train_loss\n1,2,0.6\n2,2,0.4\n")
        evaluate.main()
        reference.main()
        assert dvc(["commit", "--quiet", "--force"]) == 0
        git("add", "--all")
        git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--message=trained")
        drift.run(MONTHS[1])
        judged()
        report.run()
    yield folder
    os.chdir(here)


def git(*words: str) -> None:
    subprocess.run(["git", *words], check=True)


def judged() -> None:
    """Write the verdict of a gate that passed this model."""
    verdict = gate.run()
    passed = Check(name="all", result="pass", why="Passed.")
    said = verdict.model_copy(update={"outcome": "pass", "checks": [passed]})
    paths.VERDICT.write_text(Verdict.model_validate(said.model_dump()).model_dump_json())


def outcome(verb: str) -> str:
    """What the verb says of it: its error, or what it wrote for a reader."""
    try:
        made = VERBS[verb]()
    except UserError as error:
        return str(error)
    if verb == "gate":
        return " ".join(check.why for check in made.checks if check.result == "block")
    return paths.REPORT.read_text() if verb == "report" else ""


@pytest.mark.attempts("damaged file")
@pytest.mark.parametrize("damage", [*DAMAGES, *PLACES])
@pytest.mark.parametrize("name", READ_BY)
def test_a_damaged_file_is_named_in_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: str
) -> None:
    monkeypatch.chdir(project)
    path = Path(name)
    verbs = READ_BY[name].split()
    if damage not in EVERYWHERE:
        verbs = [verbs[[*DAMAGES, *PLACES].index(damage) % len(verbs)]]
    for verb in verbs:
        with pristine(path) as before:
            if damage == "a folder":
                path.mkdir()
            elif damage == "a loop of links":
                path.symlink_to(path.name)
            else:
                path.write_bytes(DAMAGES[damage](before))
            said = outcome(verb)
            sound = any(path.match(like) and damage in kinds and verb in verbs for like, kinds, verbs in SOUND)
            case = f"{name}, {damage}: {verb}"
            if name in said:
                refused(next(line for line in said.splitlines() if name in line) if verb == "report" else said, case)
            else:
                works(said, case)
                assert sound, (verb, said)
                assert verb == "report" or "\n" not in said


@contextmanager
def pristine(path: Path) -> Iterator[bytes]:
    """Take a file away, and put it back at the end with all that a verb wrote meanwhile; give its content."""
    shutil.copytree(".", "../kept", ignore=shutil.ignore_patterns("src", ".*", "data"), symlinks=True)
    before = path.read_bytes()
    path.unlink()
    try:
        yield before
    finally:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        path.write_bytes(before)
        for folder in ("features", "models", "reports"):
            shutil.rmtree(folder)
        shutil.copytree("../kept", ".", dirs_exist_ok=True)
        shutil.rmtree("../kept")
