"""False alarms, power and speed of the drift check.

    cd demo/flight-delays && PYTHONPATH=../.. .venv/bin/python ../../benchmarks/drift.py [alarms] [power] [speed]

Runs in a generated project's folder and environment; prints Markdown tables. Seeded: only the seconds differ.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from mergeworthy.config.gates import Drift
from mergeworthy.drift.decision import decide
from mergeworthy.reference import LABELLED_SCHEMA, SCORE, batches, count, learn, summarise

from tests.engine.drift.simulation import SETTINGS, SHIFTS, World

TABLES = {
    "narrow, 5 + 3 columns": {"numbers": 5, "categories": 3},
    "rare values, 5 + 3 columns, 300 values each": {"numbers": 5, "categories": 3, "values": 300},
    "wide, 40 + 20 columns": {"numbers": 40, "categories": 20, "values": 50},
}
ROWS = (500, 1_000, 5_000, 50_000)  # of a week
ROWS_SHOWN = ("500", "1,000", "5,000", "50,000")


def alarms(years: int = 5) -> None:
    """Print how many rules fire in a year of weekly checks without a shift: the mean, and the worst year."""
    print("| alarms a year, mean (worst) | " + " | ".join(f"{rows} rows a week" for rows in ROWS_SHOWN) + " |")
    print("|---" * (len(ROWS) + 1) + "|")
    for name, shape in TABLES.items():
        cells = []
        for rows in ROWS:
            counts = [World(rows, seed=seed, **shape).alarms() for seed in range(years)]
            cells.append(f"{np.mean(counts):.1f} ({max(counts)}) of {years}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def power(runs: int = 40) -> None:
    """Print the share of runs in which a planted shift is found within two windows."""
    heads = ["found within two windows", *(f"{rows} rows a week" for rows in ROWS_SHOWN[:3]), "windows of 500 rows"]
    print(f"| {' | '.join(heads)} |")
    print("|---" * 5 + "|")
    default = Drift(label_delay=0)
    cases = [*({"rows": rows, "policy": default} for rows in ROWS[:3]), {"rows": ROWS[0]}]
    for table, shape in [*TABLES.items()][::2]:
        for name, shift in SHIFTS.items():
            cells = []
            for case in cases:
                worlds = (World(**case, seed=seed, **shape) for seed in range(runs))
                found = [world.finds(shift, labels=name == "labels alone") for world in worlds]
                cells.append(f"{np.mean(found):.1%}")
            print(f"| {name}; {table} | {' | '.join(cells)} |", flush=True)


def speed() -> None:
    """Print seconds and memory of reading two tables of 22 columns, counting, calibrating and deciding."""
    print("| rows, reference and now | seconds | largest memory, MB |\n|---|---|---|")
    for before, now in ((160_000, 27_000), (10_000_000, 10_000_000)):
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, name) for name in ("before.parquet", "now.parquet")]
            for seed, (path, rows) in enumerate(zip(paths, (before, now), strict=True)):
                write_table(rows, path, seed)
            started = time.perf_counter()
            check(*paths)
            seconds = time.perf_counter() - started
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"| {before:,} and {now:,} | {seconds:.1f} | {memory:,.0f} |", flush=True)


def write_table(rows: int, path: Path, seed: int) -> None:
    """Write 15 numbers, 7 categories, a day and a score, piece by piece."""
    import pyarrow.parquet as pq

    rng, piece, writer = np.random.default_rng(seed), 500_000, None
    for start in range(0, rows, piece):
        size = min(piece, rows - start)
        columns = {f"n{i}": rng.normal(size=size).astype(np.float32) for i in range(15)}
        columns |= {f"c{i}": pl.Series(rng.integers(0, 40, size)).cast(pl.String) for i in range(7)}
        columns["day"] = (np.arange(start, start + size) * 90 // rows).astype(np.int32)
        columns[SCORE] = rng.random(size).astype(np.float32)
        arrow = pl.DataFrame(columns).to_arrow()
        writer = writer or pq.ParquetWriter(path, arrow.schema, compression="zstd")
        writer.write_table(arrow)
    writer.close()


def check(before: Path, now: Path) -> None:
    """Make a reference and check against it, from files to a decision."""
    history = pl.scan_parquet(before)
    kinds = {f"n{i}": "number" for i in range(15)} | {f"c{i}": "category" for i in range(7)} | {SCORE: "number"}
    bins, no_labels, policy = learn(history, kinds), pl.DataFrame(schema=LABELLED_SCHEMA), Drift()
    columns = [*kinds, "day"]
    counts = count(batches(history, columns), bins, "day", of_reference=True)
    reference = summarise(["0"], "", counts, bins, no_labels, SETTINGS, policy)
    counts = count(batches(pl.scan_parquet(now), columns), bins, "day")
    decide(reference, counts, no_labels, SETTINGS, policy)


if __name__ == "__main__":
    parts = {"alarms": alarms, "power": power, "speed": speed}
    for chosen in sys.argv[1:] or parts:
        parts[chosen]()
        print()
