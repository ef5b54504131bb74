"""Runs in a generated project's environment: every stage alone, in a folder of its own; prints what they wrote.

Not a module of the tests: they have neither polars nor torch.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import onnx
import polars as pl
from mergeworthy.data.sources import Flights
from numpy.typing import NDArray
from onnx import numpy_helper

HERE = Path(__file__).parent
SETTINGS, INPUTS = HERE / "settings", HERE / "inputs"
MONTHS = ("2013-01", "2013-02", "2013-03")
ROWS = 1500  # of each month's features in `inputs/`
GRID = 6  # a picture is compared by the mean of each of GRID x GRID parts
READS = {  # stage → what it reads of `inputs/`
    "validate": [],
    "features": [],
    "train": ["features"],
    "evaluate": ["features", "models/model.onnx", "reports/training.csv"],
    "reference": ["features", "models/model.onnx"],
}
WRITES = {
    "validate": ["reports/contract.json"],
    "features": ["features", "models/online"],
    "train": ["models/model.onnx", "reports/training.csv"],
    "evaluate": ["reports/metrics.json", "reports/predictions.parquet", "reports/plots"],
    "reference": ["models/drift.json"],
}
Figures = dict[str, list[float]]


def main() -> None:
    """Run the stages; the last line on standard output is JSON: stage → sha256 and figures."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data(root / "data")
        if os.environ.get("RECORD_INPUTS"):
            record(root)
        found = {}
        for stage in READS:
            with stage_folder(root / stage, stage, root / "data"), redirect_stdout(sys.stderr):
                import_module(f"mergeworthy.stages.{stage}").main()
                found[stage] = summary(WRITES[stage])
    print(json.dumps(found))


def data(folder: Path) -> None:
    """Write the sample's first months as `data/` has them."""
    source = Flights()
    for month in MONTHS:
        (folder / month).mkdir(parents=True)
        for name, table in source.read(month).items():
            table.write_parquet(folder / month / f"{name}.parquet")


@contextmanager
def stage_folder(folder: Path, stage: str, months: Path) -> Iterator[None]:
    """Work in a folder with the settings, and with what the stage reads."""
    shutil.copytree(SETTINGS, folder)
    for name in ("models", "reports"):
        (folder / name).mkdir()
    if not READS[stage]:
        (folder / "data").symlink_to(months)
    for name in READS[stage]:
        copy = shutil.copytree if (INPUTS / name).is_dir() else shutil.copy
        copy(INPUTS / name, folder / name)
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def record(root: Path) -> None:
    """Write `inputs/` anew: some rows of the features, and a model that was trained on them."""
    shutil.rmtree(INPUTS, ignore_errors=True)
    (INPUTS / "features").mkdir(parents=True)
    with stage_folder(root / "first", "features", root / "data"), redirect_stdout(sys.stderr):
        import_module("mergeworthy.stages.features").main()
        for path in sorted(Path("features").glob("*.parquet")):
            rows = pl.read_parquet(path)
            rows.gather_every(rows.height // ROWS).write_parquet(INPUTS / path, compression_level=19)
    with stage_folder(root / "second", "train", root / "data"), redirect_stdout(sys.stderr):
        import_module("mergeworthy.stages.train").main()
        for name in WRITES["train"]:
            (INPUTS / name).parent.mkdir(exist_ok=True)
            shutil.copy(name, INPUTS / name)


def summary(names: list[str]) -> dict[str, Any]:
    """Reduce what a stage wrote to a hash of what is exact, and to figures."""
    exact: list[Any] = []
    figures: Figures = {}
    for name in names:
        paths = sorted(Path(name).rglob("*.*")) if Path(name).is_dir() else [Path(name)]
        exact += [[str(path), READERS[path.suffix](path, figures)] for path in paths]
    return {"sha256": hashlib.sha256(json.dumps(exact).encode()).hexdigest(), "figures": figures}


def of_json(path: Path, figures: Figures) -> Any:
    """Return texts and keys; every number is a figure, in the file's order below each key of the top level."""

    def texts(value: Any, numbers: list[float]) -> Any:
        if isinstance(value, dict):
            return {key: texts(inner, numbers) for key, inner in value.items()}
        if isinstance(value, list):
            return [texts(inner, numbers) for inner in value]
        if isinstance(value, int | float) and not isinstance(value, bool):
            numbers.append(round_figure(value))
            return "number"
        return value

    found = {}
    for key, value in json.loads(path.read_text()).items():
        numbers: list[float] = []
        found[key] = texts(value, numbers)
        if numbers:
            figures[f"{path} {key}"] = numbers
    return found


def of_table(table: pl.DataFrame, path: Path, figures: Figures) -> Any:
    """Return names, types, nulls, and a hash of each column that is exact; floats are figures."""
    found = []
    for column in table:
        if column.dtype.is_float():
            figures[f"{path} {column.name}"] = statistics(column.fill_nan(None).drop_nulls().to_numpy())
            content = column.is_null()
        else:
            content = column
        text = "\n".join(map(str, content.to_list()))
        found.append([column.name, str(column.dtype), hashlib.sha256(text.encode()).hexdigest()])
    return found


def of_parquet(path: Path, figures: Figures) -> Any:
    """Return what is exact of a table, and its metadata."""
    about = {key: value for key, value in pl.read_parquet_metadata(path).items() if key != "ARROW:schema"}
    return [of_table(pl.read_parquet(path), path, figures), about]


def of_csv(path: Path, figures: Figures) -> Any:
    """Return what is exact of a table."""
    return of_table(pl.read_csv(path), path, figures)


def of_onnx(path: Path, figures: Figures) -> Any:
    """Return the graph: inputs, outputs, operators, and the constants' names, types and shapes; weights are figures."""
    model = onnx.load(path)
    constants = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        constants.append([tensor.name, str(values.dtype), list(values.shape)])
        if values.dtype.kind == "f":
            figures[f"{path} {tensor.name}"] = statistics(values.astype(np.float64).ravel())
        else:
            constants[-1].append(hashlib.sha256(repr(values.tolist()).encode()).hexdigest())
    nodes = [[node.op_type, list(node.input), list(node.output)] for node in model.graph.node]
    ends = [str(value) for value in [*model.graph.input, *model.graph.output]]
    opsets = sorted((entry.domain, entry.version) for entry in model.opset_import)
    about = sorted((entry.key, entry.value) for entry in model.metadata_props)
    return [constants, nodes, ends, opsets, about]


def of_png(path: Path, figures: Figures) -> Any:
    """Return the size; the mean of each part of the picture is a figure."""
    picture = matplotlib.image.imread(path)[..., :3].mean(axis=2)
    parts = [part for rows in np.array_split(picture, GRID) for part in np.array_split(rows, GRID, axis=1)]
    figures[str(path)] = [round_figure(part.mean()) for part in parts]
    return list(picture.shape)


def statistics(values: NDArray[Any]) -> list[float]:
    """Return count, mean, deviation, and a mean that is weighted by position, which another order changes."""
    if not len(values):
        return [0]
    with np.errstate(invalid="ignore"):
        weights = np.linspace(0, 1, len(values))
        return [len(values), *map(round_figure, (values.mean(), values.std(), (values * weights).mean()))]


def round_figure(value: float) -> float:
    """Return nine digits of a number, more than any tolerance asks for."""
    return float(f"{float(value):.9g}")


READERS = {".json": of_json, ".parquet": of_parquet, ".csv": of_csv, ".onnx": of_onnx, ".png": of_png}

if __name__ == "__main__":
    main()
