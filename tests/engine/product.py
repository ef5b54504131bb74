"""Where the product lies that these tests run in, and how another process finds its packages and these tests."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "{{cookiecutter.project_slug}}"
PACKAGES = os.pathsep.join(map(str, (PRODUCT / "src", PRODUCT / "engine/src", ROOT)))
