"""A multilayer perceptron for tables, with its preprocessing inside: what is exported needs no code around it."""

import torch
from torch import Tensor, nn

from .dropout import Dropout


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


class Score(nn.Module):
    """What ships: probabilities, shape (N,)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Probability for each row."""
        return torch.sigmoid(self.network(categories, numbers))
