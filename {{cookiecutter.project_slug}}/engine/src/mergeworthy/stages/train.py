"""Stage `train`: fit on every partition but the newest, which is the holdout, and write the ONNX that ships.

The feature files are checked first, so that no time is spent on a training that cannot succeed or be measured.

A training may be too large for one run, one process or the memory: hence checkpoints, worker processes, and shards of
rows. Worker processes are started here on one machine (`launch`), or by torchrun on any number of machines. The team's
code sees only whether torch.distributed is initialised.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import polars as pl
from pydantic import BaseModel
from rich.progress import track

from .. import holdout
from ..config.base import stage_params
from ..config.infra import Compute as ComputeSettings
from ..config.infra import infra as read_infra
from ..errors import UserError
from ..files import MODEL, TRAINING, digest, scan_parquet, whole, write_atomic
from ..partitions import built, split
from ..project import Compute, registered, report_nothing, team_code
from ..text import say
from .base import run_stage

CHECKPOINTS = Path(".cache/checkpoints")
SHARDS = Path(".cache/parts")
SAMPLE_ROWS = 1_000  # whose mean size is taken for that of every row
COPIES_PER_ROW = 4  # at the peak: table, conversion and tensor of one shard, and the next shard that is being loaded
PROCESS_TIMEOUT = timedelta(minutes=10)  # for which processes wait for one that hangs


class Checkpoint:
    """The last state of a training, in a file named after the hash of the training's inputs.

    A training that was killed continues from it if all its inputs are the same.
    """

    def __init__(self, key: str) -> None:
        self.path = CHECKPOINTS / f"{key}.pt"

    def load(self) -> bytes | None:
        """Return the state that was saved last, and print that the training resumes; None if none was saved."""
        if not self.path.exists():
            return None
        print("resuming the training from its checkpoint:", flush=True)
        return self.path.read_bytes()

    def save(self, state: bytes) -> None:
        """Replace the saved state; a kill at any moment leaves the old or the new one."""
        write_atomic(self.path, state)

    def remove(self) -> None:
        """Remove this checkpoint, and those of other trainings that were never finished."""
        shutil.rmtree(CHECKPOINTS, ignore_errors=True)


def started_by_torchrun() -> bool:
    """Return whether this process is a worker already, started by torchrun or by `launch`."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def launch(processes: int, work: Callable[[], None], nodes: int = 1, rendezvous: str = "localhost:0") -> None:
    """Run `work` in `processes` processes of this machine; raise `UserError` if one fails, after all have ended.

    With several `nodes`, each machine calls this; they meet at `rendezvous`, the host and port of one of them.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=processes,
        run_id="train",
        rdzv_backend="c10d",
        rdzv_endpoint=rendezvous,
        max_restarts=0,
    )
    try:
        elastic_launch(config, work)()
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        message = failure.message if isinstance(failure.message, str) else failure.message.get("message", "")
        ended = f"by signal {-failure.exitcode}" if failure.exitcode < 0 else f"with exit code {failure.exitcode}"
        raise UserError(
            f"training process {rank} of {processes * nodes} ended {ended}, all are stopped: {message}"
        ) from None


@contextmanager
def process_group(device: str) -> Iterator[bool]:
    """Join the other worker processes, if there are any; yield whether this process writes the results."""
    if not started_by_torchrun():
        yield True
        return
    import torch
    from torch import distributed

    cuda = device in ("auto", "cuda") and torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=PROCESS_TIMEOUT)
    try:
        yield distributed.get_rank() == 0
    finally:
        distributed.destroy_process_group()


def once_per_machine(work: Callable[[], None]) -> None:
    """Run `work` in one process of each machine, while the other processes wait."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        work()
    if started_by_torchrun():
        from torch import distributed

        distributed.barrier()


@contextmanager
def sharded(files: list[Path], memory_gb: float) -> Iterator[list[pl.LazyFrame]]:
    """Yield the rows of `files` in shards that fit into `memory_gb` one at a time; one shard is the files themselves.

    Each of several shards is a random sample of all rows, always the same one. The shards are written to `.cache/`, and
    removed after use.
    """
    count = shard_count(files, memory_gb)
    if count == 1:
        yield [pl.scan_parquet(files)]
        return
    folders = [SHARDS / str(number) for number in range(count)]
    once_per_machine(lambda: _write_shards(files, folders))
    yield [pl.scan_parquet(folder / "*.parquet") for folder in folders]
    once_per_machine(lambda: shutil.rmtree(SHARDS))


def shard_count(files: list[Path], memory_gb: float) -> int:
    """Return the number of shards that the rows of `files` need."""
    sample = scan_parquet(files, "run `make pipeline`").head(SAMPLE_ROWS).collect()
    rows = row_count(files)
    return -int(-rows * sample.estimated_size() / max(sample.height, 1) * COPIES_PER_ROW // (memory_gb * 1e9)) or 1


def row_count(files: list[Path]) -> int:
    """Return the number of rows in all `files`."""
    return int(pl.scan_parquet(files).select(pl.len()).collect().item())


def _write_shards(files: list[Path], folders: list[Path]) -> None:
    shutil.rmtree(SHARDS, ignore_errors=True)
    for folder in folders:
        folder.mkdir(parents=True)
    shard_rows = row_count(files) // len(folders)
    batches = list(_batches(files, shard_rows))
    for seed, batch in enumerate(track(batches, f"writing {len(folders)} shards")):
        rows = pl.read_parquet(batch).sample(fraction=1, shuffle=True, seed=seed)
        size = -(-rows.height // len(folders))
        for number, folder in enumerate(folders):
            rows.slice(number * size, size).write_parquet(folder / f"{seed}.parquet", compression="lz4")


def _batches(files: list[Path], most_rows: int) -> Iterator[list[Path]]:
    """Yield successive files that together have at most `most_rows` rows: each batch adds a file to every shard."""
    batch: list[Path] = []
    rows = 0
    for file in files:
        count = row_count([file])
        if batch and rows + count > most_rows:
            yield batch
            batch, rows = [], 0
        batch, rows = [*batch, file], rows + count
    yield batch


SEE_FEATURES = "see the features in src/ml"
RUN_PIPELINE = "run `make pipeline`"
PINS = Path("pyproject.toml")  # the versions of the libraries that train


def main() -> None:
    """Train where and in as many processes as infra.yaml says, or in those that torchrun started."""
    infra = read_infra()
    compute = infra.compute
    check_trainable(training_files(), built()[-1].features, compute.processes * compute.nodes)
    if started_by_torchrun():
        work()
    elif infra.ray:
        import_module("mergeworthy.extras.clusters").train(infra, infra.ray)
    elif compute.processes * compute.nodes == 1:
        work()
    elif compute.nodes == 1:
        launch(compute.processes, work)
    elif compute.rendezvous:
        launch(compute.processes, work, compute.nodes, compute.rendezvous)
    else:
        raise UserError(
            "infra.yaml: compute.rendezvous: missing, but compute.nodes needs it: name host and port of one machine"
        )


def work() -> None:
    """Write `models/model.onnx` and `reports/training.csv`, in one of any number of processes."""
    params, compute, files, log = stage_params("train"), read_infra().compute, training_files(), TrainingLog()
    checkpoint = Checkpoint(checkpoint_key(files, params, compute))
    with (
        whole(files, RUN_PIPELINE),
        process_group(compute.device) as first,
        sharded(files, compute.memory_gb) as shards,
    ):
        progress = log if first else report_nothing
        resources = Compute(compute.device, compute.precision, compute.threads, checkpoint, progress)
        model = registered().fit(registered().dataset(shards), params, resources)
    if first:
        for path in (MODEL, TRAINING):
            path.parent.mkdir(exist_ok=True)
        MODEL.write_bytes(model)
        pl.DataFrame(log.rows).write_csv(TRAINING)
        checkpoint.remove()


@dataclass
class TrainingLog:
    """The figures of each epoch: printed as a line, and kept as a row of `reports/training.csv`."""

    started: float = field(default_factory=time.monotonic)
    rows: list[dict[str, float]] = field(default_factory=list)

    def __call__(self, figures: Mapping[str, float]) -> None:
        """Add the figures of one epoch; `epoch` and `epochs` among them give the remaining time."""
        self.rows.append(dict(figures))
        left = (time.monotonic() - self.started) / figures["epoch"] * (figures["epochs"] - figures["epoch"])
        shown = ", ".join(f"{name} {value:.4f}" for name, value in figures.items() if name not in ("epoch", "epochs"))
        say(f"epoch {figures['epoch']:.0f}/{figures['epochs']:.0f}: {shown} ({left:.0f} s left)")


def training_files() -> list[Path]:
    """Return the feature files of all partitions but the newest; raise `UserError` if they cannot be trained on."""
    training, _ = split("training", "run `make data UNTIL=…`")
    files = [partition.features for partition in training]
    with whole(files, RUN_PIPELINE):
        for path in files:
            holdout.check_label(scan_parquet([path], RUN_PIPELINE), path)
    return files


def checkpoint_key(files: list[Path], params: BaseModel, compute: ComputeSettings) -> str:
    """Return the hash of everything that a model is made from, and of the number of processes."""
    settings = compute.model_dump_json(exclude={"rendezvous"})
    values = [params.model_dump_json(), settings, os.environ.get("WORLD_SIZE", "1")]
    code = [Path(__file__), *team_code(), *([PINS] if PINS.exists() else [])]
    return digest(values, [*code, *files])


def check_trainable(training: list[Path], holdout: Path, processes: int = 1) -> None:
    """Raise `UserError` naming file or column if no model can be fitted to `training`, or measured on `holdout`.

    Print a warning if a column has no value in any training row, because a model can still be fitted.
    """
    schema = _schema(training[0])
    for path in [*training[1:], holdout]:
        if different := sorted(set(schema.items()) ^ set(_schema(path).items()), key=str):
            raise UserError(f"{path}: column {different[0][0]} differs from {training[0]}: {RUN_PIPELINE}")
    if registered().target not in schema:
        raise UserError(f"{training[0]}: there is no label column {registered().target}: {SEE_FEATURES}")
    categories, numbers = registered().inputs(schema)
    _check_types({name: schema[name] for name in categories}, {name: schema[name] for name in numbers})
    rows = scan_parquet(training, RUN_PIPELINE)
    _check_labels(rows, f"the training rows, {training[0].stem} to {training[-1].stem}", processes)
    _check_labels(scan_parquet([holdout], RUN_PIPELINE), f"{holdout}, the holdout", 1)
    inputs = [*categories, *numbers]
    counts = rows.filter(pl.col(registered().target).is_not_null()).select(pl.col(inputs).count()).collect().row(0)
    empty = [name for name, count in zip(inputs, counts, strict=True) if count == 0]
    if len(empty) == len(inputs):
        raise UserError(f"all {len(inputs)} inputs are null in every training row: {SEE_FEATURES}")
    if empty:
        say(f"warning: null in every training row, so of no use: {', '.join(empty)}: {SEE_FEATURES}", file=sys.stderr)


def _schema(path: Path) -> pl.Schema:
    return scan_parquet([path], RUN_PIPELINE).collect_schema()


def _check_types(categories: dict[str, pl.DataType], numbers: dict[str, pl.DataType]) -> None:
    if not categories and not numbers:
        raise UserError(f"the feature files hold no input beside keys and label: {SEE_FEATURES}")
    wrong = {name: dtype for name, dtype in categories.items() if dtype != pl.String}
    wrong |= {name: d for name, d in numbers.items() if not (d.is_float() or d.is_integer() or d == pl.Boolean)}
    for name, dtype in wrong.items():
        raise UserError(
            f"the feature column {name} has type {dtype}, and an input must be text, a float, an integer or a Boolean: "
            f"cast it, {SEE_FEATURES}"
        )


def _check_labels(rows: pl.LazyFrame, where: str, minimum_rows: int) -> None:
    label = pl.col(registered().target)
    count, values = rows.select(label.count(), values=label.drop_nulls().n_unique()).collect().row(0)
    if count == 0:
        raise UserError(
            f"no row of {where} has a known {registered().target}: take other partitions (`make data UNTIL=…`)"
        )
    if values == 1:
        value = rows.select(label.drop_nulls().first()).collect().item()
        raise UserError(
            f"{where}: {registered().target} is {value} in each of the {count:,} rows that have it: with one value "
            "there is nothing to learn or to measure, take other partitions (`make data UNTIL=…`)"
        )
    if count < minimum_rows:
        raise UserError(
            f"{where}: {count:,} rows for {minimum_rows:,} processes: lower compute.processes in infra.yaml"
        )


if __name__ == "__main__":
    run_stage(main)
