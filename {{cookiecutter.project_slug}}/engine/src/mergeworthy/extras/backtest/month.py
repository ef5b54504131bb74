"""One partition of a replay: what was decided, and what the models that were there before it are worth on it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from onnxruntime import InferenceSession
from pydantic import Field

from ... import artifact, files, holdout
from ...files import Record
from ...label import values
from ...paths import FEATURES
from ...project import registered

FIX = "run `make replay` again, its log says what its verbs did"
Way = Literal["never", "decided", "every"]
WAYS: dict[Way, str] = {"never": "never retrained", "decided": "as decided", "every": "with every partition"}


class Month(Record):
    """One line of `reports/replay.json`."""

    partition: str
    decision: str
    why: Annotated[str, Field(description="the check's sentence")]
    figures: Annotated[
        dict[Way, dict[str, float | None]],
        Field(description="every metric on the partition, before it is learned from"),
    ]

    @property
    def merged(self) -> bool:
        """Whether a new champion came of it."""
        return self.decision.startswith("merged")


def measure(folder: Path, partition: str, models: Mapping[Way, InferenceSession]) -> dict[Way, dict[str, float | None]]:
    """Score the partition's rows in `folder`, read once, with each way's model."""
    rows = files.read_parquet(folder / FEATURES / f"{partition}.parquet", FIX).filter(
        pl.col(registered().target).is_not_null()
    )
    label = values(rows, partition)
    return {way: holdout.figures(label, artifact.predict(model, rows)) for way, model in models.items()}
