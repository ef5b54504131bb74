"""Where a process computes, and which of several it is."""

from dataclasses import dataclass

import torch
from torch import distributed, nn


@dataclass(frozen=True)
class Place:
    """A device, and this process's number among all that torch.distributed joined: the first one without it."""

    device: torch.device
    rank: int
    processes: int

    def wrap(self, network: nn.Module) -> nn.Module:
        """Average the gradients of all processes, where there are several."""
        if self.processes == 1:
            return network
        return nn.parallel.DistributedDataParallel(network, forward_sync_buffers=False, gradient_as_bucket_view=True)


def choose(device: str) -> Place:
    """Take the device asked for; `auto` is an accelerator where there is one, each process of a machine its own."""
    rank, processes = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    if device != "auto":
        return Place(torch.device(device), rank, processes)
    found = torch.accelerator.current_accelerator()
    return Place(found if found and torch.accelerator.is_available() else torch.device("cpu"), rank, processes)
