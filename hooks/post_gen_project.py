"""Put the chosen sample into place, and remove caches: cookiecutter copies the template's working tree with them."""

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


def choose(root: str, sample: str) -> None:
    """Move what `samples/` holds for the sample over the files of flights, which lie in place, and remove the rest."""
    chosen = Path(root, "samples", sample)
    if chosen.is_dir():
        for name in ("src/ml", "tests"):
            shutil.rmtree(Path(root, name))
        shutil.copytree(chosen, root, dirs_exist_ok=True)
        infra = Path(root, "infra.yaml")
        infra.write_text(
            infra.read_text(encoding="utf-8").replace("kind: flights", f"kind: {sample}"), encoding="utf-8"
        )
    shutil.rmtree(Path(root, "samples"), ignore_errors=True)


if __name__ == "__main__":
    choose(".", "{{ cookiecutter.sample }}")
    clean(".")
