"""What the gate says of bad models: the table of the engine's own tests, each model shipped and judged for real."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # the template's folder, which holds the engine's tests
    runpy.run_module("tests.engine.gate.bad_models", run_name="__main__", alter_sys=True)
