"""Settings that cannot be meant are refused in one line that names file, line and key."""

from pathlib import Path

import pytest

from pipeline import settings
from pipeline.errors import UserError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("params.yaml", "gates.yaml"):
        (tmp_path / name).write_text(Path(name).read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("floors: {auc: {min: 0.6}}\nfloors: {}\n", "gates.yaml, line 2: not valid YAML: floors stands there twice"),
        ("floors:\n  auc: {min: 0.7, min: 0.1}\n", "gates.yaml, line 2: not valid YAML: min stands there twice"),
        ("floors: [", "gates.yaml, line 1: not valid YAML: "),
        ("\x00", "gates.yaml is not valid YAML: "),
        ("- a list", "gates.yaml: (top level): "),
    ],
)
def test_gates_that_cannot_be_read_are_refused(folder: Path, text: str, told: str) -> None:
    (folder / "gates.yaml").write_text(text)
    with pytest.raises(UserError) as refused:
        settings.gates()
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value)


def test_a_typo_is_named_with_its_place(folder: Path) -> None:
    text = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(text.replace("epochs", "epoch"))
    with pytest.raises(UserError, match=r"params\.yaml: train\.epoch"):
        settings.params()


def test_a_level_that_the_draws_cannot_tell_is_refused(folder: Path) -> None:
    text = (folder / "gates.yaml").read_text()
    (folder / "gates.yaml").write_text(text.replace("level: 0.002", "level: 0.001"))
    with pytest.raises(UserError, match=r"drift\.distance: a level of 0\.001 takes at least 1000 draws"):
        settings.gates()
