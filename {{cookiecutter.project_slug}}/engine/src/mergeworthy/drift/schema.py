"""The published schema of a decision: `python -m mergeworthy.ops.drift.schema` writes it anew."""

import json
from pathlib import Path

from .decision import Decision

SCHEMA = Path(__file__).with_name("decision.schema.json")


def current() -> str:
    """Give the JSON schema of `Decision` as it is now."""
    return json.dumps(Decision.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(current())
