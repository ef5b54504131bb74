"""One training: its device, its place among several processes, its random generators and its state after each epoch.

If torch.distributed was initialised each process takes its share of every batch, and gradients are averaged: the
batches are those of a single process, and only the dropout differs. A training that goes on from a checkpoint ends as
if nothing had happened.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, distributed, nn

from ..dataset import Compute


class Stateful(Protocol):
    """Network, optimiser or schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes in training."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take it back."""


@dataclass
class Epoch:
    """One pass over the rows, counted from 1; `add` takes the loss of each batch."""

    number: int
    _total: Tensor
    _batches: int = field(default=0)

    def add(self, loss: Tensor) -> None:
        """Count a batch."""
        self._total += loss.detach()
        self._batches += 1

    def loss(self, processes: int) -> float:
        """Return the mean loss over the batches of all processes."""
        if processes > 1:
            distributed.all_reduce(self._total.div_(processes))
        return float(self._total.item() / max(self._batches, 1))


class Run:
    """Seeds PyTorch, and knows device and processes; `shuffle` is the same in all processes, unlike the dropout."""

    def __init__(self, compute: Compute, seed: int) -> None:
        torch.manual_seed(seed)
        torch.set_num_threads(compute.threads)
        joined = distributed.is_initialized()
        self.rank, self.processes = (distributed.get_rank(), distributed.get_world_size()) if joined else (0, 1)
        self.device = _device(compute.device)
        self.shuffle = torch.Generator().manual_seed(seed)
        self._compute, self._seed = compute, seed
        # The generator that dropout draws from.
        self._random: Any = torch if self.device.type == "cpu" else torch.get_device_module(self.device)

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network such that the gradients of all processes are averaged, if there are several."""
        if self.processes == 1:
            return network
        return nn.parallel.DistributedDataParallel(network, forward_sync_buffers=False, gradient_as_bucket_view=True)

    def autocast(self) -> torch.autocast:
        """Return the context in which infra.yaml's precision holds."""
        enabled = self._compute.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def epochs(self, count: int, **parts: Stateful) -> Iterator[Epoch]:
        """Yield each epoch that is still to be done; report its mean loss, and save `parts`, once it is done.

        `parts` are network, optimiser and whatever else changes: they are restored from the checkpoint first.
        """
        torch.manual_seed(self._seed + self.rank)
        done = self._load(parts)
        for figures in done:
            self._compute.progress(figures)
        for number in range(len(done) + 1, count + 1):
            epoch = Epoch(number, torch.zeros((), device=self.device))
            yield epoch
            done.append({"epoch": number, "epochs": count, "train_loss": epoch.loss(self.processes)})
            self._compute.progress(done[-1])
            self._save(done, parts)

    def _load(self, parts: Mapping[str, Stateful]) -> list[dict[str, float]]:
        """Restore the state, and return the figures of the epochs that are done."""
        checkpoint = self._compute.checkpoint
        saved = [checkpoint.load() if checkpoint and self.rank == 0 else None]
        if self.processes > 1:
            distributed.broadcast_object_list(saved)
        if saved[0] is None:
            return []
        state = torch.load(io.BytesIO(saved[0]), weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        self.shuffle.set_state(state["shuffle"])
        self._random.set_rng_state(state["random"][self.rank])
        figures: list[dict[str, float]] = state["figures"]
        return figures

    def _save(self, figures: list[dict[str, float]], parts: Mapping[str, Stateful]) -> None:
        """Save everything, with the generators of all processes; the first process writes."""
        if self._compute.checkpoint is None:
            return
        random = [self._random.get_rng_state()] * self.processes
        if self.processes > 1:
            distributed.all_gather_object(random, random[0])
        if self.rank > 0:
            return
        state: Mapping[str, Any] = {name: part.state_dict() for name, part in parts.items()}
        written = io.BytesIO()
        torch.save({**state, "shuffle": self.shuffle.get_state(), "random": random, "figures": figures}, written)
        self._compute.checkpoint.save(written.getvalue())


def _device(name: str) -> torch.device:
    """Return the device asked for; `auto` is an accelerator if there is one."""
    if name != "auto":
        return torch.device(name)
    found = torch.accelerator.current_accelerator()
    return found if found and torch.accelerator.is_available() else torch.device("cpu")
