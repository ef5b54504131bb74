"""How fast training is: rows a second against a DataLoader loop, and from which batch on a second process pays.

Runs in a trained project's environment and folder. Both loops take the same steps on the same rows, one epoch, and
end at the same log loss; the plain one has the same network as a tutorial would write it. Both are timed on one thread
and on as many as infra.yaml gives the stage, which is where the limit holds. The processes are started by torchrun's
launcher, as `processes` in infra.yaml does, and joined before the clock starts.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import torch
import yaml
from mergeworthy import Compute, holdout
from mergeworthy.config import infra
from mergeworthy.project import registered
from mergeworthy.stages import train
from mergeworthy.stages.train import training_files
from mergeworthy.training import Encoding
from ml.model import fit
from ml.params import Params
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SLACK = float(os.environ.get("SLACK", "1"))  # a busy machine is given more
FASTER, WORSE = 3 / SLACK, 0.003  # than the plain loop, at least; log loss above its own, at most
TIMES = 3 if SLACK == 1 else 1  # that each loop is timed, in turn; the shortest counts
FIGURES = Path("processes.txt")
PAYS = 4_096  # rows of a step, of all processes together, from which at the latest two are to be faster than one
TARGET = registered().target
BATCHES = (1_024, 2_048, PAYS, 8_192) if SLACK == 1 else (PAYS,)


def training_rows() -> pl.DataFrame:
    """All of them, labelled."""
    return pl.scan_parquet(training_files()).filter(pl.col(TARGET).is_not_null()).collect()


def settings(**changes: object) -> Params:
    """The project's own, with one epoch."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["train"] |= {"epochs": 1} | changes
    return Params.model_validate(params)


class Plain(nn.Module):
    """What `Network` computes, in torch's own layers and one step after the other."""

    def __init__(self, encoding: Encoding, train: Any) -> None:
        super().__init__()
        sizes = [len(words) + 1 for words in encoding.vocabularies.values()]
        self.low, self.width = encoding.edges[:, :-1], encoding.edges.diff(dim=1)
        self.embeddings = nn.ModuleList(nn.Embedding(size, min(train.embedding, size // 2 + 1)) for size in sizes)
        for layer in self.embeddings:
            nn.init.normal_(layer.weight, std=0.3)
        encoded = encoding.edges.numel() + sum(layer.embedding_dim for layer in self.embeddings)
        self.layers = nn.Sequential(
            *(nn.Linear(encoded, train.width), nn.ReLU(), nn.Dropout(train.dropout)),
            *(nn.Linear(train.width, train.width), nn.ReLU(), nn.Dropout(train.dropout)),
            nn.Linear(train.width, 1),
        )

    def forward(self, categories: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Logits, shape (N,)."""
        missing = torch.isnan(numbers)[..., None]
        position = ((numbers.nan_to_num()[..., None] - self.low) / self.width).clamp(0, 1)
        pieces = torch.cat([torch.where(missing, 0.0, position), missing.float()], dim=-1).flatten(1)
        places = [layer(categories[:, i]) for i, layer in enumerate(self.embeddings)]
        return self.layers(torch.cat([pieces, *places], dim=1)).squeeze(1)


def indexed(rows: pl.DataFrame, threads: int, **changes: object) -> float:
    """Seconds of an epoch as the stage trains: the second one, encoding left out."""
    marks: list[float] = []

    def mark(_: object) -> None:
        marks.append(time.perf_counter())

    compute = Compute(threads=threads, progress=mark)
    fit(registered().dataset([rows.lazy()]), settings(epochs=2, **changes).train, compute)
    return marks[1] - marks[0]


def loaded(rows: pl.DataFrame, threads: int, encoding: Encoding) -> tuple[float, nn.Module]:
    """Seconds of an epoch with the loop that tutorials show, and what it trained."""
    train = settings().train
    torch.manual_seed(train.seed)
    network = Plain(encoding, train)
    label = torch.from_numpy(rows[TARGET].to_numpy()).float()
    data = TensorDataset(encoding.categories(rows), encoding.values(rows), label)
    steps = len(data) // train.batch_rows
    optimiser = torch.optim.AdamW(network.parameters(), lr=train.learning_rate, weight_decay=train.weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, train.learning_rate, total_steps=steps, pct_start=0.15)
    torch.set_num_threads(threads)
    start = time.perf_counter()
    for categories, numbers, late in DataLoader(data, batch_size=train.batch_rows, shuffle=True, drop_last=True):
        loss = nn.functional.binary_cross_entropy_with_logits(network(categories, numbers), late)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        cycle.step()
    return time.perf_counter() - start, network.eval()


def log_loss(network: nn.Module, encoding: Encoding, rows: pl.DataFrame) -> float:
    """Of a network on the holdout."""
    label = torch.from_numpy(rows[TARGET].to_numpy()).float()
    with torch.no_grad():
        logits = network(encoding.categories(rows), encoding.values(rows))
    return nn.functional.binary_cross_entropy_with_logits(logits, label).item()


def each_batch() -> list[float]:
    """Seconds of an epoch with each size of a batch."""
    rows = training_rows()
    return [indexed(rows, 1, batch_rows=batch) for batch in BATCHES]


def worker() -> None:
    """Time them in one of several processes; the first one writes the figures down."""
    with train.process_group("cpu") as first:
        figures = each_batch()
    if first:
        FIGURES.write_text("\n".join(map(str, figures)))


def nothing() -> None:
    """What several processes do before they train."""
    with train.process_group("cpu"):
        train.once_per_machine(lambda: None)


def pays(start: float, rows: int, one: list[float], two: list[float]) -> str:
    """From which batch on the second process makes an epoch faster, and from which table on it is worth its start."""
    faster = [(batch, alone - shared) for batch, alone, shared in zip(BATCHES, one, two, strict=True) if shared < alone]
    if not faster:
        return f"Starting the two takes {start:.1f} s, and they are not faster."
    batch, saved = faster[-1]
    epochs = yaml.safe_load(Path("params.yaml").read_text())["train"]["epochs"]
    least = start / epochs / saved * rows
    said = f"Two are faster from {faster[0][0]:,} rows a step on. Starting them takes {start:.1f} s"
    return f"{said}, which {epochs} epochs of {least:,.0f} rows make up for, {batch:,} a step."


def beside_a_loader(rows: pl.DataFrame, newest: pl.DataFrame, threads: int) -> tuple[float, float]:
    """Print two lines of the table; give how much faster the stage is, and how much worse its model's log loss."""
    # and what only the first training pays
    network, encoding = fit(registered().dataset([rows.lazy()]), settings().train, Compute(threads=threads))
    pairs = [(indexed(rows, threads), *loaded(rows, threads, encoding)) for _ in range(TIMES)]
    own, plain = (min(pair[i] for pair in pairs) for i in (0, 1))
    losses = [log_loss(trained, encoding, newest) for trained in (network, pairs[0][2])]
    for name, seconds, loss in zip(("as the stage trains", "with a DataLoader"), (own, plain), losses, strict=True):
        cells = f"{rows.height / seconds:,.0f} | {plain / seconds:.1f} × | {loss:.4f}"
        print(f"| {name} | {threads} | {cells} |", flush=True)
    return plain / own, losses[0] - losses[1]


def main() -> None:
    """Print both tables; exit 1 where a limit is missed."""
    rows, newest = training_rows(), holdout.read().table
    print("| loop, one epoch | threads | rows a second | | log loss of the holdout |\n|---|---|---|---|---|")
    found = [beside_a_loader(rows, newest, threads) for threads in sorted({1, infra().compute.threads})]
    one = each_batch()
    started = time.perf_counter()
    train.launch(2, nothing)
    start = time.perf_counter() - started
    train.launch(2, worker)
    two = [float(line) for line in FIGURES.read_text().split()]
    FIGURES.unlink()
    print("\n| rows a step | one process, one thread: seconds an epoch | two processes, a thread each | |")
    print("|---|---|---|---|")
    for batch, alone, shared in zip(BATCHES, one, two, strict=True):
        print(f"| {batch:,} | {alone:.2f} | {shared:.2f} | {alone / shared:.2f} × |")
    print(f"\n{pays(start, rows.height, one, two)}")
    if found[-1][0] < FASTER or max(worse for _, worse in found) > WORSE:
        sys.exit("training is slower, or its model worse, than it may be beside the plain loop")
    at = BATCHES.index(PAYS)
    if two[at] > one[at] * SLACK:
        sys.exit(f"two processes on two cores are slower than one at {PAYS:,} rows a step")


if __name__ == "__main__":
    main()
