"""The same service with a changed model: its weights are one per cent larger."""

from pathlib import Path

from tests.release.fixtures import Shipped
from tests.work import python

PROGRAM = """
import sys
import onnx
from onnx import numpy_helper
model = onnx.load(sys.argv[1])
for weight in model.graph.initializer:
    values = numpy_helper.to_array(weight)
    if values.dtype == "float32" and values.ndim == 2:
        weight.CopyFrom(numpy_helper.from_array(values * 1.01, weight.name))
onnx.save(model, sys.argv[2])
"""


def spoil(shipped: Shipped, folder: Path, tag: str, *lines: str) -> None:
    """Build an image from the shipped one with a changed model; `lines` are added to its Containerfile."""
    python(shipped.project, "-c", PROGRAM, str(shipped.project / "models/model.onnx"), str(folder / "model.onnx"))
    start = [f"FROM {shipped.image}", "COPY model.onnx /app/bento/src/models/model.onnx"]
    (folder / "Containerfile").write_text("\n".join([*start, *lines, ""]))
    shipped.podman("build", "--quiet", "--tag", tag, str(folder))
