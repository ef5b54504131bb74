"""Whatever has become of a file that a verb reads: one line names it, and nothing is a traceback."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from dvc.cli import main as dvc_main
from starlette.applications import Starlette
from tests.attempts import refused, works
from tests.engine.product import PACKAGES
from tests.engine.trained import onnx_bytes

from mergeworthy import config as settings
from mergeworthy import files, tracking
from mergeworthy.adapters import dvc
from mergeworthy.adapters.dvc import opened, stale_stages
from mergeworthy.config import base
from mergeworthy.data import fetch
from mergeworthy.drift import check as drift
from mergeworthy.errors import UserError
from mergeworthy.extras import backtest, sweep
from mergeworthy.extras.backtest import Copy
from mergeworthy.gate import run
from mergeworthy.release import image, publish, verify
from mergeworthy.report import sections as report
from mergeworthy.serving import app
from mergeworthy.stages import evaluate, features, reference, train, validate
from mergeworthy.verdict import Check, Verdict
from mergeworthy.workflow import comment, retraining

MONTHS = ("2013-01", "2013-02")
NEWEST = f"features/{MONTHS[1]}.parquet"
VERBS: dict[str, Callable[[], Any]] = {
    "validate": validate.main,
    "features": features.main,
    "train": lambda: (train.checkpoint_key(train.training_files(), base.params(), compute()), read_shards()),
    "evaluate": evaluate.main,
    "reference": reference.main,
    "plan": stale_stages,
    "data": lambda: fetch.fetch(None),
    "gate": run.run,
    "report": report.run,
    "card": publish.run_card,
    "comment": comment._report,
    "drift": lambda: drift.run(MONTHS[1]),
    "retrain": retraining.retrain,
    "track": tracking.read_record,
    "sweep": lambda: (settings.sweep(), settings.params(), sweep.split()),
    "image": lambda: (image.paths(), verify.read_golden()),
    "serve": lambda: app.start(Starlette()),
}


def compute() -> settings.Compute:
    return settings.infra().compute


def read_shards() -> None:
    """What the stage `train` does before it fits."""
    with files.whole(train.training_files(), "again"), train.sharded(train.training_files(), 8) as some:
        pl.concat(some).collect()


VERSIONS = "engine/src/mergeworthy/stages.yaml"
READ_BY = {
    "params.yaml": "features train plan sweep",
    "gates.yaml": "reference gate drift plan",
    "infra.yaml": "train data drift plan",
    "sweep.yaml": "sweep",
    "dvc.yaml": "plan report",
    "pyproject.toml": "plan card",
    VERSIONS: "plan",
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
    (folder / VERSIONS).parent.mkdir(parents=True)
    settings_files = ("params.yaml", "gates.yaml", "infra.yaml", "sweep.yaml", "dvc.yaml", "pyproject.toml")
    for name in (*settings_files, VERSIONS, "bentofile.yaml", ".bentoignore", ".dvcignore"):
        (folder / name).write_text(re.sub(r"\{\{.*?\}\}", "o", Path(name).read_text()))  # as it is generated
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DVC_NO_ANALYTICS", "1")
        git("init", "--quiet", "--initial-branch=main")
        assert dvc_main(["init", "--quiet"]) == 0
        for month in MONTHS:
            Path("data", month).mkdir(parents=True)
            for name, table in flights[month].items():
                some = table.gather_every(20) if name == "flights" else table
                some.write_parquet(f"data/{month}/{name}.parquet")
        assert dvc_main(["add", "--quiet", "data"]) == 0
        pointer = fetch.Pointer()
        for month in MONTHS:
            pointer.rows[month] = pl.read_parquet(f"data/{month}/flights.parquet").height
            pointer.md5[month] = fetch.folder_md5(Path("data", month))
        fetch.write_pointer(pointer)
        for folder_ in (files.MODELS, files.REPORTS):
            folder_.mkdir(exist_ok=True)
        validate.main()
        features.main()
        files.MODEL.write_bytes(onnx_bytes())
        files.TRAINING.write_text("epoch,epochs,train_loss\n1,2,0.6\n2,2,0.4\n")
        evaluate.main()
        reference.main()
        assert dvc_main(["commit", "--quiet", "--force"]) == 0
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
    verdict = run.run()
    passed = Check(name="all", result="pass", why="Passed.")
    said = verdict.model_copy(update={"outcome": "pass", "checks": [passed]})
    files.VERDICT.write_text(Verdict.model_validate(said.model_dump()).model_dump_json())


def outcome(verb: str) -> str:
    """What the verb says of it: its error, or what it wrote for a reader."""
    try:
        made = VERBS[verb]()
    except UserError as error:
        return str(error)
    if verb == "gate":
        return " ".join(check.why for check in made.checks if check.result == "block")
    return files.REPORT.read_text() if verb == "report" else ""


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


@pytest.mark.parametrize("name", ["x.dvc", "x.dvc at 0a1b2c3d4e5f"])
def test_another_file_of_dvcs_is_read_as_it_is(name: str) -> None:
    assert dvc.parse("a: 1", name) == {"a": 1}
    with pytest.raises(UserError, match="is not the YAML that DVC writes"):
        dvc.parse("- 1", name)


FLIGHTS = f"{MONTHS[1]}/flights.parquet"
# Content → what of it DVC then names, by the right hash: so it was recorded, and nobody altered it.
RECORDED: dict[str, tuple[bytes, str]] = {
    "no list": (b'{"a": 1}', "data.dvc"),
    "half a list": (b'[{"md5": "', "data.dvc"),
    "a list of something else": (b"[1, 2]", "data.dvc"),
    "a file elsewhere": (b'[{"md5": "0", "relpath": "../../x"}]', "data.dvc"),
    "a file of the machine": (b'[{"md5": "0", "relpath": "/tmp/x"}]', "data.dvc"),
    "a table": (b"PAR1 and no more", FLIGHTS),
    "predictions": (b"PAR1 and no more", "reports/predictions.parquet"),
}


@pytest.mark.parametrize("damage", RECORDED)
def test_what_the_gate_takes_from_dvc_is_named_if_it_is_damaged(
    project: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    # given an object of DVC's that is damaged, as it was recorded
    monkeypatch.chdir(project)
    content, named = RECORDED[damage]
    pointer = Path("dvc.lock" if named == "reports/predictions.parquet" else "data.dvc")
    with pristine(pointer) as before:
        old = before.decode()
        if named == "data.dvc":
            pointer.write_text(re.sub(r"[0-9a-f]{32}\.dir", kept(content, ".dir"), old, count=1))
        elif named == FLIGHTS:
            with opened() as store:
                listed = store.files(re.findall(r"[0-9a-f]{32}\.dir", old)[0], "data")
            entries = [{"md5": md5, "relpath": path} for path, md5 in (listed | {FLIGHTS: kept(content)}).items()]
            pointer.write_text(re.sub(r"[0-9a-f]{32}\.dir", kept(json.dumps(entries).encode(), ".dir"), old, count=1))
        else:
            recorded = files.md5(Path(named))
            pointer.write_text(old.replace(recorded, kept(content)))
            git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--message=x", "dvc.lock")
        # when / then
        try:
            said = outcome("gate")
        finally:
            if pointer.name == "dvc.lock":
                git("reset", "--quiet", "--soft", "HEAD~1")
    assert named in said
    assert re.search("is not what DVC writes|lies outside|is not a whole parquet file", said)
    assert not Path("../../x").exists()


def kept(content: bytes, suffix: str = "") -> str:
    """Put an object into DVC's cache, and return its hash."""
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest() + suffix
    path = Path(".dvc/cache/files/md5", md5[:2], md5[2:])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_overlay_is_named_in_one_line(damage: str) -> None:
    sound = publish.overlay_text(publish.Release("r/x", "sha256:1", *"abcde"), "staging").encode()
    name = str(publish.overlay_file("staging"))
    assert publish.read_overlay(Path(name).read_text(), name) is None  # as it is generated, before the first release
    with pytest.raises(UserError) as refused:
        publish.read_overlay(DAMAGES[damage](sound).decode(errors="replace"), name)
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_a_verb_of_a_replay_left_behind_damaged_is_named(damage: str, tmp_path: Path) -> None:
    copy = Copy(tmp_path, tmp_path / "log")
    for path in (files.DRIFT, files.VERDICT, files.FEATURES / "2013-01.parquet"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(DAMAGES[damage](b'{"outcome": "retrain", "sentence": "x", "checks": []}'))
    reads: dict[Path, Callable[[], Any]] = {
        files.DRIFT: lambda: backtest._follow(copy, "2013-01", image=False),
        files.VERDICT: lambda: backtest._blocking_checks(copy),
        files.FEATURES: lambda: backtest.measure(tmp_path, "2013-01", {}),
    }
    for path, read in reads.items():
        with pytest.raises(UserError) as refused:
            read()
        assert str(path) in str(refused.value)
        assert "\n" not in str(refused.value)


DENIED = """
from pathlib import Path
from mergeworthy import config as settings
from mergeworthy.errors import UserError
from mergeworthy.adapters import dvc
from mergeworthy.workflow import comment
from mergeworthy import tracking as record
from mergeworthy.stages import evaluate
for name, read in {
    "gates.yaml": settings.gates,
    "dvc.lock": lambda: dvc.read(Path("dvc.lock")),
    "features/2013-02.parquet": evaluate.main,
    "models/model.onnx": evaluate.main,
    "reports/training.csv": evaluate.main,
    "reports/metrics.json": record.read_record,
    "reports/report.md": comment._report,
}.items():
    mode = Path(name).stat().st_mode
    Path(name).chmod(0)
    try:
        read()
    except UserError as error:
        print(name, str(error), sep="|")
    Path(name).chmod(mode)
"""


def test_a_file_that_may_not_be_read_is_named_in_one_line(project: Path) -> None:
    # given an owner of the files for whom, unlike root, their modes count
    rights = "-dac_override,-dac_read_search"
    limited = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.geteuid() == 0 else []
    if limited and not shutil.which("setpriv"):
        pytest.skip("root may read everything, and setpriv is not here to take that right away")
    environment = os.environ | {"PYTHONPATH": PACKAGES}
    command = [*limited, sys.executable, "-c", DENIED]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = [line.split("|", 1) for line in done.stdout.splitlines()]
    assert len(answers) == DENIED.count('    "')
    for name, said in answers:
        assert name in said
        assert "Permission denied" in said


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
