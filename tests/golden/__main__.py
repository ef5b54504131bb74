"""`python -m tests.golden [PROJECT]`: record what each stage writes; `--inputs` records the stages' inputs before.

PROJECT is a generated project whose environment is used, by default the one that `make demo` makes.
"""

import sys
from pathlib import Path

from tests.bake import ROOT
from tests.golden import RECORD, measured, problems, recorded, write


def main(arguments: list[str]) -> None:
    """Write the record; exit with a line for each stage whose version is not what its numbers ask for."""
    options = {word for word in arguments if word.startswith("--")}
    project = Path(next((word for word in arguments if word not in options), ROOT / "demo/flight-delays"))
    if options - {"--inputs"}:
        sys.exit(f"error: {' '.join(sorted(options - {'--inputs'}))}: the one option is --inputs")
    if not (project / ".venv/bin/python").exists():
        sys.exit(f"error: {project} has no environment: run `make demo`, or name another generated project")
    new = measured(project.absolute(), inputs="--inputs" in options)
    found = problems(recorded(), new) if RECORD.exists() and "--inputs" not in options else []
    if found:
        sys.exit("\n".join(f"error: {line}" for line in found))
    write(new)
    print(f"{RECORD.relative_to(ROOT)} is written")


if __name__ == "__main__":
    main(sys.argv[1:])
