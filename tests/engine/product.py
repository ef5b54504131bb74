"""The folder of the product that is tested, and the paths by which another process imports it and these tests."""

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "{{cookiecutter.project_slug}}"
PACKAGES = os.pathsep.join(map(str, (PRODUCT / "src", PRODUCT / "engine/src", ROOT)))
