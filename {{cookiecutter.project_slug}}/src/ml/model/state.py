"""Where a training stands after an epoch: what goes on from there ends as if nothing had happened."""

import io
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import distributed

from .checkpoint import Checkpoint
from .place import Place


class Part(Protocol):
    """Network, optimiser or schedule."""

    def state_dict(self) -> dict[str, Any]:
        """All that changes in training."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take it back."""


class State:
    """The parts of a training, its generators, and each epoch's figures so far; the same in all processes."""

    def __init__(self, checkpoint: Checkpoint | None, place: Place, shuffle: torch.Generator, **parts: Part) -> None:
        self.checkpoint, self.place, self.shuffle, self.parts = checkpoint, place, shuffle, parts
        # what dropout draws from
        self.random = torch if place.device.type == "cpu" else torch.get_device_module(place.device)

    def load(self) -> list[dict[str, float]]:
        """Go to where the training was stopped, and give the figures of the epochs that are done."""
        saved = [self.checkpoint.load() if self.checkpoint and self.place.rank == 0 else None]
        if self.place.processes > 1:
            distributed.broadcast_object_list(saved)
        if saved[0] is None:
            return []
        state = torch.load(io.BytesIO(saved[0]), weights_only=True)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        self.shuffle.set_state(state["shuffle"])
        self.random.set_rng_state(state["random"][self.place.rank])
        figures: list[dict[str, float]] = state["figures"]
        return figures

    def save(self, figures: list[dict[str, float]]) -> None:
        """Keep all of it; the first process does, with the others' generators."""
        if self.checkpoint is None:
            return
        random = [self.random.get_rng_state()] * self.place.processes
        if self.place.processes > 1:
            distributed.all_gather_object(random, random[0])
        if self.place.rank > 0:
            return
        state: Mapping[str, Any] = {name: part.state_dict() for name, part in self.parts.items()}
        written = io.BytesIO()
        torch.save({**state, "shuffle": self.shuffle.get_state(), "random": random, "figures": figures}, written)
        self.checkpoint.save(written.getvalue())
