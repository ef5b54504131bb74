"""The files that stages and verbs share, relative to the project's folder, and the names of partitions."""

import re
from pathlib import Path

from .errors import UserError

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
DVC_YAML = Path("dvc.yaml")
LOCK = Path("dvc.lock")
DATA_DVC = Path("data.dvc")

# Names that file managers, editors, office programs and file systems create; .dvcignore has the same list for DVC.
IGNORED = re.compile(
    r"[.~].*|.*~|#.*#|.*\.(tmp|part|partial|crdownload|crc|swp|bak|orig)|.*:Zone\.Identifier|Icon\r|Thumbs\.db|ehthumbs\.db"
    r"|desktop\.ini|__MACOSX|__pycache__|CVS|lost\+found|@eaDir|#recycle|\$RECYCLE\.BIN"
    "|System Volume Information",
    re.DOTALL,
)
PARTITION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]{0,99}")


def is_ignored(name: str) -> bool:
    """Return whether a file or folder of this name was left by a program, and is not data."""
    return IGNORED.fullmatch(name) is not None


def partition(name: str, where: str) -> str:
    """Return `name` if it is a valid name of a partition; raise `UserError`, which begins with `where`, if not."""
    if not PARTITION.fullmatch(name):
        raise UserError(
            f"{where}: {name!r} cannot name a partition: use up to 100 letters a to z, digits, '_', '.', '-' and '=', "
            "and begin with a letter, a digit or '_'"
        )
    return name


def partitions(root: Path = DATA) -> list[str]:
    """Return the accepted partitions, oldest first; raise `UserError` for a folder with an invalid name."""
    folders = [path.name for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    return sorted(partition(name, f"{root}/") for name in folders if not is_ignored(name))


def tables(folder: Path) -> list[Path]:
    """Return the table files in a partition's folder, sorted by name."""
    return sorted(path for path in folder.glob("*.parquet") if not is_ignored(path.name))
