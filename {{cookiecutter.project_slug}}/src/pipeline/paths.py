"""Where the pipeline's files lie, relative to the project's folder: the one list that stages and ops share."""

from pathlib import Path

DATA = Path("data")
FEATURES = Path("features")
MODELS = Path("models")
MODEL = MODELS / "model.onnx"
DRIFT_REFERENCE = MODELS / "drift.json"
ONLINE = MODELS / "online"
REPORTS = Path("reports")
CONTRACT = REPORTS / "contract.json"
METRICS = REPORTS / "metrics.json"
TRAINING = REPORTS / "training.csv"
PREDICTIONS = REPORTS / "predictions.parquet"
PLOTS = REPORTS / "plots"
CHAMPION = REPORTS / "champion.parquet"
VERDICT = REPORTS / "verdict.json"
REPORT = REPORTS / "report.md"
DRIFT = REPORTS / "drift.json"
LOCK = Path("dvc.lock")
DATA_DVC = Path("data.dvc")


def partitions(root: Path = DATA) -> list[str]:
    """Names of the accepted partitions, oldest first."""
    return sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
