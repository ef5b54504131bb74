"""Training beyond one run, one process and the memory: checkpoints, worker processes, and shards of rows.

Worker processes are started here on one machine (`launch`), or by torchrun on any number of machines. The team's code
sees only whether torch.distributed is initialised.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import polars as pl
from rich.progress import track

from ..errors import UserError
from ..files import scan_parquet

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
        CHECKPOINTS.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".part")
        with unfinished.open("wb") as file:
            file.write(state)
            os.fsync(file.fileno())
        unfinished.replace(self.path)

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
