"""Removes what tools left in the template's own folder: it is copied from a working tree, never from a commit."""

import os
import shutil
from pathlib import Path

FOLDERS = {
    "__pycache__",
    ".hypothesis",
    ".import_linter_cache",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
}
OTHERS = {".git", ".venv", ".dvc", "data"}  # of a project that is generated anew: they hold nothing of the template's


def clean(root: str) -> None:
    """Remove each cache below a folder."""
    for folder, below, files in os.walk(root):
        for name in FOLDERS.intersection(below):
            shutil.rmtree(Path(folder, name))
        for name in files:
            if name == ".DS_Store":
                Path(folder, name).unlink()
        below[:] = [name for name in below if name not in FOLDERS | OTHERS]


if __name__ == "__main__":
    clean(".")
