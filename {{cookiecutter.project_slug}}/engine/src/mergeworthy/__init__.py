"""The public names: all that a team's code in `src/ml` imports, beside `mergeworthy.training` for models in PyTorch.

A name is imported when it is asked for, so that a verb does not wait for polars if it needs none.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import UserError
    from .interface import Checkpoint, Compute, Dataset, History, asof, split_inputs
    from .project import Online, Project
    from .stats import Metric, by_rows, mean
    from .tasks.binary import Binary

__all__ = [
    "Binary",
    "Checkpoint",
    "Compute",
    "Dataset",
    "History",
    "Metric",
    "Online",
    "Project",
    "UserError",
    "asof",
    "by_rows",
    "mean",
    "split_inputs",
]

_MODULES = {
    "Binary": "tasks.binary",
    "Checkpoint": "interface",
    "Compute": "interface",
    "Dataset": "interface",
    "History": "interface",
    "Metric": "stats",
    "Online": "project",
    "Project": "project",
    "UserError": "errors",
    "asof": "interface",
    "by_rows": "stats",
    "mean": "stats",
    "split_inputs": "interface",
}

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime reads it when it is imported

if not TYPE_CHECKING:  # a type checker knows the names above, and no others

    def __getattr__(name: str) -> Any:
        """Import a public name from its module."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
