"""Stage `reference`: summarise the rows that the model has seen, as the reference of the drift check."""

from .. import artifact, holdout
from ..config.gates import gates as read_gates
from ..errors import UserError
from ..files import DRIFT_REFERENCE, FEATURES, MODEL, md5, scan_parquet, whole
from ..reference import make
from .base import run_stage

HOW_TO_FIX = "run `make pipeline`"


def main() -> None:
    """Write `models/drift.json` from all partitions, the holdout included."""
    gates, session, files = read_gates(), artifact.load(), sorted(FEATURES.glob("*.parquet"))
    if not files:
        raise UserError(f"features/ holds no partition: {HOW_TO_FIX}")
    rows = {path: scan_parquet([path], HOW_TO_FIX) for path in files}
    with whole(files, HOW_TO_FIX):
        for path, partition in rows.items():
            holdout.check_label(partition, path)
        history = {path.stem: partition for path, partition in rows.items()}
        reference = make(history, session, md5(MODEL), gates.bootstrap, gates.drift)
    DRIFT_REFERENCE.write_text(reference.model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    run_stage(main)
