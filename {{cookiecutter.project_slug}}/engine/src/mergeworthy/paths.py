"""Where the pipeline's files lie, relative to the project's folder: the one list that stages and ops share."""

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
LOCK = Path("dvc.lock")
DATA_DVC = Path("data.dvc")


# What file managers, editors, office programs and disks leave behind is not data; .dvcignore says the same to DVC.
LEFT_BEHIND = re.compile(
    r"[.~].*|.*~|#.*#|.*\.(tmp|part|partial|crdownload|crc|swp|bak|orig)|.*:Zone\.Identifier|Icon\r|Thumbs\.db|ehthumbs\.db"
    r"|desktop\.ini|__MACOSX|__pycache__|CVS|lost\+found|@eaDir|#recycle|\$RECYCLE\.BIN"
    "|System Volume Information",
    re.DOTALL,
)
PARTITION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]{0,99}")


def left_behind(name: str) -> bool:
    """Return whether a file or folder of this name is what a program left, and no data."""
    return LEFT_BEHIND.fullmatch(name) is not None


def partition(name: str, where: str) -> str:
    """Return `name` if it can name a partition, and so a folder; raise `UserError` naming `where` it came from."""
    if not PARTITION.fullmatch(name):
        raise UserError(
            f"{where}: {name!r} cannot name a partition: up to 100 letters a to z, digits, '_', '.', '-' and '=' can, "
            "and the first is a letter, a digit or '_'"
        )
    return name


def partitions(root: Path = DATA) -> list[str]:
    """Return the names of the accepted partitions, oldest first; raise `UserError` for a folder that cannot be one."""
    folders = (
        [path.name for path in root.iterdir() if path.is_dir() and not left_behind(path.name)] if root.is_dir() else []
    )
    return sorted(partition(name, f"{root}/") for name in folders)


def tables(folder: Path) -> list[Path]:
    """Return the table files of a partition's folder, in the order of their names."""
    return sorted(path for path in folder.glob("*.parquet") if not left_behind(path.name))
