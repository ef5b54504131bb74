"""The model: a multilayer perceptron for tables, in plain PyTorch, and its training.

`train` is called by the stage `train`; the service needs only the ONNX file that it returns, and no PyTorch.
"""

import polars as pl
import torch
from mergeworthy import Compute, Dataset
from mergeworthy.training import Batches, Dropout, Encoding, Run, to_onnx
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from .params import Params, Train


def train(data: Dataset, params: Params, compute: Compute) -> bytes:
    """Fit on the labelled rows and return the ONNX file; the same arguments give the same bytes on a CPU."""
    network, encoding = fit(data, params.train, compute)
    return to_onnx(Probability(network), encoding)


def fit(data: Dataset, params: Train, compute: Compute) -> tuple["Network", Encoding]:
    """Train with AdamW and one cycle of the learning rate, in batches of all rows in a new order each epoch."""
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
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, params.learning_rate, total_steps=params.epochs * len(batches), pct_start=0.15
    )
    model.train()
    for epoch in run.epochs(params.epochs, network=network, optimiser=optimiser, cycle=cycle):
        for categories, numbers, label in batches:
            with run.autocast():
                logits = model(categories, numbers).float()
            loss = binary_cross_entropy_with_logits(logits, label)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            cycle.step()
            epoch.add(loss)
    return network.cpu().eval(), encoding


class Network(nn.Module):
    """Scores rows of categories (N, C), as integers with 0 for unknown, and numbers (N, F), NaN where missing.

    Numbers are encoded piecewise-linearly between quantiles (Gorishniy et al. 2022, arXiv:2203.05556), categories by
    embeddings.
    """

    def __init__(self, edges: Tensor, sizes: list[int], *, embedding: int, width: int, dropout: float) -> None:
        """`edges` (F, bins + 1) are the numbers' quantiles; `sizes` counts each category's values, unknown included."""
        super().__init__()
        self.bins = edges.shape[1] - 1
        self.low: Tensor
        self.scale: Tensor
        self.register_buffer("low", edges[:, :-1].T.flatten())  # all numbers' first bin, then all numbers' second…
        # Edges that are apart in the data may be one in float32: a step, then, and not a division by zero.
        self.register_buffer("scale", 1 / edges.diff(dim=1).clamp_min(torch.finfo(edges.dtype).tiny).T.flatten())
        embeddings = [nn.Embedding(size, min(embedding, size // 2 + 1)) for size in sizes]
        for layer in embeddings:
            nn.init.normal_(layer.weight, std=0.3)
        self.embeddings = nn.ModuleList(embeddings)
        encoded = edges.numel() + sum(layer.embedding_dim for layer in embeddings)
        # Two products instead of one: positions are not learned, so most of the inputs need no gradient.
        self.positions = nn.Parameter(torch.empty(width, len(self.low)))
        self.others = nn.Linear(encoded - len(self.low), width)
        for part in (self.positions, *self.others.parameters()):
            nn.init.uniform_(part, -(encoded**-0.5), encoded**-0.5)  # as for one layer
        self.layers = nn.Sequential(
            *(Dropout(dropout), nn.ReLU(inplace=True)),
            *(nn.Linear(width, width), Dropout(dropout), nn.ReLU(inplace=True)),
            nn.Linear(width, 1),
        )

    def encode(self, categories: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Give each number's position within each bin (N, bins * F), and missing numbers' flags with embeddings."""
        missing = torch.isnan(numbers)
        known = torch.where(missing, self.low[: numbers.shape[1]], numbers)  # at the lowest edge all positions are 0
        position = known.repeat(1, self.bins).sub_(self.low).mul_(self.scale).clamp_(0, 1)
        looked_up = [layer(categories[:, i]) for i, layer in enumerate(self.embeddings)]
        return position, torch.cat([missing.to(position.dtype), *looked_up], dim=1)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Logits, shape (N,)."""
        position, rest = self.encode(categories, numbers)
        first = torch.addmm(self.others(rest), position, self.positions.T)
        logits: Tensor = self.layers(first).squeeze(1)
        return logits


class Probability(nn.Module):
    """What ships: probabilities, shape (N,)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Probability for each row."""
        return torch.sigmoid(self.network(categories, numbers))
