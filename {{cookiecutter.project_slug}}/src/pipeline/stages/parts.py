"""Training rows that do not fit the memory, dealt into parts that do; each is a random sample of all of them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from rich.progress import track

from . import workers

FOLDER = Path(".cache/parts")
SEEN = 1_000  # rows that tell how large one is
COPIES = 4  # of a row: in the table, on its way, as a tensor; and of two parts at once, at the seam between them


def needed(files: list[Path], memory_gb: float) -> int:
    """How many parts it takes."""
    table = pl.scan_parquet(files)
    first = table.head(SEEN).collect()
    rows = int(table.select(pl.len()).collect().item())
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
    for seed, file in enumerate(track(files, f"dealing into {len(folders)} parts")):
        rows = pl.read_parquet(file).sample(fraction=1, shuffle=True, seed=seed)
        size = -(-rows.height // len(folders))
        for number, folder in enumerate(folders):
            rows.slice(number * size, size).write_parquet(folder / file.name, compression="lz4")
