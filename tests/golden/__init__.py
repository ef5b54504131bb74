"""What each stage of the engine writes on recorded inputs, compared with a record: `stages.yaml`.

A change of the engine that changes a stage's numbers has to raise the stage's version in the engine's stages.yaml; one
that does not must leave it, for a raised version runs the stage again in every project. `python -m tests.golden` writes
the record anew, and refuses where a version is not what the numbers ask for.

Each stage runs alone, on inputs that are files of this folder (`inputs/`) or the sample's first three months, so that
what changed in one stage is not told of those behind it. What a stage wrote is reduced to two things (`measure.py`):
a hash of what is the same on every machine (names, types, counts, texts, the graph of the ONNX file), and figures
(means, deviations, positions) of what is not the same to the last bit on another CPU. Figures are equal if they differ
by at most `TOLERANCE` of their size: rounding before hashing would not do, as of ten thousand rounded numbers one
always lies at an edge. The bytes of parquet, ONNX and PNG files do not count: other bytes with the same content make a
later stage run in projects, but change no number.
"""

import hashlib
import json
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.bake import PRODUCT, ROOT, run

HERE = Path(__file__).parent
RECORD = HERE / "stages.yaml"
ENGINE = ROOT / PRODUCT / "engine/src"
# How far figures of one stage may lie apart between two machines, as a share of the figure (and, beside zero, in all).
# Features are sums in double precision; training repeats few steps in single precision, in another order of summation;
# what is read from a recorded model differs in the last digits of single precision.
TOLERANCE = {"validate": 1e-9, "features": 1e-7, "train": 1e-4, "evaluate": 1e-4, "reference": 1e-4}


@dataclass(frozen=True)
class Stage:
    """One stage in the record: `covered` is a hash of what dvc.yaml names beside the version (team's code, pins)."""

    version: int
    covered: str
    sha256: str
    figures: dict[str, list[float]]


def recorded() -> dict[str, Stage]:
    """Return the record."""
    return {name: Stage(**content) for name, content in yaml.safe_load(RECORD.read_text()).items()}


def measured(project: Path, engine: Path = ENGINE, *, inputs: bool = False) -> dict[str, Stage]:
    """Run every stage with an engine's source, in a generated project's environment; `inputs` records them before."""
    code = f"{ROOT / PRODUCT / 'src'}:{engine}"
    python = str(project / ".venv/bin/python")
    done = run(
        [python, str(HERE / "measure.py")],
        HERE,
        PYTHONPATH=code,
        GITHUB_ACTIONS="",
        RECORD_INPUTS="1" if inputs else "",
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    versions = yaml.safe_load((engine / "mergeworthy/stages.yaml").read_text())
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return {name: Stage(versions[name], covered(name), **content) for name, content in found.items()}


def covered(stage: str) -> str:
    """Return a hash of the files in src/ml and the library pins that make the stage run again by themselves."""
    pipeline = yaml.safe_load((ROOT / PRODUCT / "dvc.yaml").read_text())["stages"][stage]
    code = [(ROOT / PRODUCT / path).read_text() for path in pipeline["deps"] if path.startswith("src/")]
    # TOML can be read before cookiecutter has written the project's name into it.
    groups = tomllib.loads((ROOT / PRODUCT / "pyproject.toml").read_text())["dependency-groups"]
    names = next(entry["pyproject.toml"] for entry in pipeline["params"] if "pyproject.toml" in entry)
    pins = [str(groups[name.removeprefix("dependency-groups.")]) for name in names]
    return hashlib.sha256("\0".join([*code, *pins]).encode()).hexdigest()[:16]


def problems(old: dict[str, Stage], new: dict[str, Stage]) -> list[str]:
    """Return a sentence for each stage, in the pipeline's order, whose version is not what its numbers ask for."""
    found = [
        f"{name}: no stage of this name is recorded: run `python -m tests.golden`" for name in new if name not in old
    ]
    for name in (name for name in new if name in old):
        before, now = old[name], new[name]
        differences = compare(name, before, now)
        raised = now.version != before.version
        if now.version < before.version:
            found.append(f"{name}: its version {now.version} is lower than the recorded {before.version}: raise it")
        elif differences and not raised and before.covered == now.covered:
            found.append(
                f"{name}: what it writes changed ({differences[0]}), and its version did not: if that is meant, "
                f"raise `{name}` in engine/src/mergeworthy/stages.yaml and run `python -m tests.golden`"
            )
        elif raised and not differences:
            found.append(
                f"{name}: its version was raised from {before.version} to {now.version} for nothing: what it writes is "
                "the same, and every project would run it again"
            )
    return found


def compare(stage: str, old: Stage, new: Stage) -> list[str]:
    """Return what differs between two runs of a stage beyond its tolerance, the first things first."""
    found = [f"{name}: only on one side" for name in sorted(old.figures.keys() ^ new.figures.keys())]
    tolerance = TOLERANCE[stage]
    for name in sorted(old.figures.keys() & new.figures.keys()):
        before, now = old.figures[name], new.figures[name]
        if len(before) != len(now):
            found.append(f"{name}: {len(now)} figures instead of {len(before)}")
        elif apart := [
            (a, b)
            for a, b in zip(before, now, strict=True)
            if not math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
        ]:
            found.append(f"{name}: {apart[0][1]:.9g} instead of {apart[0][0]:.9g}")
    if not found and old.sha256 != new.sha256:
        found.append("names, types, counts or texts")
    return found


def write(stages: dict[str, Stage]) -> None:
    """Write the record, a line for each name of figures."""
    lines = ["# Written by `python -m tests.golden`; see the package's docstring for what the figures are."]
    for name, stage in stages.items():
        lines += [f"{name}:", f"  version: {stage.version}", f'  covered: "{stage.covered}"']
        lines += [f'  sha256: "{stage.sha256}"', "  figures:"]
        lines += [f"    {json.dumps(key)}: {json.dumps(values)}" for key, values in stage.figures.items()]
    RECORD.write_text("\n".join(lines) + "\n")
