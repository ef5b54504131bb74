"""What a model in PyTorch is trained with: encodings of columns, batches, devices and processes, checkpoints, ONNX.

A team's `train` uses what it needs of it. Nothing else in the engine imports it, because it imports PyTorch.
"""

from .batches import Batches
from .dropout import Dropout
from .encoding import Encoding, quantiles
from .export import to_onnx
from .run import Epoch, Run

__all__ = ["Batches", "Dropout", "Encoding", "Epoch", "Run", "quantiles", "to_onnx"]
