"""A project in which something was trained: the files that `dvc repro` leaves, around a tiny ONNX."""

import hashlib
import json
import subprocess
from pathlib import Path

import onnx
import polars as pl
import yaml
from onnx import TensorProto, helper

WRITTEN = ("models/model.onnx", "reports/metrics.json", "reports/training.csv")
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d4944415478da63fcffff3f030005fe02fea7d6059b0000000049454e44ae426082"
)


def onnx_bytes() -> bytes:
    """score = sigmoid(distance, or 0.5 where it is missing) for carrier AA, 0 for any other."""
    nodes = [
        helper.make_node("IsNaN", ["distance"], ["missing"]),
        helper.make_node("Constant", [], ["half"], value_float=0.5),
        helper.make_node("Where", ["missing", "half", "distance"], ["known"]),
        helper.make_node("Sigmoid", ["known"], ["share"]),
        helper.make_node(
            "LabelEncoder",
            ["carrier"],
            ["flag"],
            domain="ai.onnx.ml",
            keys_strings=["AA"],
            values_floats=[1.0],
            default_float=0.0,
        ),
        helper.make_node("Mul", ["share", "flag"], ["score"]),
    ]
    inputs = [
        helper.make_tensor_value_info("distance", TensorProto.FLOAT, ["N", 1]),
        helper.make_tensor_value_info("carrier", TensorProto.STRING, ["N", 1]),
    ]
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])
    versions = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(helper.make_graph(nodes, "tiny", inputs, [score]), opset_imports=versions, ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def lock(folder: Path) -> str:
    """Write the dvc.lock that is true for what lies in `folder`; give its md5."""
    outs = [{"path": path, "hash": "md5", "md5": md5(folder / path)} for path in WRITTEN]
    params = {"params.yaml": {"train": {"epochs": 2, "rate": 0.01}}, "infra.yaml": {"compute": {"threads": 2}}}
    stages = {"train": {"cmd": "python -m mergeworthy.stages.train", "params": params, "outs": outs}}
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    return md5(folder / "dvc.lock")


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def make(folder: Path, uri: str = "sqlite:///mlflow.db") -> str:
    """Fill `folder` and commit it; give the md5 of its dvc.lock."""
    for name in ("models", "reports/plots", "features"):
        (folder / name).mkdir(parents=True)
    (folder / "models/model.onnx").write_bytes(onnx_bytes())
    figures = {"partition": "2013-06", "rows": 99, "model": {"auc": 0.7, "ece": None}, "baseline": {"auc": 0.5}}
    (folder / "reports/metrics.json").write_text(json.dumps(figures))
    (folder / "reports/training.csv").write_text("epoch,epochs,train_loss\n1,2,0.6\n2,2,0.4\n")
    (folder / "reports/plots/roc.png").write_bytes(PIXEL)
    for month, distance in (("2013-05", -9.0), ("2013-06", 1.0)):
        rows = {"distance": [distance, None, 3.0], "carrier": ["AA", "AA", None], "late": [True, None, False]}
        pl.DataFrame(rows).write_parquet(folder / f"features/{month}.parquet")
    (folder / "data.dvc").write_text(yaml.safe_dump({"outs": [{"md5": "abc.dir", "path": "data"}]}))
    tracking = {"uri": uri, "experiment": folder.name}
    (folder / "infra.yaml").write_text(yaml.safe_dump({"source": {"kind": "flights"}, "tracking": tracking}))
    (folder / ".gitignore").write_text("mlflow.db\nmlruns\n")
    digest = lock(folder)
    commit(folder)
    return digest


def commit(folder: Path) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q", "-b", "trunk"], ["add", "."], [*who, "commit", "-qm", "train"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
