"""A small project under real git and real DVC, whose models are three-line ONNX graphs of known quality."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as graph
import polars as pl
import yaml
from dvc.cli import main

from pipeline import holdout, ml
from pipeline.ops.gate import Verdict, run
from pipeline.paths import CONTRACT, METRICS, MODEL

MONTHS = {"2013-05": 31, "2013-06": 30}
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
  train:
    cmd: mkdir -p models && cp weights models/model.onnx
    deps: [data, weights]
    outs: [models/model.onnx]
"""


def features(month: str, seed: int = 0) -> pl.DataFrame:
    """Rows whose label follows `signal`; `noise` says nothing; `signal_c` is the signal of carrier C alone."""
    rng, rows = np.random.default_rng(seed), MONTHS[month] * PER_DAY
    day, signal = np.arange(rows) // PER_DAY, rng.normal(size=rows)
    carrier = rng.choice(list("ABC"), rows, p=[0.5, 0.4, 0.1])
    start = datetime.fromisoformat(f"{month}-01")
    times = [start + timedelta(days=int(d), minutes=i % PER_DAY) for i, d in enumerate(day)]
    shift = rng.normal(scale=0.2, size=MONTHS[month])[day]
    return pl.DataFrame(
        {
            "sched_dep": pl.Series(times, dtype=pl.Datetime("us")),
            "date": pl.Series([time.date() for time in times]),
            "carrier": carrier,
            "origin": rng.choice(["EWR", "JFK", "LGA"], rows),
            "flight": np.arange(rows, dtype=np.int16),
            "signal": signal.astype(np.float32),
            "signal_c": np.where(carrier == "C", signal, 0).astype(np.float32),
            "noise": rng.normal(size=rows).astype(np.float32),
            ml.LABEL: rng.random(rows) < 1 / (1 + np.exp(1 - signal - shift)),
        }
    )


def model(bias: float = 0.0, **weights: float) -> bytes:
    """Give sigmoid(bias + sum of weight x column) as ONNX with an input per column."""
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
    built = graph.make_graph(nodes, "model", values, [score], constants)
    made = graph.make_model(built, opset_imports=[graph.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())


class Project:
    """What a person does in such a project: train, commit, push, gate."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def sh(self, *command: str) -> str:
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def dvc(self, *arguments: str) -> None:
        with self.inside():  # in this process: starting another takes most of a second
            assert main([*arguments, "--quiet"]) == 0

    def ship(self, **weights: float) -> None:
        """Train: the model is in models/, the lock records it, and its figures are reported."""
        (self.root / "weights").write_bytes(model(**weights))
        self.dvc("repro")
        with self.inside():
            newest = holdout.read()
            score = ml.predict(holdout.session(MODEL.read_bytes()), newest.table)
            METRICS.write_text(json.dumps(holdout.measure(newest, score)))

    def commit(self, message: str) -> str:
        self.sh("git", "add", ".")
        self.sh("git", "commit", "--quiet", "--allow-empty", "-m", message)
        return self.sh("git", "rev-parse", "HEAD")

    def gates(self, **sections: Any) -> None:
        """Write gates.yaml with some sections replaced."""
        (self.root / "gates.yaml").write_text(yaml.safe_dump(GATES | sections))

    def rewrite(self, edit: Any) -> None:
        """Replace the feature files by what `edit` makes of them."""
        for path in (self.root / "features").iterdir():
            edit(pl.read_parquet(path)).write_parquet(path)

    def objects(self) -> Iterator[Path]:
        """Every copy of the committed model that DVC has, in its cache and on its remote."""
        lock = yaml.safe_load(self.sh("git", "show", "main:dvc.lock"))
        md5 = lock["stages"]["train"]["outs"][0]["md5"]
        for store in (self.root / ".dvc/cache", self.root.parent / "remote"):
            yield store / "files/md5" / md5[:2] / md5[2:]

    def gate(self, champion: str | None = None) -> Verdict:
        with self.inside():
            return run(champion)

    @contextmanager
    def inside(self) -> Iterator[None]:
        here = Path.cwd()
        os.chdir(self.root)
        try:
            yield
        finally:
            os.chdir(here)


def found(folder: Path) -> Project:
    """Make a project on `main` with data, features and gates, a DVC remote beside it, and no model yet."""
    project = Project(folder / "project")
    project.root.mkdir(parents=True)
    for month in MONTHS:
        table, path = features(month), project.root / "data" / month / "flights.parquet"
        path.parent.mkdir(parents=True)
        table.select("sched_dep", "carrier", "flight").write_parquet(path)
        (project.root / "features").mkdir(exist_ok=True)
        table.write_parquet(project.root / "features" / f"{month}.parquet")
    for command in (("init", "-b", "main"), ("config", "user.name", "T"), ("config", "user.email", "t@example.org")):
        project.sh("git", *command)
    project.dvc("init")
    (folder / "remote").mkdir()
    project.dvc("remote", "add", "--default", "store", "../remote")
    project.dvc("add", "data")
    data = project.root / "data.dvc"
    rows = {month: days * PER_DAY for month, days in MONTHS.items()}
    data.write_text(yaml.safe_dump(yaml.safe_load(data.read_text()) | {"meta": {"partitions": rows}}))
    (project.root / "dvc.yaml").write_text(DVC_YAML)
    (project.root / ".gitignore").write_text("/data\n/features\n/models\n/reports\n")
    (project.root / "reports").mkdir()
    (project.root / CONTRACT).write_text(json.dumps({"partitions": rows}))
    project.gates()
    project.commit("A project")
    return project


def copy(project: Project, folder: Path) -> Project:
    """Give a test its own project, remote included."""
    shutil.copytree(project.root.parent, folder, dirs_exist_ok=True)
    return Project(folder / "project")
