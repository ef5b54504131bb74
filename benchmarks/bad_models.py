"""What the gate says of bad models: the table of the project's own tests, each model shipped and judged for real."""

import runpy
import sys

if __name__ == "__main__":
    sys.path.insert(0, ".")  # the project's folder, in which this is run
    runpy.run_module("tests.ops.gate.bad_models", run_name="__main__", alter_sys=True)
