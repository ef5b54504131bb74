"""Training: all rows lie in memory as tensors, and a batch is an index into them.

Where torch.distributed was initialised each process takes its share of every batch, and gradients are averaged: the
batches are those of a single process, only the dropout differs.
"""

from collections.abc import Callable, Mapping

import polars as pl
import torch
from torch import distributed, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ..features import LABEL
from ..params import Train
from .encoding import Encoding, learn
from .network import Network


def choose(device: str) -> torch.device:
    """The device asked for; `auto` takes an accelerator where there is one, each process of a machine its own."""
    if device != "auto":
        return torch.device(device)
    found = torch.accelerator.current_accelerator()
    return found if found and torch.accelerator.is_available() else torch.device("cpu")


def fit(
    table: pl.DataFrame,
    params: Train,
    *,
    device: str,
    precision: str,
    threads: int,
    progress: Callable[[Mapping[str, float]], None],
) -> tuple[Network, Encoding]:
    """Fit on rows whose label is known, with AdamW and one cycle of the learning rate."""
    torch.manual_seed(params.seed)
    torch.set_num_threads(threads)
    encoding = learn(table, bins=params.bins, minimum_category_rows=params.minimum_category_rows)
    network = Network(
        encoding.edges,
        [len(words) + 1 for words in encoding.vocabularies.values()],
        embedding=params.embedding,
        width=params.width,
        dropout=params.dropout,
    )
    place = choose(device)
    network.to(place)
    rank, processes = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    model: nn.Module = network
    if processes > 1:
        model = nn.parallel.DistributedDataParallel(network, forward_sync_buffers=False)
    shuffle = torch.Generator().manual_seed(params.seed)  # the same in all processes, unlike the dropout
    torch.manual_seed(params.seed + rank)
    categories, numbers = encoding.categories(table).to(place), encoding.values(table).to(place)
    label = torch.from_numpy(table[LABEL].to_numpy()).float().to(place)
    rows = min(params.batch_rows, len(label)) // processes * processes
    steps = len(label) // rows
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=params.learning_rate, weight_decay=params.weight_decay, fused=True
    )
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, params.learning_rate, total_steps=params.epochs * steps, pct_start=0.15
    )
    autocast = torch.autocast(place.type, torch.bfloat16, enabled=precision == "bfloat16")
    model.train()
    for epoch in range(1, params.epochs + 1):
        order, total = torch.randperm(len(label), generator=shuffle).to(place), torch.zeros((), device=place)
        for batch in order[: steps * rows].view(steps, rows)[:, rank::processes]:
            with autocast:
                logits = model(categories[batch], numbers[batch]).float()
            loss = binary_cross_entropy_with_logits(logits, label[batch])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            cycle.step()
            total += loss.detach()
        if processes > 1:
            distributed.all_reduce(total.div_(processes))
        progress({"epoch": epoch, "epochs": params.epochs, "train_loss": total.item() / steps})
    return network.cpu().eval(), encoding
