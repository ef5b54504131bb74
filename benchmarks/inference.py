"""Why ONNX is what ships: scoring beside torch, and what the image's packages weigh beside an image with torch.

Runs in a trained project's environment and folder. torch gets its tensors ready-made, ONNX looks the strings up itself.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import yaml
from pipeline import ml
from pipeline.holdout import session
from pipeline.ml.model import inputs, values
from pipeline.ml.model.export import to_onnx
from pipeline.ml.model.fit import fit
from pipeline.ml.model.network import Score
from pipeline.stages.train import training_rows

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


def scoring() -> bool:
    """Print the times, and say whether ONNX is ahead."""
    settings = yaml.safe_load(Path("params.yaml").read_text())
    settings["train"] |= {"epochs": 1}
    params, rows = ml.Params.model_validate(settings).train, training_rows().head(20_000)
    network, encoding = fit(rows, params, device="cpu", precision="float32", threads=2, progress=lambda _: None)
    onnx, ahead = session(to_onnx(network, encoding)), True
    network = Score(network).eval()
    print("| | ONNX, µs | torch, µs | |\n|---|---|---|---|")
    for size in (1, 1_000):
        some = rows.head(size)
        feeds = {name: values(some[name], kind)[:, None] for name, (kind, _) in inputs(onnx).items()}
        categories, numbers = encoding.categories(some), encoding.values(some)
        with torch.inference_mode():
            theirs = microseconds(lambda given=(categories, numbers): network(*given))
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
