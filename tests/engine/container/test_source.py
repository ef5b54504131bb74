"""The image is labelled with its repository, so that ghcr.io links the two, wherever it is built."""

import subprocess
from pathlib import Path

import pytest

from mergeworthy.release.image import source


@pytest.mark.parametrize("url", ["https://github.com/acme/flights.git", "git@github.com:acme/flights.git"])
def test_a_laptop_and_ci_name_the_same_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("GITHUB_REPOSITORY", "GITHUB_SERVER_URL", "GH_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    assert source() is None
    subprocess.run(["git", "remote", "add", "origin", url], check=True)
    assert source() == "https://github.com/acme/flights"
    monkeypatch.setenv("GITHUB_REPOSITORY", "acme/flights")
    assert source() == "https://github.com/acme/flights"
