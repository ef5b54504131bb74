"""How fast training is: rows a second against a DataLoader loop, and what a second process brings.

Runs in a trained project's environment and folder. Both loops do the same steps of the same network on the same
rows, one epoch on one thread; the processes are started by torchrun's launcher, as `processes` in infra.yaml does, and
joined before the clock starts.
"""

import time
from pathlib import Path

import polars as pl
import torch
import yaml
from pipeline import ml
from pipeline.ml.model.encoding import learn
from pipeline.ml.model.fit import fit
from pipeline.ml.model.network import Network
from pipeline.stages import workers
from pipeline.stages.train import training_rows
from torch.utils.data import DataLoader, TensorDataset

TIMES = Path("processes.txt")
TILES = (1, 4)  # how often the training rows are repeated


def settings(**changes: object) -> ml.Params:
    """The project's own, with one epoch."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["train"] |= {"epochs": 1} | changes
    return ml.Params.model_validate(params)


def indexed(rows: pl.DataFrame, threads: int = 1) -> float:
    """Seconds of an epoch as the stage trains, encoding left out: two epochs less one."""

    def seconds(epochs: int) -> float:
        marks = []
        chosen = settings(epochs=epochs).train
        start = time.perf_counter()
        fit(rows, chosen, device="cpu", precision="float32", threads=threads, progress=lambda _: marks.append(0))
        return time.perf_counter() - start

    return seconds(2) - seconds(1)


def loaded(rows: pl.DataFrame) -> float:
    """Seconds of an epoch with the loop that tutorials show."""
    train = settings().train
    encoding = learn(rows, bins=train.bins, minimum_category_rows=train.minimum_category_rows)
    sizes = [len(words) + 1 for words in encoding.vocabularies.values()]
    network = Network(encoding.edges, sizes, embedding=train.embedding, width=train.width, dropout=train.dropout)
    label = torch.from_numpy(rows[ml.LABEL].to_numpy()).float()
    data = TensorDataset(encoding.categories(rows), encoding.values(rows), label)
    optimiser = torch.optim.AdamW(network.parameters(), lr=train.learning_rate, fused=True)
    torch.set_num_threads(1)
    start = time.perf_counter()
    for categories, numbers, late in DataLoader(data, batch_size=train.batch_rows, shuffle=True, drop_last=True):
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(categories, numbers), late)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return time.perf_counter() - start


def worker() -> None:
    """Time each size in one of several processes; the first one writes the figures down."""
    rows = training_rows()
    with workers.joined("cpu") as first:
        figures = [indexed(pl.concat([rows] * tiles)) for tiles in TILES]
    if first:
        TIMES.write_text("\n".join(map(str, figures)))


def main() -> None:
    """Print both tables."""
    rows = training_rows()
    indexed(rows.head(5_000))  # what only the first training pays
    seconds = {"as the stage trains": indexed(rows), "with a DataLoader": loaded(rows)}
    print("| loop, one thread | rows a second | |\n|---|---|---|")
    for name, value in seconds.items():
        print(f"| {name} | {rows.height / value:,.0f} | {seconds['with a DataLoader'] / value:.1f} × |")
    one = [indexed(pl.concat([rows] * tiles)) for tiles in TILES]
    workers.launch(2, worker)
    two = [float(line) for line in TIMES.read_text().split()]
    TIMES.unlink()
    print("\n| rows | one process, one thread: seconds an epoch | two processes, a thread each | |\n|---|---|---|---|")
    for tiles, alone, shared in zip(TILES, one, two, strict=True):
        print(f"| {rows.height * tiles:,} | {alone:.1f} | {shared:.1f} | {alone / shared:.2f} × |")


if __name__ == "__main__":
    main()
