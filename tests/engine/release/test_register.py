"""MLflow mirrors releases: a version per training, and neither its tags nor the champion ever go back."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tests.engine import trained
from tests.engine.release.conftest import release

from mergeworthy.release import publish
from mergeworthy.release.publish import Release


def commit(folder: Path, message: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *who, "commit", "-qam", message, "--allow-empty"], cwd=folder, check=True)
    return subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()


def test_a_slow_release_takes_nothing_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given one training, released with older and with newer code
    folder, uri = tmp_path / "flights", f"sqlite:///{tmp_path}/store.db"
    folder.mkdir()
    lock = trained.make(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setattr(publish, "card", lambda: "")  # is made of a whole project's reports
    commits = [commit(folder, message) for message in ("older", "newer")]
    older, newer = (replace(release(one, digit), lock=lock) for one, digit in zip(commits, "12", strict=True))
    client = MlflowClient(uri)

    def tagged(made: Release) -> list[dict[str, str]]:
        publish.register(made)
        return [one.tags for one in client.search_model_versions("name = 'flights'")]

    # when the newer one is registered twice and the older one comes late, then there is one version, the newer one's
    assert [one["digest"] for one in tagged(newer)] == [newer.digest]
    assert [one["digest"] for one in tagged(newer)] == [newer.digest]
    assert [(one["commit"], one["digest"]) for one in tagged(older)] == [(newer.commit, newer.digest)]
    # when another training of the older commit comes late, then it is a version, and the champion stays
    (folder / "reports/training.csv").write_text("epoch,epochs,train_loss\n1,1,0.7\n")
    assert len(tagged(replace(older, lock=trained.lock(folder)))) == 2
    assert client.get_model_version_by_alias("flights", publish.ALIAS).tags["commit"] == newer.commit
