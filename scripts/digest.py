"""`python -m scripts.digest`: write the engine's DIGEST, by which a project names the files that it changed."""

import runpy
from pathlib import Path
from types import SimpleNamespace

ENGINE = Path(__file__).parents[1] / "{{cookiecutter.project_slug}}/engine"


def patches(engine: Path = ENGINE) -> SimpleNamespace:
    """Return the engine's own module for it, run alone: this environment has not the engine's packages."""
    return SimpleNamespace(**runpy.run_path(str(engine / "src/mergeworthy/patches.py")))


if __name__ == "__main__":
    (ENGINE / "DIGEST").write_text(patches().content(ENGINE))
