"""The published schema of a verdict: `python -m mergeworthy.ops.gate.schema` writes it anew."""

import json
from pathlib import Path

from ..verdict import Verdict

SCHEMA = Path(__file__).with_name("verdict.schema.json")


def current() -> str:
    """Give the JSON schema of `Verdict` as it is now."""
    return json.dumps(Verdict.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(current())
