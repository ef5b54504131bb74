"""The model: a multilayer perceptron for tables in plain PyTorch, its training, and its export to ONNX.

The stage `train` calls `train`. What ships is the ONNX file that it returns: the service runs it without PyTorch.
"""

import polars as pl
import torch
from mergeworthy import Compute, Dataset
from mergeworthy.training import Batches, Dropout, Encoding, Run, to_onnx
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from .params import Params, Train


def train(data: Dataset, params: Params, compute: Compute) -> bytes:
    """Fit on the labelled rows and return the bytes of an ONNX file; on a CPU, equal arguments give equal bytes."""
    network, encoding = fit(data, params.train, compute)
    return to_onnx(Probability(network), encoding)


def fit(data: Dataset, params: Train, compute: Compute) -> tuple["Network", Encoding]:
    """Fit the network with AdamW and a one-cycle learning rate; every epoch is a new shuffle of all labelled rows."""
    run = Run(compute, params.seed)
    encoding = Encoding.learn(data, bins=params.bins, minimum_category_rows=params.minimum_category_rows)
    network = Network(
        encoding.edges, encoding.sizes, embedding=params.embedding, width=params.width, dropout=params.dropout
    ).to(run.device)
    model = run.wrap(network)

    def encode(rows: pl.DataFrame) -> tuple[Tensor, ...]:
        return encoding.categories(rows), encoding.values(rows)

    batches = Batches(data, encode, run, params.batch_rows)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, params.learning_rate, total_steps=params.epochs * len(batches), pct_start=0.15
    )
    model.train()
    for epoch in run.epochs(params.epochs, network=network, optimiser=optimiser, schedule=schedule):
        for categories, numbers, target in batches:
            with run.autocast():
                logits = model(categories, numbers).float()
            loss = binary_cross_entropy_with_logits(logits, target)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            epoch.add(loss)
    return network.cpu().eval(), encoding


class Network(nn.Module):
    """Return the logit of each row, shape (N,), from categories (N, C) and numbers (N, F).

    Categories are integers, 0 for an unknown value; numbers are NaN if missing. A number is encoded piecewise-linearly
    between its quantiles (Gorishniy et al. 2022, arXiv:2203.05556), with a flag if it is missing. A category is
    embedded.
    """

    def __init__(self, edges: Tensor, sizes: list[int], *, embedding: int, width: int, dropout: float) -> None:
        """`edges` (F, bins + 1) are quantiles of the numbers; `sizes` counts each category's values and the unknown."""
        super().__init__()
        self.bins = edges.shape[1] - 1
        self.low: Tensor
        self.scale: Tensor
        self.register_buffer("low", edges[:, :-1].T.flatten())  # of all numbers the first bin, then the second, …
        # Two edges may be equal in float32: divide by the smallest number then, not by zero.
        self.register_buffer("scale", 1 / edges.diff(dim=1).clamp_min(torch.finfo(edges.dtype).tiny).T.flatten())
        embeddings = [nn.Embedding(size, min(embedding, size // 2 + 1)) for size in sizes]
        for layer in embeddings:
            nn.init.normal_(layer.weight, std=0.3)
        self.embeddings = nn.ModuleList(embeddings)
        encoded = edges.numel() + sum(layer.embedding_dim for layer in embeddings)
        # The first layer is two products: positions come from the data alone, so they need no gradient.
        self.positions = nn.Parameter(torch.empty(width, len(self.low)))
        self.others = nn.Linear(encoded - len(self.low), width)
        for weights in (self.positions, *self.others.parameters()):
            nn.init.uniform_(weights, -(encoded**-0.5), encoded**-0.5)  # as nn.Linear does for one layer
        self.layers = nn.Sequential(
            *(Dropout(dropout), nn.ReLU(inplace=True)),
            *(nn.Linear(width, width), Dropout(dropout), nn.ReLU(inplace=True)),
            nn.Linear(width, 1),
        )

    def encode(self, categories: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return each number's position in each of its bins (N, bins * F), and missing flags with embeddings (N, …)."""
        missing = torch.isnan(numbers)
        filled = torch.where(missing, self.low[: numbers.shape[1]], numbers)  # the lowest edge has position 0
        position = filled.repeat(1, self.bins).sub_(self.low).mul_(self.scale).clamp_(0, 1)
        embedded = [layer(categories[:, i]) for i, layer in enumerate(self.embeddings)]
        return position, torch.cat([missing.to(position.dtype), *embedded], dim=1)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Return logits, shape (N,)."""
        position, others = self.encode(categories, numbers)
        hidden = torch.addmm(self.others(others), position, self.positions.T)
        logits: Tensor = self.layers(hidden).squeeze(1)
        return logits


class Probability(nn.Module):
    """The network that ships: it returns probabilities, shape (N,)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Return the probability of the target for each row, shape (N,)."""
        return torch.sigmoid(self.network(categories, numbers))
