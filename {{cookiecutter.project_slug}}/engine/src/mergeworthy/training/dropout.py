"""Dropout (Srivastava et al. 2014) that is cheap on a CPU, where torch's own takes a fifth of a training."""

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

LEVELS = 256  # of a byte


class Dropout(nn.Module):
    """Set a share of the values to 0 while training, and scale the others up to keep the mean.

    On a CPU a value costs a byte of the generator and the share is a whole number of 256ths; torch draws 64 bits for
    each, one after the other.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share, self.dropped = share, round(share * LEVELS)

    def forward(self, values: Tensor) -> Tensor:
        """Give the same tensor, changed, on a CPU; no gradient of what made it may need its values."""
        if not (self.training and self.dropped):
            return values
        if not values.is_cpu:
            return dropout(values, self.share)
        drawn = torch.empty(-(-values.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        drawn = drawn.view(torch.uint8)[: values.numel()].view(values.shape)
        kept = torch.ge(drawn, self.dropped, out=torch.empty_like(values))  # no booleans: they cost eight times that
        return values.mul_(kept.mul_(LEVELS / (LEVELS - self.dropped)))
