"""Stage `reference`: what the champion has learned from, for the drift check to compare with."""

from .. import artifact, label
from ..files import md5, scan_parquet
from ..paths import DRIFT_REFERENCE, FEATURES, MODEL
from ..reference.record import make
from ..settings.gates_yaml import gates as read_gates
from . import run_stage


def main() -> None:
    """Write `models/drift.json` from all partitions, the holdout included."""
    rows = {path: scan_parquet([path], "run `make pipeline`") for path in sorted(FEATURES.glob("*.parquet"))}
    for path, some in rows.items():
        label.check(some, path)
    gates = read_gates()
    made = make(
        {path.stem: some for path, some in rows.items()},
        artifact.load(),
        md5(MODEL),
        gates.bootstrap,
        gates.drift,
    )
    DRIFT_REFERENCE.write_text(made.model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    run_stage(main)
