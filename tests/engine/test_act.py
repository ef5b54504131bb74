"""The workflows on a laptop: the command line of act, and the secrets that it must not contain."""

import subprocess
from pathlib import Path

import pytest
import yaml

from mergeworthy.adapters import actions
from mergeworthy.errors import UserError

CONFIG = "[core]\n    remote = storage\n['remote \"storage\"']\n    url = s3://bucket/flights\n"
LOCAL = "['remote \"storage\"']\n    secret_access_key = hush\n"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose remote has credentials, and a folder beside it."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(CONFIG)
    (tmp_path / ".dvc/config.local").write_text(LOCAL)
    (tmp_path / "beside").mkdir()
    return tmp_path


def test_credentials_reach_the_jobs_in_a_private_file_alone(checkout: Path) -> None:
    command = actions.act_command(checkout / "beside")
    secrets = checkout / "beside/secrets.yaml"
    assert "hush" not in " ".join(command)
    assert secrets.stat().st_mode & 0o077 == 0
    config = yaml.safe_load(secrets.read_text())["DVC_CONFIG"]
    assert "url = s3://bucket/flights\n" in config
    assert "secret_access_key = hush\n" in config


@pytest.mark.usefixtures("checkout")
def test_without_act_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path.cwd()}/.venv/bin")
    with pytest.raises(UserError, match="act is not on the PATH"):
        actions.run_locally()
