"""Training beyond one process and beyond memory: workers, shards of rows, and checkpoints."""

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

# DOC stages.checkpoint: A training that was killed goes on where it was, as long as all that it is made from stays
# the same.

CHECKPOINTS = Path(".cache/checkpoints")


class Checkpoint:
    """The last state of a training, in a file named by its inputs' hash."""

    def __init__(self, key: str) -> None:
        self.path = CHECKPOINTS / f"{key}.pt"

    def load(self) -> bytes | None:
        """Give what was saved last, and say so; None at the start."""
        if not self.path.exists():
            return None
        print("going on where this training was stopped:", flush=True)
        return self.path.read_bytes()

    def save(self, state: bytes) -> None:
        """Replace what was saved; a kill at any moment leaves the old or the new."""
        CHECKPOINTS.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".part")
        with unfinished.open("wb") as file:
            file.write(state)
            os.fsync(file.fileno())
        unfinished.replace(self.path)

    def remove(self) -> None:
        """Forget it, and what other trainings left that never came to their end."""
        shutil.rmtree(CHECKPOINTS, ignore_errors=True)


# DOC stages.workers: Training in several processes: started here on one machine, or joined where torchrun started
# them, on any number. `ml/` finds torch.distributed initialised, or not, and knows nothing of who did it.

PATIENCE = timedelta(minutes=10)  # of processes that wait for one which hangs


def started_by_torchrun() -> bool:
    """Tell whether this is one of several processes already."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def launch(processes: int, work: Callable[[], None], nodes: int = 1, rendezvous: str = "localhost:0") -> None:
    """Run `work` in so many processes of this machine; raise `UserError` where one fails, after all have ended.

    With `nodes` the same is to be done on as many machines, which meet at `rendezvous`: host and port of one of them.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    machines = LaunchConfig(
        min_nodes=nodes,
        max_nodes=nodes,
        nproc_per_node=processes,
        run_id="train",
        rdzv_backend="c10d",
        rdzv_endpoint=rendezvous,
        max_restarts=0,
    )
    try:
        elastic_launch(machines, work)()
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        said = failure.message if isinstance(failure.message, str) else failure.message.get("message", "")
        ended = f"by signal {-failure.exitcode}" if failure.exitcode < 0 else f"with exit code {failure.exitcode}"
        raise UserError(
            f"training process {rank} of {processes * nodes} ended {ended}, all are stopped: {said}"
        ) from None


@contextmanager
def joined(device: str) -> Iterator[bool]:
    """Join the other processes where there are any; gives whether this is the one that writes and tells."""
    if not started_by_torchrun():
        yield True
        return
    import torch
    from torch import distributed

    cuda = device in ("auto", "cuda") and torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    try:
        yield distributed.get_rank() == 0
    finally:
        distributed.destroy_process_group()


def once_per_machine(work: Callable[[], None]) -> None:
    """Run `work` in one of the processes of each machine, while the others wait."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        work()
    if started_by_torchrun():
        from torch import distributed

        distributed.barrier()


# DOC stages.parts: Training rows that do not fit the memory, dealt into parts that do; each is a random sample of all
# of them.

SHARDS = Path(".cache/parts")
SEEN = 1_000  # rows that tell how large one is
COPIES = 4  # of a row: in the table, on its way, as a tensor; and of two parts at once, at the seam between them


def length(files: list[Path]) -> int:
    """How many rows they hold."""
    return int(pl.scan_parquet(files).select(pl.len()).collect().item())


def needed(files: list[Path], memory_gb: float) -> int:
    """How many parts it takes."""
    first = scan_parquet(files, "run `make pipeline`").head(SEEN).collect()
    rows = length(files)
    return -int(-rows * first.estimated_size() / max(first.height, 1) * COPIES // (memory_gb * 1e9)) or 1


@contextmanager
def dealt(files: list[Path], memory_gb: float) -> Iterator[list[pl.LazyFrame]]:
    """Give the files as they are where they fit; else parts in `.cache/`, always the same ones, removed after use."""
    count = needed(files, memory_gb)
    if count == 1:
        yield [pl.scan_parquet(files)]
        return
    folders = [SHARDS / str(number) for number in range(count)]
    once_per_machine(lambda: _deal(files, folders))
    yield [pl.scan_parquet(folder / "*.parquet") for folder in folders]
    once_per_machine(lambda: shutil.rmtree(SHARDS))


def _deal(files: list[Path], folders: list[Path]) -> None:
    shutil.rmtree(SHARDS, ignore_errors=True)
    for folder in folders:
        folder.mkdir(parents=True)
    most = length(files) // len(folders)
    for seed, some in enumerate(track(list(_together(files, most)), f"dealing into {len(folders)} parts")):
        rows = pl.read_parquet(some).sample(fraction=1, shuffle=True, seed=seed)
        size = -(-rows.height // len(folders))
        for number, folder in enumerate(folders):
            rows.slice(number * size, size).write_parquet(folder / f"{seed}.parquet", compression="lz4")


def _together(files: list[Path], most: int) -> Iterator[list[Path]]:
    """Put files together that hold as many rows as a part: each leaves a file in each part."""
    some: list[Path] = []
    rows = 0
    for file in files:
        count = length([file])
        if some and rows + count > most:
            yield some
            some, rows = [], 0
        some, rows = [*some, file], rows + count
    yield some
