"""Stage `reference`: what the champion has learned from, for the drift check to compare with."""

import polars as pl

from .. import holdout, settings
from ..errors import UserError
from ..ops.drift import reference
from ..ops.dvc_files import md5
from ..paths import DRIFT_REFERENCE, FEATURES, MODEL
from . import run_stage


def main() -> None:
    """Write `models/drift.json` from all partitions, the holdout included."""
    if not MODEL.exists():
        raise UserError(f"{MODEL} is missing: run `make pipeline`")
    files = sorted(FEATURES.glob("*.parquet"))
    gates = settings.gates()
    made = reference.make(
        {path.stem: pl.scan_parquet(path) for path in files},
        holdout.session(MODEL.read_bytes()),
        md5(MODEL),
        gates.bootstrap,
        gates.drift,
    )
    DRIFT_REFERENCE.write_text(made.model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    run_stage(main)
