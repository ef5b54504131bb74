"""Training: batches of all rows in a new order each epoch, with AdamW and one cycle of the learning rate.

Where torch.distributed was initialised each process takes its share of every batch, and gradients are averaged: the
batches are those of a single process, only the dropout differs.
"""

from collections.abc import Callable, Mapping, Sequence

import polars as pl
import torch
from torch import distributed
from torch.nn.functional import binary_cross_entropy_with_logits

from ..features import LABEL
from ..params import Train
from .checkpoint import Checkpoint
from .encoding import Encoding, learn
from .network import Network
from .place import choose
from .rows import Rows
from .state import State


def fit(
    parts: Sequence[pl.LazyFrame],
    params: Train,
    *,
    device: str = "cpu",
    precision: str = "float32",
    threads: int = 2,
    checkpoint: Checkpoint | None = None,
    progress: Callable[[Mapping[str, float]], None] = lambda _: None,
) -> tuple[Network, Encoding]:
    """Fit on the rows of all parts whose label is known; what `checkpoint` holds of this training is not done again."""
    torch.manual_seed(params.seed)
    torch.set_num_threads(threads)
    place = choose(device)
    labelled = pl.concat(parts).filter(pl.col(LABEL).is_not_null())
    encoding = learn(labelled, bins=params.bins, minimum_category_rows=params.minimum_category_rows)
    network = Network(
        encoding.edges,
        [len(words) + 1 for words in encoding.vocabularies.values()],
        embedding=params.embedding,
        width=params.width,
        dropout=params.dropout,
    ).to(place.device)
    model = place.wrap(network)
    shuffle = torch.Generator().manual_seed(params.seed)  # the same in all processes, unlike the dropout
    torch.manual_seed(params.seed + place.rank)
    data = Rows(parts, encoding, place.device)
    rows = min(params.batch_rows, data.count) // place.processes * place.processes
    steps = data.count // rows
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay, fused=True
    )
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, params.learning_rate, total_steps=params.epochs * steps, pct_start=0.15
    )
    autocast = torch.autocast(place.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    state = State(checkpoint, place, shuffle, network=network, optimiser=optimiser, cycle=cycle)
    done = state.load()
    for figures in done:
        progress(figures)
    model.train()
    for epoch in range(len(done) + 1, params.epochs + 1):
        total = torch.zeros((), device=place.device)
        for categories, numbers, label in data.batches(rows, shuffle, slice(place.rank, None, place.processes)):
            with autocast:
                logits = model(categories, numbers).float()
            loss = binary_cross_entropy_with_logits(logits, label)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            cycle.step()
            total += loss.detach()
        if place.processes > 1:
            distributed.all_reduce(total.div_(place.processes))
        done.append({"epoch": epoch, "epochs": params.epochs, "train_loss": total.item() / steps})
        progress(done[-1])
        state.save(done)
    return network.cpu().eval(), encoding
