"""Which project `mergeworthy.project.registered` finds, where it is to be another one than the product's."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pandera.polars import DataFrameSchema
from tests.engine.product import PRODUCT

from mergeworthy import project


@contextmanager
def inside(folder: Path) -> Iterator[project.Project]:
    """Work in a project's folder, with the registration and the code that it holds; then in the former folder again."""
    here, path, product = Path.cwd(), sys.path.copy(), _without("ml")
    os.chdir(folder)
    project._registration.cache_clear()
    sys.path.insert(0, str(folder / "src"))
    try:
        yield project.registered()
    finally:
        _without("ml")
        sys.modules.update(product)
        sys.path[:] = path
        _register(PRODUCT)
        os.chdir(here)


def with_tables(tables: Mapping[str, DataFrameSchema], patch: pytest.MonkeyPatch) -> None:
    """Let the product's registration have other tables, for one test."""
    changed = replace(project.registered(), tables=tables)
    patch.setattr(project, "_registration", lambda: (changed, "ml"))


def _register(folder: Path) -> None:
    os.chdir(folder)
    project._registration.cache_clear()
    project.registered()


def _without(package: str) -> dict[str, object]:
    """Forget a package's modules, and return them by name."""
    names = [name for name in sys.modules if name.partition(".")[0] == package]
    return {name: sys.modules.pop(name) for name in names}
