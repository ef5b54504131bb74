"""Stage `reference`: what the champion has learned from, for the drift check to compare with."""

from .. import artifact, holdout
from ..config.gates import gates as read_gates
from ..errors import UserError
from ..files import md5, scan_parquet, whole
from ..paths import DRIFT_REFERENCE, FEATURES, MODEL
from ..reference import make
from .base import run_stage

MEND = "run `make pipeline`"


def main() -> None:
    """Write `models/drift.json` from all partitions, the holdout included."""
    gates, session, files = read_gates(), artifact.load(), sorted(FEATURES.glob("*.parquet"))
    if not files:
        raise UserError(f"features/ holds no partition: {MEND}")
    rows = {path: scan_parquet([path], MEND) for path in files}
    with whole(files, MEND):
        for path, some in rows.items():
            holdout.check_label(some, path)
        history = {path.stem: some for path, some in rows.items()}
        made = make(history, session, md5(MODEL), gates.bootstrap, gates.drift)
    DRIFT_REFERENCE.write_text(made.model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    run_stage(main)
