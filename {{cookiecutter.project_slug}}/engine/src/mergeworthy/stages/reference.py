"""Stage `reference`: summarise the rows that the model has seen, as the reference of the drift check."""

from .. import artifact, holdout
from ..config.gates import gates as read_gates
from ..errors import UserError
from ..files import DRIFT_REFERENCE, MODEL, md5, scan_parquet, whole
from ..partitions import built
from ..reference import make
from .base import run_stage

HOW_TO_FIX = "run `make pipeline`"


def main() -> None:
    """Write `models/drift.json` from all partitions, the holdout included."""
    gates, session, partitions = read_gates(), artifact.load(), built()
    if not partitions:
        raise UserError(f"features/ holds no partition: {HOW_TO_FIX}")
    history = {str(partition): scan_parquet([partition.features], HOW_TO_FIX) for partition in partitions}
    with whole([partition.features for partition in partitions], HOW_TO_FIX):
        for partition in partitions:
            holdout.check_label(history[partition], partition.features)
        reference = make(history, session, md5(MODEL), gates.bootstrap, gates.drift)
    DRIFT_REFERENCE.write_text(reference.model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    run_stage(main)
