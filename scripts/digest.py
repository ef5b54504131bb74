"""`python -m scripts.digest`: write the engine's DIGEST, by which a project names the files that it changed."""

import importlib.util
from pathlib import Path
from types import ModuleType

ENGINE = Path(__file__).parents[1] / "{{cookiecutter.project_slug}}/engine"


def patches(engine: Path = ENGINE) -> ModuleType:
    """Return the engine's own module for it, loaded alone: this environment has not the engine's packages."""
    spec = importlib.util.spec_from_file_location("patches", engine / "src/mergeworthy/ops/patches.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    (ENGINE / "DIGEST").write_text(patches().content(ENGINE))
