"""The one type of a partition: its order, its files, and which partitions a model is trained and measured on."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from mergeworthy.errors import UserError
from mergeworthy.files import dump_yaml
from mergeworthy.partitions import Partition, accepted, built, split

ORDERED = ["2012", "2013-02", "2013-02-28", "2013-06", "2013-10", "2013-W09", "2013-W10", "batch-2", "batch-10"]


def test_the_order_is_that_of_time_and_of_numbers() -> None:
    assert sorted(map(Partition, reversed(ORDERED))) == ORDERED
    assert max(map(Partition, ["batch-9", "batch-10"])) == "batch-10"
    for older, newer in pairwise(ORDERED):
        assert Partition(older) < newer
        assert newer > Partition(older)  # beside a plain text too
        assert Partition(newer) >= older
        assert not Partition(newer) <= older
    assert sorted(map(Partition, ["1", "01", "001"])) == ["001", "01", "1"]


def test_it_is_written_as_its_name() -> None:
    content = {Partition("batch-10"): Partition("batch-2")}
    assert json.loads(json.dumps(content)) == {"batch-10": "batch-2"}
    assert dump_yaml(content) == "batch-10: batch-2\n"


def test_files_and_selection_are_in_the_same_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given twelve partitions, of which the last ones by number are not the last ones as text
    monkeypatch.chdir(tmp_path)
    names = [f"batch-{number}" for number in range(1, 13)]
    for name in names:
        Partition(name).folder().mkdir(parents=True)
        Partition(name).table("flights").touch()
        Partition(name).features.parent.mkdir(exist_ok=True)
        Partition(name).features.touch()
    # then the newest is the holdout, and all others are trained on
    assert accepted() == built() == names
    assert split("training", "…") == (names[:-1], "batch-12")
    assert accepted()[0].tables() == [Path("data/batch-1/flights.parquet")]
    # and too few of them are named
    for name in names[1:]:
        Partition(name).features.unlink()
    with pytest.raises(UserError, match=r"features/ holds 1 partition\(s\), a sweep needs three: run it"):
        split("a sweep", "run it", least=3)
