"""Why ONNX is what ships: scoring beside torch, and what the image's packages weigh beside an image with torch.

Runs in a trained project's environment and folder. Both begin with columns by name, and look the strings up.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl
import torch
import yaml
from mergeworthy import Compute
from mergeworthy.artifact import inputs, session, values
from mergeworthy.project import registered
from mergeworthy.stages.train import training_files
from mergeworthy.training import Encoding, to_onnx
from ml.model import Probability, fit
from ml.params import Params

LIMIT = float(os.environ.get("SLACK", "1"))  # of torch's time; a busy machine is given more
SECONDS = 1.5  # of each measurement


def microseconds(call: Callable[[], object]) -> float:
    """Median time of a call, warmed up."""
    times: list[float] = []
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return median(times[len(times) // 5 :]) * 1e6


def tensors(
    feeds: dict[str, np.ndarray], encoding: Encoding, places: dict[str, dict[str, int]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network takes, looked up in dictionaries as quick code would."""
    words = [[place.get(word, 0) for word in feeds[name][:, 0]] for name, place in places.items()]
    return torch.tensor(words).T, torch.from_numpy(np.hstack([feeds[name] for name in encoding.numbers]))


def scoring() -> bool:
    """Print the times, and say whether ONNX is ahead."""
    settings = yaml.safe_load(Path("params.yaml").read_text())
    settings["train"] |= {"epochs": 1}
    params, rows = Params.model_validate(settings).train, pl.read_parquet(training_files()[0])
    trained, encoding = fit(registered().dataset([rows.lazy()]), params, Compute())
    network = Probability(trained).eval()
    onnx, ahead = session(to_onnx(network, encoding)), True
    torch.set_num_threads(1)  # as the session has
    places = {name: {word: i for i, word in enumerate(words, 1)} for name, words in encoding.vocabularies.items()}
    print("| | ONNX, µs | torch, µs | |\n|---|---|---|---|")
    for size in (1, 1_000):
        some = rows.head(size)
        feeds = {name: values(some[name], kind)[:, None] for name, (kind, _) in inputs(onnx).items()}
        with torch.inference_mode():
            theirs = microseconds(lambda given=feeds: network(*tensors(given, encoding, places)))
        ours = microseconds(lambda given=feeds: onnx.run(["score"], given))
        print(f"| {size:,} row{'s' * (size > 1)} | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} × |")
        ahead &= ours <= LIMIT * theirs
    return ahead


def megabytes(*packages: str) -> float:
    """What these packages take on disk, with all that they need."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["uv", "pip", "install", "--quiet", "--target", folder, *packages], check=True)
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / 1e6


def weight() -> bool:
    """Print what the serving packages weigh, and say whether they are lighter without torch."""
    ours = megabytes("-r", "pyproject.toml", "--group", "serve")
    theirs = megabytes("-r", "pyproject.toml", "--group", "serve", f"torch=={torch.__version__.partition('+')[0]}")
    print("\n| | the image's packages, MB | with torch, MB | |\n|---|---|---|---|")
    print(f"| as the package index has them | {ours:,.0f} | {theirs:,.0f} | {ours / theirs:.2f} × |")
    return ours < theirs


if __name__ == "__main__":
    sys.exit(not all([scoring(), weight()]))
