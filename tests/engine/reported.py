"""A project for the tests of the report: a champion on main, a branch with a new month, and the gate's verdict."""

import hashlib
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from tests.engine.product import PRODUCT

from mergeworthy.config.gates import Gates
from mergeworthy.files import REPORT
from mergeworthy.project import registered
from mergeworthy.report import sections
from mergeworthy.tasks.binary import METRICS
from mergeworthy.verdict import Check, Comparison, Verdict

GATES = PRODUCT / "gates.yaml"
ROWS = {f"2013-0{month}": 24_000 + 700 * month for month in range(1, 7)}
PARAMS = {"features": {"history_hours": 3}, "train": {"learning_rate": 0.002, "epochs": 8, "widths": [64, 32]}}
BLOCK = Check(name="champion: auc", result="block", figure=0.02, limit=0.01, why="auc is 0.0161 worse.")
WARN = Check(name="slices: origin", result="warn", why="log_loss seems worse: EWR by 0.0201 (9,000 rows).")


def git(folder: Path, *words: str) -> str:
    """Run git as a person without a name and return its output."""
    identity = {f"GIT_{role}_{key}": "t@localhost" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(
        ["git", *words], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


@dataclass
class Project:
    """A folder under git; `champion` is the commit of main."""

    root: Path
    champion: str = ""

    def write(self, path: str, content: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))

    def commit(self, message: str) -> str:
        git(self.root, "add", ".")
        git(self.root, "commit", "--quiet", "--message", message)
        return git(self.root, "rev-parse", "HEAD")

    def lock(self, data: str, params: dict[str, Any], code: str) -> None:
        """Write the dvc.lock of four stages."""
        features = f"features of {data} {params['features']}"
        model = f"model of {features} {params['train']} {code}"
        stages = {
            "evaluate": _stage(
                [("features", features), ("models/model.onnx", model)], [("reports/metrics.json", model)]
            ),
            "features": _stage([("data", data)], [("features", features)], {"features": params["features"]}),
            "train": _stage(
                [("features", features), ("src/ml/model.py", code)],
                [("models/model.onnx", model)],
                {"train": params["train"]},
            ),
            "validate": _stage([("data", data)], [("reports/contract.json", "passed")]),
        }
        self.write("dvc.lock", {"schema": "2.0", "stages": stages})

    def data(self, partitions: dict[str, Any], **content: str) -> None:
        """Write data.dvc; `content` changes the hash of partitions without changing their rows."""
        hashes = {name: _md5(f"{name} {rows} {content.get(name)}") for name, rows in partitions.items()}
        outs = [{"md5": f"{_md5(str(hashes))}.dir", "path": "data"}]
        self.write("data.dvc", {"outs": outs, "meta": {"partitions": partitions, "md5": hashes}})

    def judge(self, checks: list[Check], comparisons: list[Comparison], champion: str | None) -> Verdict:
        """Write the verdict that the gate would write."""
        results = {check.result for check in checks}
        verdict = Verdict(
            outcome="block" if "block" in results else "warn" if "warn" in results else "pass",
            commit=git(self.root, "rev-parse", "HEAD"),
            lock=hashlib.md5((self.root / "dvc.lock").read_bytes(), usedforsecurity=False).hexdigest(),
            champion=champion,
            partition="2013-06",
            checks=checks,
            comparisons=comparisons,
        )
        self.write("reports/verdict.json", verdict.model_dump_json(indent=2))
        return verdict

    def evaluate(self, rows: int = 20_000) -> None:
        """Write metrics, predictions and history of a model that is a little overconfident."""
        rng = np.random.default_rng(7)
        truth = np.clip(rng.beta(1.6, 4.2, rows), 0.01, 0.99)
        label = rng.random(rows) < truth
        logit = 1.25 * np.log(truth / (1 - truth)) + rng.normal(0, 0.5, rows)
        score = (1 / (1 + np.exp(-logit))).astype(np.float32)
        model = {name: metric(label, score.astype(np.float64)) for name, metric in METRICS.items()}
        guess = {"auc": 0.5, "log_loss": 0.5934, "brier": 0.2, "ece": 0.021, "calibration_slope": None}
        measured = {"partition": "2013-06", "rows": rows, "positive_share": label.mean(), "model": model}
        self.write("reports/metrics.json", json.dumps(measured | {"baseline": guess}))
        pl.DataFrame({registered().target: label, "score": score}).write_parquet(
            self.root / "reports/predictions.parquet"
        )
        epoch = np.arange(1, 9)
        loss = {"train_loss": 0.44 + 0.2 / epoch, "valid_loss": 0.47 + 0.15 / epoch + 0.001 * epoch}
        pl.DataFrame({"epoch": epoch, "epochs": 8, **loss}).write_csv(self.root / "reports/training.csv")

    def gates(self) -> Gates:
        return Gates.model_validate(yaml.safe_load((self.root / "gates.yaml").read_text()))


def make_project(root: Path) -> Project:
    """Make a branch that adds a month, trains longer and changes the model, and passes the gate."""
    project = Project(root)
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "--quiet", "--initial-branch=main")
    project.write("gates.yaml", GATES.read_text())
    project.write(".gitignore", "/reports/\n")
    project.write("params.yaml", PARAMS)
    project.write("src/ml/model.py", "".join(f"line {n}\n" for n in range(80)))
    project.data(dict(list(ROWS.items())[:5]))
    project.lock("five months", PARAMS, "first")
    project.champion = project.commit("The champion")
    git(root, "switch", "--quiet", "--create", "work")
    changed = PARAMS | {"train": PARAMS["train"] | {"epochs": 12, "widths": [64, 64]}}
    project.write("params.yaml", changed)
    project.write("src/ml/model.py", "".join(f"line {n}\n" for n in range(20, 95)))
    project.write("tests/test_model.py", "def test(): ...\n")
    project.data(ROWS)
    project.commit("A month more")
    project.lock("six months", changed, "second")
    project.evaluate()
    project.judge(checks(), [comparison("auc", -0.0061), comparison("log_loss", 0.0009), *slices(14)], project.champion)
    return project


def checks(*more: Check) -> list[Check]:
    """Return three checks that passed, and more."""
    return [
        Check(name="data contract", result="pass", why="All 6 partitions passed validation."),
        Check(name="evaluation", result="pass", why="The shipped model, scored again, gives the reported figures."),
        Check(name="floor: auc", result="pass", figure=0.7461, limit=0.65, why="auc lies within 0.65…."),
        *more,
    ]


def comparison(metric: str, worse_by: float, **fields: Any) -> Comparison:
    """Return a comparison with the champion."""
    sign = -1 if METRICS[metric].greater_is_better else 1
    champion = 0.7402 if metric == "auc" else 0.5021
    return Comparison(
        **{"rows": 28_243, "blocks": 30, "margin": 0.01} | fields,
        metric=metric,
        champion=champion,
        challenger=champion + sign * worse_by,
        worse_by=worse_by,
        low=worse_by - 0.0034,
        high=worse_by + 0.0034,
    )


def slices(number: int) -> list[Comparison]:
    """Return the comparisons of slices, worst first."""
    names = ["UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E", "WN", "VX", "FL", "AS", "F9", "YV"]
    values = [(names[n % 14] + (f"-{n}" if n >= 14 else ""), 0.009 - 0.0017 * (n % 14)) for n in range(number)]
    return [
        comparison("log_loss", by, column="carrier", value=name, rows=5_000 - 300 * (n % 14), margin=0.03)
        for n, (name, by) in enumerate(values)
    ]


def _stage(
    deps: list[tuple[str, str]], outs: list[tuple[str, str]], params: dict[str, Any] | None = None
) -> dict[str, Any]:
    sides = {
        kind: [{"path": path, "md5": _md5(text)} for path, text in files]
        for kind, files in (("deps", deps), ("outs", outs))
    }
    return {"cmd": "python -m mergeworthy.stages.…", **sides, **({"params": {"params.yaml": params}} if params else {})}


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def write_report() -> str:
    """Write the report of the current folder and return it."""
    sections.run()
    return REPORT.read_text()
