"""Change the project that `mergeworthy.project.registered` returns; by default it is the sample's."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pandera.polars import DataFrameSchema
from tests.engine.product import PRODUCT

from mergeworthy import Task, project


@contextmanager
def inside(folder: Path) -> Iterator[project.Project]:
    """Change to a project's folder, with its registration and its code, and back afterwards."""
    folder_before, path, product = Path.cwd(), sys.path.copy(), _forget("ml")
    os.chdir(folder)
    project._registration.cache_clear()
    sys.path.insert(0, str(folder / "src"))
    try:
        yield project.registered()
    finally:
        _forget("ml")
        sys.modules.update(product)
        sys.path[:] = path
        _register(PRODUCT)
        os.chdir(folder_before)


def with_tables(tables: Mapping[str, DataFrameSchema], patch: pytest.MonkeyPatch) -> None:
    """Replace the tables of the product's registration for one test."""
    changed = replace(project.registered(), tables=tables)
    patch.setattr(project, "_registration", lambda: (changed, "ml"))


@contextmanager
def with_task(task: Task) -> Iterator[None]:
    """Replace the task of the product's registration."""
    with pytest.MonkeyPatch.context() as patch:
        changed = replace(project.registered(), task=task)
        patch.setattr(project, "_registration", lambda: (changed, "ml"))
        yield


def _register(folder: Path) -> None:
    os.chdir(folder)
    project._registration.cache_clear()
    project.registered()


def _forget(package: str) -> dict[str, object]:
    """Remove a package's modules from `sys.modules`, and return them by name."""
    names = [name for name in sys.modules if name.partition(".")[0] == package]
    return {name: sys.modules.pop(name) for name in names}
