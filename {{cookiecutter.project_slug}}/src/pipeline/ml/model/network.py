"""A multilayer perceptron for tables, with its preprocessing inside: what is exported needs no code around it."""

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """Scores rows of categories (N, C), as integers with 0 for unknown, and numbers (N, F), NaN where missing.

    Numbers are encoded piecewise-linearly between quantiles (Gorishniy et al. 2022, arXiv:2203.05556), categories by
    embeddings.
    """

    def __init__(self, edges: Tensor, sizes: list[int], *, embedding: int, width: int, dropout: float) -> None:
        """`edges` (F, bins + 1) are the numbers' quantiles; `sizes` counts each category's values, unknown included."""
        super().__init__()
        self.low: Tensor
        self.scale: Tensor
        self.register_buffer("low", edges[:, :-1])
        # Edges that are apart in the data may be one in float32: a step, then, and not a division by zero.
        self.register_buffer("scale", 1 / edges.diff(dim=1).clamp_min(torch.finfo(edges.dtype).tiny))
        embeddings = [nn.Embedding(size, min(embedding, size // 2 + 1)) for size in sizes]
        for layer in embeddings:
            nn.init.normal_(layer.weight, std=0.3)
        self.embeddings = nn.ModuleList(embeddings)
        encoded = edges.numel() + sum(layer.embedding_dim for layer in embeddings)
        self.layers = nn.Sequential(
            *(nn.Linear(encoded, width), nn.ReLU(), nn.Dropout(dropout)),
            *(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout)),
            nn.Linear(width, 1),
        )

    def encode(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """All inputs as one row of floats: embeddings, position within each bin, and one flag per missing number."""
        missing = torch.isnan(numbers)
        position = (torch.where(missing, 0.0, numbers)[..., None] - self.low) * self.scale
        position = torch.where(missing[..., None], 0.0, position.clamp(0, 1))
        pieces = torch.cat([position, missing[..., None].to(position.dtype)], dim=-1).flatten(1)
        return torch.cat([pieces, *(layer(categories[:, i]) for i, layer in enumerate(self.embeddings))], dim=1)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Logits, shape (N,)."""
        logits: Tensor = self.layers(self.encode(categories, numbers)).squeeze(1)
        return logits


class Score(nn.Module):
    """What ships: probabilities, shape (N,)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Probability for each row."""
        return torch.sigmoid(self.network(categories, numbers))
