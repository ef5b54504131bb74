"""The model: a small network in plain PyTorch that corrects the usual count, its training, and its export to ONNX.

The stage `train` calls `train`. What ships is the ONNX file that it returns: the service runs it without PyTorch.
"""

import polars as pl
import torch
from mergeworthy import Compute, Dataset
from mergeworthy.training import Batches, Dropout, Encoding, Run, to_onnx
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from .features import QUANTILES
from .params import Params, Train

LEVELS = (0.5, *QUANTILES)  # what the network gives: the median, and each quantile


def train(data: Dataset, params: Params, compute: Compute) -> bytes:
    """Fit on the labelled rows and return the bytes of an ONNX file; on a CPU, equal arguments give equal bytes."""
    network, encoding = fit(data, params.train, compute)
    return to_onnx(network, encoding)


def fit(data: Dataset, params: Train, compute: Compute) -> tuple["Network", Encoding]:
    """Fit the network with AdamW and a one-cycle learning rate; every epoch is a new shuffle of all labelled rows."""
    run = Run(compute, params.seed)
    encoding = Encoding.learn(data, bins=params.bins, minimum_category_rows=1)
    network = Network(encoding, embedding=params.embedding, width=params.width, dropout=params.dropout).to(run.device)
    model = run.wrap(network)

    def encode(rows: pl.DataFrame) -> tuple[Tensor, ...]:
        return encoding.categories(rows), encoding.values(rows)

    batches = Batches(data, encode, run, params.batch_rows)
    optimiser = torch.optim.AdamW(network.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, params.learning_rate, total_steps=params.epochs * len(batches), pct_start=0.15
    )
    levels = torch.tensor(LEVELS, device=run.device)
    model.train()
    for epoch in run.epochs(params.epochs, network=network, optimiser=optimiser, schedule=schedule):
        for categories, numbers, target in batches:
            with run.autocast():
                predicted = model(categories, numbers).float()
            loss = pinball(predicted, target, levels)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            epoch.add(loss)
    return network.cpu().eval(), encoding


def pinball(predicted: Tensor, target: Tensor, levels: Tensor) -> Tensor:
    """Return the mean quantile loss (Koenker & Bassett 1978) of predictions (N, K) at levels (K,), in people."""
    error = target[:, None] - predicted
    return torch.maximum(levels * error, (levels - 1) * error).mean()


class Network(nn.Module):
    """Return the median and two quantiles of each row, shape (N, 3), from categories (N, 1) and numbers (N, F).

    The network gives factors of the usual count of the hour. The lower quantile is a share of the median, and the upper
    one is the median and more, so that they cannot cross. A number is encoded piecewise-linearly between its quantiles
    (Gorishniy et al. 2022, arXiv:2203.05556), with a flag if it is missing. A category is embedded.
    """

    def __init__(self, encoding: Encoding, *, embedding: int, width: int, dropout: float) -> None:
        """`encoding` says which number is the usual count, and where the quantiles of all numbers are."""
        super().__init__()
        edges = encoding.edges
        self.usual, self.week = encoding.numbers.index("usual"), encoding.numbers.index("last_week")
        self.low: Tensor
        self.scale: Tensor
        self.register_buffer("low", edges[:, :-1])
        self.register_buffer("scale", 1 / edges.diff(dim=1).clamp_min(torch.finfo(edges.dtype).tiny))
        self.embeddings = nn.ModuleList(nn.Embedding(size, embedding) for size in encoding.sizes)
        encoded = self.low.numel() + len(edges) + embedding * len(encoding.sizes)
        self.layers = nn.Sequential(
            *(nn.Linear(encoded, width), Dropout(dropout), nn.ReLU(inplace=True)),
            *(nn.Linear(width, width), Dropout(dropout), nn.ReLU(inplace=True)),
            nn.Linear(width, len(LEVELS)),
        )

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Return the median and the quantiles, shape (N, 3)."""
        missing = torch.isnan(numbers)
        filled = torch.where(missing, self.low[:, 0], numbers)
        position = ((filled[:, :, None] - self.low) * self.scale).clamp(0, 1).flatten(1)
        embedded = [layer(categories[:, i]) for i, layer in enumerate(self.embeddings)]
        factor, below, above = self.layers(torch.cat([position, missing.to(position.dtype), *embedded], dim=1)).unbind(
            1
        )
        base = torch.where(missing[:, self.usual], filled[:, self.week], filled[:, self.usual]) + 1
        median = base * factor.clamp(-5, 5).exp()
        return torch.stack([median, median * logsigmoid(below).exp(), median * (1 + softplus(above))], dim=1)
