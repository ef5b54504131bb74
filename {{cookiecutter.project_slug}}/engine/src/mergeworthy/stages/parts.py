"""Training rows that do not fit the memory, dealt into parts that do; each is a random sample of all of them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from rich.progress import track

from ..files import scan_parquet
from . import workers

FOLDER = Path(".cache/parts")
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
    folders = [FOLDER / str(number) for number in range(count)]
    workers.once_per_machine(lambda: _deal(files, folders))
    yield [pl.scan_parquet(folder / "*.parquet") for folder in folders]
    workers.once_per_machine(lambda: shutil.rmtree(FOLDER))


def _deal(files: list[Path], folders: list[Path]) -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
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
