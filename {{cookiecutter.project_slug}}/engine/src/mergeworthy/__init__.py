"""The public names, which a team's code in `src/ml` imports; `mergeworthy.training` adds helpers for PyTorch.

A name is imported from its module at first use, so that a command that needs no polars does not wait for it.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import UserError
    from .project import Checkpoint, Compute, Dataset, History, Online, Project, asof, split_inputs
    from .stats import Metric, by_rows, mean
    from .tasks.base import Task
    from .tasks.binary import Binary
    from .tasks.multiclass import MultiClass
    from .tasks.regression import Regression

__all__ = [
    "Binary",
    "Checkpoint",
    "Compute",
    "Dataset",
    "History",
    "Metric",
    "MultiClass",
    "Online",
    "Project",
    "Regression",
    "Task",
    "UserError",
    "asof",
    "by_rows",
    "mean",
    "split_inputs",
]

_MODULES = {
    "Binary": "tasks.binary",
    "Checkpoint": "project",
    "Compute": "project",
    "Dataset": "project",
    "History": "project",
    "Metric": "stats",
    "MultiClass": "tasks.multiclass",
    "Online": "project",
    "Project": "project",
    "Regression": "tasks.regression",
    "Task": "tasks.base",
    "UserError": "errors",
    "asof": "project",
    "by_rows": "stats",
    "mean": "stats",
    "split_inputs": "project",
}

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime reads it at import

if not TYPE_CHECKING:  # so that a type checker knows only the names above

    def __getattr__(name: str) -> Any:
        """Import a public name from its module."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name)
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
