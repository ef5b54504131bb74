"""The JSON that other programs may read: its published schemas change only on purpose, and describe what is written."""

import json
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from mergeworthy.cli import app
from mergeworthy.verdict import Check, Verdict

PUBLISHED = Path(__file__).with_name("schemas")
HOW_TO_PUBLISH = "a change breaks programs that read the file: if it is meant, write the new schema there"


@pytest.mark.parametrize("name", ["verdict", "drift"])
def test_the_published_schema_is_current(name: str) -> None:
    printed = CliRunner().invoke(app, ["schema", name])
    assert printed.exit_code == 0, printed.output
    assert json.loads(printed.output) == json.loads((PUBLISHED / f"{name}.json").read_text()), HOW_TO_PUBLISH


def test_a_verdict_keeps_its_schema() -> None:
    schema = json.loads((PUBLISHED / "verdict.json").read_text())
    check = Check(name="auc", result="pass", figure=0.7, limit=0.6, why="It is above the floor.")
    verdict = Verdict(outcome="pass", commit=None, lock=None, champion=None, partition="2013-06", checks=[check])
    content = json.loads(verdict.model_dump_json())
    jsonschema.validate(content, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content | {"outcome": "maybe"}, schema)
