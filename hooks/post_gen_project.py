"""Remove caches from a new project: cookiecutter copies the template's working tree, in which tools leave them."""

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
# Folders of a project that is generated again in place: nothing in them comes from the template.
OTHERS = {".git", ".venv", ".dvc", "data"}


def clean(root: str) -> None:
    """Remove every cache below the folder `root`."""
    for folder, below, files in os.walk(root):
        for name in FOLDERS.intersection(below):
            shutil.rmtree(Path(folder, name))
        for name in files:
            if name == ".DS_Store":
                Path(folder, name).unlink()
        below[:] = [name for name in below if name not in FOLDERS | OTHERS]


if __name__ == "__main__":
    clean(".")
