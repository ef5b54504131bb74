"""A champion that cannot be read blocks with one sentence; it never counts as "none yet"."""

import shutil
from collections.abc import Callable

import polars as pl
import pytest
import yaml
from tests.engine.gate.project import GOOD, Project


def why(project: Project, champion: str | None = None) -> str:
    """Return the sentence of the one check that blocks."""
    (sentence,) = [check.why for check in project.gate(champion).checks if check.result == "block"]
    assert "\n" not in sentence
    return sentence


def clear_cache(project: Project) -> None:
    """Remove the local cache, so that the champion is only on the remote, as in CI."""
    shutil.rmtree(project.root / ".dvc/cache")


def test_fetches_the_champion_from_the_remote(project: Project) -> None:
    project.ship(**GOOD, noise=0.02)
    clear_cache(project)
    verdict = project.gate()
    assert verdict.outcome == "pass"
    assert any(check.name == "champion: auc" for check in verdict.checks)


def remote_down(project: Project) -> None:
    clear_cache(project)
    shutil.rmtree(project.root.parent / "remote")


OUTS = ("models/model.onnx", "reports/predictions.parquet")


def hash_missing(project: Project) -> None:
    for copy in (copy for out in OUTS for copy in project.objects(out)):
        copy.unlink()


def altered(project: Project) -> None:
    for copy in (copy for out in OUTS for copy in project.objects(out)):
        copy.chmod(0o644)
        copy.write_bytes(b"something else")


def relock(text: str) -> Callable[[Project], None]:
    def commit(project: Project) -> None:
        project.sh("git", "switch", "--quiet", "main")
        (project.root / "dvc.lock").write_text(text)
        project.commit("A damaged lock")
        project.sh("git", "switch", "--quiet", "work")

    return commit


def no_main(project: Project) -> None:
    project.sh("git", "branch", "-D", "main")


def no_git(project: Project) -> None:
    shutil.rmtree(project.root / ".git")


def only_predictions_altered(project: Project) -> None:
    for copy in project.objects("reports/predictions.parquet"):
        copy.chmod(0o644)
        pl.DataFrame({"score": [0.5]}).write_parquet(copy)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (remote_down, "neither in DVC's cache nor to be had from its remote"),
        (hash_missing, "neither in DVC's cache nor to be had from its remote"),
        (altered, "came back with another hash"),
        (relock("stages: [unclosed"), "line 1: not valid YAML"),
        (relock(yaml.safe_dump({"schema": "2.0", "stages": {}})), "records no models/model.onnx"),
        (no_main, "git knows neither origin/main nor main here"),
        (no_git, "git cannot read this folder's repository"),
        (only_predictions_altered, "came back with another hash"),
    ],
)
def test_a_champion_that_cannot_be_read_blocks(project: Project, spoil: Callable[[Project], None], words: str) -> None:
    # given a challenger that is not the champion's file, and then what breaks
    project.ship(**GOOD, noise=0.02)
    project.commit("A model of its own")
    spoil(project)
    # then
    assert words in why(project)


def test_a_named_commit_must_exist(project: Project) -> None:
    assert "no commit v9.9 here" in why(project, "v9.9")


def test_the_champion_can_be_named(project: Project) -> None:
    # given a worse model on main than on an older commit
    older = project.sh("git", "rev-parse", "main")
    project.sh("git", "switch", "--quiet", "main")
    project.ship(**GOOD, noise=0.5)
    project.commit("A worse model slipped through")
    # then HEAD is compared with main by default, and with the older commit if it is named
    assert project.gate().outcome == "pass"
    assert project.gate(older).outcome == "block"
    assert project.gate(older).champion == older


def test_origins_main_comes_before_the_local_one(project: Project) -> None:
    origin = project.root.parent / "origin.git"
    project.sh("git", "init", "--bare", "--quiet", str(origin))
    project.sh("git", "remote", "add", "origin", str(origin))
    project.sh("git", "push", "--quiet", "origin", "main")
    pushed = project.sh("git", "rev-parse", "main")
    project.sh("git", "switch", "--quiet", "main")
    project.commit("Not pushed yet")
    assert project.gate().champion == pushed


def test_a_champion_that_may_have_been_trained_on_the_holdout_is_a_warning(project: Project) -> None:
    # given a main with data of the next month
    project.sh("git", "switch", "--quiet", "main")
    data = project.root / "data.dvc"
    recorded = yaml.safe_load(data.read_text())
    recorded["meta"]["partitions"]["2013-07"] = 1
    data.write_text(yaml.safe_dump(recorded))
    project.commit("July")
    project.sh("git", "switch", "--quiet", "work")
    # then
    verdict = project.gate()
    assert verdict.outcome == "warn"
    assert "merge main first" in next(check.why for check in verdict.checks if check.result == "warn")
