"""The model behind HTTP: the same `models/model.onnx` that evaluation and gate judged, through the same `predict`."""

import bentoml
import polars as pl
from onnxruntime import InferenceSession

from . import ml
from .paths import MODEL


@bentoml.service(name="model", traffic={"timeout": 10})
class Service:
    """Scores rows of model inputs."""

    def __init__(self) -> None:
        self.session = InferenceSession(MODEL)

    @bentoml.api
    async def predict(self, rows: list[dict[str, float | str | None]]) -> list[float]:
        """Probability of the label for each row; a row names every model input (strings, numbers or null)."""
        if not rows:
            raise bentoml.exceptions.InvalidArgument("rows: expected at least one row")
        needed = {column.name for column in self.session.get_inputs()}
        if missing := needed - set(rows[0]):
            raise bentoml.exceptions.InvalidArgument(f"rows: column(s) missing: {', '.join(sorted(missing))}")
        return [float(score) for score in ml.predict(self.session, pl.DataFrame(rows))]
