"""How the stages grow with the data: seconds and memory at 336 thousand, 3 and 10 million rows, and of one month more.

    cd demo/flight-delays && .venv/bin/python ../../benchmarks/growth.py [--years 1 9 30] [--large]

Runs in a generated project's environment and folder, and prints a Markdown table. The sample's year is tiled with
shifted dates, a month a partition; `--large` adds 30 million rows. Each stage is a process of its own.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from calendar import isleap
from pathlib import Path

import polars as pl
import yaml
from mergeworthy.data.sources import Flights
from mergeworthy.project import registered

MEMORY_GB = 0.25  # that training may hold of rows: even a year needs more
YEARS = [year for year in range(2013, 2200) if not isleap(year)]
STAGES = ("validate", "features", "train")
RUN = "from mergeworthy.stages import {0}; {0}.main()"
# A small process between: what is forked from this one would be as large from the start.
LAUNCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
ENGINES = Path(__file__).with_name("engines.py")


def lay_out(project: Path, folder: Path) -> None:
    """A project without data, whose training takes one epoch."""
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["train"]["epochs"] = 1
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    infra = yaml.safe_load((project / "infra.yaml").read_text())
    infra["compute"] = {"device": "cpu", "threads": 2, "memory_gb": MEMORY_GB}
    (folder / "infra.yaml").write_text(yaml.safe_dump(infra))
    shutil.copy(project / "pyproject.toml", folder)  # it names the project's registration


def add(folder: Path, number: int, months: dict[str, dict[str, pl.DataFrame]]) -> None:
    """Write the months of the sample as those of another year, which has as many days."""
    later = pl.selectors.datetime().dt.offset_by(f"{YEARS[number] - YEARS[0]}y")
    for name, tables in months.items():
        partition = folder / "data" / f"{YEARS[number]}{name[4:]}"
        partition.mkdir(parents=True)
        for table, rows in tables.items():
            rows.with_columns(later).write_parquet(partition / f"{table}.parquet")


def measure(*command: str, folder: Path) -> tuple[float, float]:
    """Seconds and peak memory in MB of Python with these arguments; raises where it fails."""
    paths = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    started = time.perf_counter()
    done = [sys.executable, "-c", LAUNCH, sys.executable, *command]
    kilobytes = subprocess.run(done, cwd=folder, env=paths, check=True, stdout=subprocess.PIPE, text=True).stdout
    return time.perf_counter() - started, int(kilobytes) / 1024


def grown(folder: Path, months: dict[str, dict[str, pl.DataFrame]], years: int) -> dict[str, tuple[float, float]]:
    """Fill the project with so many years; measure each stage, one month more, and both engines."""
    for number in range(len(list((folder / "data").glob("*-01"))), years):
        add(folder, number, months)
    for made in ("features", ".cache"):
        shutil.rmtree(folder / made, ignore_errors=True)
    figures = {stage: measure("-c", RUN.format(stage), folder=folder) for stage in STAGES}
    add(folder, years, {"2013-01": months["2013-01"]})
    figures["one month more"] = measure("-c", RUN.format("features"), folder=folder)
    shutil.rmtree(folder / f"data/{YEARS[years]}-01")
    for engine in ("polars", "pandas"):
        figures[engine] = measure(str(ENGINES), engine, folder=folder)
    return figures


def missed(figures: dict[str, tuple[float, float]], share: float) -> list[str]:
    """What does not keep to its bound; `share` is the largest of a full run, and of pandas' time."""
    seconds = {name: figure[0] for name, figure in figures.items()}
    bounds = {
        f"one month more takes more than {share} of all": seconds["one month more"] > share * seconds["features"],
        f"polars takes more than {share} of pandas' time": seconds["polars"] > share * seconds["pandas"],
        "the features need more than 1 GB": figures["features"][1] > 1_000,
        "training needs more than 1.5 GB": figures["train"][1] > 1_500,
    }
    return [bound for bound, broken in bounds.items() if broken]


def main() -> None:
    """Print the table; exit 1 where a bound is missed at the largest size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--years", type=int, nargs="+", default=[1, 9, 30])
    parser.add_argument("--large", action="store_true")
    chosen = parser.parse_args()
    source, names = Flights(), [*STAGES, "one month more", "polars", "pandas"]
    months = {name: source.read(name) for name in source.partitions()}
    rows = sum(tables[registered().main].height for tables in months.values())
    print(f"Seconds (MB at most); training may hold {MEMORY_GB} GB of rows. The last two: the same five features.\n")
    print(f"| rows | {' | '.join(names)} |\n|---{'|---' * len(names)}|", flush=True)
    figures = {}
    with tempfile.TemporaryDirectory() as made:
        lay_out(Path.cwd(), Path(made))
        for years in [*chosen.years, *([90] if chosen.large else [])]:
            figures = grown(Path(made), months, years)
            cells = [f"{figures[name][0]:.1f} ({figures[name][1]:,.0f})" for name in names]
            print(f"| {rows * years:,} | {' | '.join(cells)} |", flush=True)
    # what a process costs before it does anything weighs at a small size
    sys.exit("; ".join(missed(figures, 0.35 if chosen.years[-1] >= 9 else 0.7)) or 0)


if __name__ == "__main__":
    main()
