"""A small project under real git and real DVC, whose models are three-line ONNX graphs of a given quality."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.helper as graph
import polars as pl
import yaml
from dvc.cli import main
from tests.engine import registration
from tests.engine.gate import ml

import mergeworthy
from mergeworthy import artifact, holdout
from mergeworthy.files import CONTRACT, METRICS, MODEL, PREDICTIONS, TRAINING
from mergeworthy.gate import rows as partition
from mergeworthy.gate.run import run
from mergeworthy.project import Project as Registration
from mergeworthy.project import registered
from mergeworthy.verdict import Verdict

if TYPE_CHECKING:
    from tests.engine.gate.other_tasks import Sample

SOURCE, CODE = Path(mergeworthy.__file__).parent, Path(ml.__file__).parent
PARAMS = {"features": {"late_minutes": 15, "weather_lag_hours": 1, "history_hours": 3}}
MONTHS = {"2013-04": 30, "2013-05": 31, "2013-06": 30, "2013-07": 31}
PER_DAY = 200
GOOD = {"signal": 1.0, "bias": -1.0}

GATES: dict[str, Any] = {
    "floors": {"auc": {"min": 0.6}, "calibration_slope": {"min": 0.7, "max": 1.4}},
    "beats_baseline": ["auc", "log_loss"],
    "champion": {"margins": {"auc": 0.02, "log_loss": 0.02}},
    "slices": {"columns": ["carrier", "origin"], "metric": "log_loss", "margin": 0.03, "minimum_rows": 300},
    "bootstrap": {"block": "date"},
    "cost": {"model_mb": 1, "latency_p95_ms": 50},
}

DVC_YAML = """\
stages:
  features:
    cmd: python -m mergeworthy.stages.features
    deps: [data, src/ml/__init__.py, src/ml/features.py, src/ml/params.py]
    params: [features]
    outs: [features]
  train:
    cmd: mkdir -p models && cp weights models/model.onnx && echo > reports/training.csv
    deps: [features, weights]
    outs: [models/model.onnx, reports/training.csv]
  evaluate:
    cmd: python -m mergeworthy.stages.evaluate
    deps: [features, models/model.onnx, reports/training.csv, src/ml/__init__.py, src/ml/schema.py]
    outs: [reports/predictions.parquet]
"""
PYPROJECT = """\
[tool.mergeworthy]
project = "ml:project"
"""


def flights(month: str, seed: int = 0) -> pl.DataFrame:
    """Return rows whose delay depends on `signal`, and not on `noise`."""
    rng, rows = np.random.default_rng(seed), MONTHS[month] * PER_DAY
    day, signal = np.arange(rows) // PER_DAY, rng.normal(size=rows)
    carrier = rng.choice(list("ABC"), rows, p=[0.5, 0.4, 0.1])
    start = datetime.fromisoformat(f"{month}-01")
    times = [start + timedelta(days=int(d), minutes=i % PER_DAY) for i, d in enumerate(day)]
    shift = rng.normal(scale=0.2, size=MONTHS[month])[day]
    origin, noise = rng.choice(["EWR", "JFK", "LGA"], rows), rng.normal(size=rows)
    late = rng.random(rows) < 1 / (1 + np.exp(1 - signal - shift))
    return pl.DataFrame(
        {
            "sched_dep": pl.Series(times, dtype=pl.Datetime("us")),
            "carrier": carrier,
            "tailnum": "N42",
            "origin": origin,
            "flight": np.arange(rows, dtype=np.int16),
            "signal": signal.astype(np.float32),
            "noise": noise.astype(np.float32),
            "arr_delay": np.where(late, rng.integers(16, 120, rows), rng.integers(-20, 16, rows)).astype(np.int16),
        }
    )


def features(month: str, seed: int = 0) -> pl.DataFrame:
    """Return the features of a month; `signal_c` is the signal of carrier C alone."""
    params = ml.project.params.model_validate(PARAMS)
    return ml.project.build_features({"flights": flights(month, seed).lazy()}, params).collect()


def model(bias: float = 0.0, **weights: float) -> bytes:
    """Return sigmoid(bias + sum of weight x column) as ONNX with an input per column."""
    nodes, last = [], "zero"
    constants = [graph.make_tensor("zero", onnx.TensorProto.FLOAT, [1, 1], [bias])]
    for name, weight in weights.items():
        constants.append(graph.make_tensor(f"w_{name}", onnx.TensorProto.FLOAT, [1, 1], [weight]))
        nodes += [
            graph.make_node("Mul", [name, f"w_{name}"], [f"t_{name}"]),
            graph.make_node("Add", [last, f"t_{name}"], [f"s_{name}"]),
        ]
        last = f"s_{name}"
    nodes.append(graph.make_node("Sigmoid", [last], ["score"]))
    values = [graph.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, 1]) for name in weights]
    score = graph.make_tensor_value_info("score", onnx.TensorProto.FLOAT, [None, 1])
    whole = graph.make_graph(nodes, "model", values, [score], constants)
    proto = graph.make_model(whole, opset_imports=[graph.make_opsetid("", 17)], ir_version=9)
    return bytes(proto.SerializeToString())


class Project:
    """The steps of a person in such a project: train, commit, push, run the gate."""

    def __init__(self, root: Path, rules: Mapping[str, Any] = GATES) -> None:
        self.root, self.rules = root, rules

    def sh(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def dvc(self, *arguments: str) -> None:
        with self.inside():  # in this process: starting another takes most of a second
            assert main([*arguments, "--quiet"]) == 0

    def ship(self, **weights: float) -> None:
        """Write a model's file, predictions and metrics as the stages would."""
        self.ship_file(model(**weights))

    def ship_file(self, content: bytes) -> None:
        """Ship any file; if it cannot be scored, the metrics stay those of the model before."""
        (self.root / "weights").write_bytes(content)
        with self.inside():
            MODEL.parent.mkdir(exist_ok=True)
            figures = PREDICTIONS.read_bytes() if PREDICTIONS.exists() else b""
            for path in (MODEL, PREDICTIONS, TRAINING):
                path.unlink(missing_ok=True)  # a link into DVC's cache
            MODEL.write_bytes(content)
            TRAINING.write_text("epoch,epochs,train_loss\n1,1,0.7\n")
            PREDICTIONS.write_bytes(figures)
        with self.inside(), suppress(Exception):
            newest = holdout.read()
            score = artifact.predict(artifact.session(MODEL.read_bytes()), newest.table)
            METRICS.write_text(json.dumps(holdout.measure(newest, score)))
            recorded = newest.table.select(*partition.key(), registered().target)
            recorded = recorded.with_columns(score=pl.Series(score, dtype=registered().task.score_type))
            recorded.write_parquet(PREDICTIONS)
        self.dvc("commit", "--force")

    def build(self, **params: int) -> None:
        """Set feature parameters, and build the features of all partitions."""
        path = self.root / "params.yaml"
        content = yaml.safe_load(path.read_text())
        content["features"] |= params
        path.write_text(yaml.safe_dump(content))
        shutil.rmtree(self.root / "features", ignore_errors=True)
        (self.root / "features").mkdir()
        with self.inside() as project:
            for folder in sorted(Path("data").iterdir()):
                rows = {"flights": pl.scan_parquet(folder / "flights.parquet")}
                table = project.build_features(rows, project.params.model_validate(content)).collect()
                table.write_parquet(f"features/{folder.name}.parquet")

    def deliver(self, month: str, table: pl.DataFrame) -> None:
        """Add a month's rows to the data, and build the features."""
        path = self.root / "data" / month / "flights.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        table.write_parquet(path)
        self.dvc("add", "data")
        rows = {f.name: pl.scan_parquet(f / "flights.parquet").select(pl.len()).collect().item() for f in self.months()}
        data = self.root / "data.dvc"
        data.write_text(yaml.safe_dump(yaml.safe_load(data.read_text()) | {"meta": {"partitions": rows}}))
        (self.root / CONTRACT).write_text(json.dumps({"partitions": rows}))
        self.build()

    def metrics(self, commit: str | None = None) -> dict[str, float]:
        """Return the metrics of the predictions here, or of main's recorded ones."""
        path = self.root / PREDICTIONS
        if commit:
            path = next(self.objects(str(PREDICTIONS)))
        table = pl.read_parquet(path)
        label, score = table[ml.project.target].to_numpy(), table["score"].cast(pl.Float64).to_numpy()
        return {name: metric(label, score) for name, metric in ml.project.all_metrics.items()}

    def months(self) -> list[Path]:
        return sorted((self.root / "data").iterdir())

    def commit(self, message: str) -> str:
        self.sh("git", "add", ".")
        self.sh("git", "commit", "--quiet", "--allow-empty", "-m", message)
        return self.sh("git", "rev-parse", "HEAD")

    def gates(self, **sections: Any) -> None:
        """Write gates.yaml with some sections replaced."""
        (self.root / "gates.yaml").write_text(yaml.safe_dump({**self.rules, **sections}))

    def take(self, sample: "Sample") -> None:
        """Become a project of another task: its code, data, features and rules."""
        for path in CODE.glob("*.py"):
            (self.root / "src/ml" / path.name).write_text(sample.code(path.name, path.read_text()))
        for folder in self.months():
            path = folder / "flights.parquet"
            path.unlink()  # a link into DVC's cache
            sample.flights(folder.name, 0).write_parquet(path)
        self.deliver(folder.name, sample.flights(folder.name, 0))
        self.rules = sample.gates
        self.gates()

    def rewrite(self, edit: Any) -> None:
        """Replace each feature file by the result of `edit`."""
        for path in (self.root / "features").iterdir():
            edit(pl.read_parquet(path)).write_parquet(path)

    def objects(self, path: str = "models/model.onnx") -> Iterator[Path]:
        """Yield the copies of an out of main in DVC's cache and on its remote."""
        lock = yaml.safe_load(self.sh("git", "show", "main:dvc.lock"))
        outs = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
        md5 = outs[path]
        for store in (self.root / ".dvc/cache", self.root.parent / "remote"):
            yield store / "files/md5" / md5[:2] / md5[2:]

    def gate(self, champion: str | None = None) -> Verdict:
        with self.inside():
            return run(champion)

    def inside(self) -> AbstractContextManager[Registration]:
        """Work in the project's folder, with its code."""
        return registration.inside(self.root)


def create_project(folder: Path, sample: "Sample | None" = None) -> Project:
    """Create a project on `main` with data, features, gates, a DVC remote beside it, and no model yet.

    Without a `sample` its task is yes or no.
    """
    project = Project(folder / "project")
    source = project.root / "engine/src/mergeworthy"
    shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(CODE, project.root / "src/ml", ignore=shutil.ignore_patterns("__pycache__"))
    (project.root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    (project.root / "pyproject.toml").write_text(PYPROJECT)
    for command in (("init", "-b", "main"), ("config", "user.name", "T"), ("config", "user.email", "t@example.org")):
        project.sh("git", *command)
    project.dvc("init")
    (folder / "remote").mkdir()
    project.dvc("remote", "add", "--default", "store", "../remote")
    (project.root / "dvc.yaml").write_text(DVC_YAML)
    (project.root / ".gitignore").write_text("/data\n/features\n/models\n/reports\n__pycache__\n")
    (project.root / "reports").mkdir()
    for month in ("2013-05", "2013-06"):
        project.deliver(month, flights(month))
    project.gates()
    if sample:
        project.take(sample)
    project.commit("A project")
    return project


def merge(project: Project, message: str) -> str:
    """Commit, merge the branch `work` into main, return the merge, and stay on `work`."""
    project.commit(message)
    project.sh("git", "switch", "--quiet", "main")
    project.sh("git", "merge", "--quiet", "--no-ff", "--message", f"Merge: {message}", "work")
    merged = project.sh("git", "rev-parse", "HEAD")
    project.sh("git", "switch", "--quiet", "work")
    return merged


def copy(project: Project, folder: Path) -> Project:
    """Return a copy of the project, its remote included."""
    shutil.copytree(project.root.parent, folder, dirs_exist_ok=True)
    return Project(folder / "project", project.rules)
