"""`make replay`: two months of the loop by the project's own verbs, in copies, with no account."""

import json
from pathlib import Path

import pytest
import yaml

from tests.bake import files, git
from tests.work import clone, make

pytestmark = pytest.mark.dear


def state(folder: Path) -> dict[str, float]:
    """Return when each file that is not in a cache was written."""
    ignored = {".cache", ".venv", "__pycache__"}
    return {str(name): (folder / name).stat().st_mtime for name in files(folder) if not ignored & set(name.parts)}


def test_a_replay_leaves_the_checkout_as_it_was(project: Path, tmp_path: Path) -> None:
    # given a small network, and a champion that is too old after a month
    folder = clone(project, tmp_path / "replay/flight-delays")
    small = {"params.yaml": ("train", {"epochs": 2, "width": 32}), "gates.yaml": ("drift", {"maximum_age": 20})}
    for name, (block, values) in small.items():
        settings = yaml.safe_load((folder / name).read_text())
        settings[block] |= values
        (folder / name).write_text(yaml.safe_dump(settings, sort_keys=False))
    before, status = state(folder), git(folder, "status", "--porcelain")
    # when May is replayed
    output = make(folder, "replay", "UNTIL=2013-05")
    # then both months called for a model, and April's model was in place before May
    april, may = json.loads((folder / "reports/replay.json").read_text())
    assert [april["partition"], may["partition"]] == ["2013-04", "2013-05"]
    assert [april["decision"], may["decision"]] == ["merged, served", "merged, served"], output
    assert april["figures"]["never"] == april["figures"]["decided"] == april["figures"]["every"]
    assert may["figures"]["never"] != may["figures"]["decided"] == may["figures"]["every"]
    assert may["figures"]["decided"]["log_loss"] < may["figures"]["never"]["log_loss"]
    assert "left" in output
    # and there is a report with a table and plots
    report = (folder / "reports/replay.md").read_text()
    assert "| `2013-05` | merged, served |" in report
    assert report.count("```mermaid") == 2
    assert (folder / "reports/replay.png").read_bytes().startswith(b"\x89PNG")
    # and nothing else of the checkout changed
    after = state(folder)
    assert {name for name in after if after[name] != before.get(name)} == {
        f"reports/replay.{suffix}" for suffix in ("json", "md", "png")
    }
    assert git(folder, "status", "--porcelain") == status
