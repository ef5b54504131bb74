"""What a push needs, told from git and dvc.lock alone."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from dvc.cli import main
from tests.attempts import refusal

from mergeworthy import files
from mergeworthy.adapters import github
from mergeworthy.adapters.actions import Event
from mergeworthy.adapters.dvc import reads_data, stale_stages
from mergeworthy.errors import UserError
from mergeworthy.workflow import plan

PIPELINE = """
stages:
  features: {cmd: mkdir -p features && cp data/x features, deps: [data], outs: [features]}
  train: {cmd: mkdir -p models && cat features/x params.yaml > models/model.onnx,
          deps: [features], params: [depth], outs: [models/model.onnx]}
"""


def dvc(*words: str) -> None:
    assert main([*words, "--quiet"]) == 0  # in this process: starting another takes most of a second


@pytest.fixture(scope="module")
def uncommitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with data and two stages."""
    folder = tmp_path_factory.mktemp("plan")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DVC_NO_ANALYTICS", "1")
        subprocess.run(["git", "init", "-qb", "main"], check=True)
        dvc("init")
        Path("data").mkdir()
        Path("data/x").write_text("rows")
        dvc("add", "data")
        Path("dvc.yaml").write_text(PIPELINE)
        Path("params.yaml").write_text("depth: 1\n")
        Path("gates.yaml").write_text("floors: {}\n")
        Path("README.md").write_text("one\n")
    return folder


@pytest.fixture
def commit(uncommitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The project without a lock, copied; commits all, and gives the commit."""
    shutil.copytree(uncommitted, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")

    def commit(message: str) -> str:
        subprocess.run(["git", "add", "-A"], check=True)
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, "commit", "-qm", message], check=True)
        return subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()

    return commit


def pull_request(head: str, base: str | None, *, fork: bool = False) -> Event:
    return Event("pull_request", head, base, branch="work", pull_request=1, fork=fork, repository="o/r")


def test_a_project_without_a_lock_trains_everything(commit: Callable[[str], str]) -> None:
    assert plan.decide(Event("", commit("first"), None)).stale == ["features", "train"]


@pytest.mark.parametrize("content", ["", "garbage{", '{"a": 1}'])
def test_a_damaged_lock_of_dvcs_says_what_to_do(commit: Callable[[str], str], content: str) -> None:
    commit("first")
    Path(".dvc/tmp").mkdir(exist_ok=True)
    Path(".dvc/tmp/rwlock").write_text(content)
    with refusal(r"another dvc command is running.*or delete \.dvc/tmp/rwlock if there is none"):
        stale_stages()


def test_a_readme_asks_for_nothing_and_fetches_nothing(commit: Callable[[str], str]) -> None:
    # given a locked model, and a change of the README in a clone that has no data
    dvc("repro")
    base = commit("model")
    Path("README.md").write_text("two\n")
    head = commit("words")
    for gone in ("data", "features", "models", ".dvc/cache"):
        shutil.rmtree(gone)
    # then nothing would run
    assert plan.decide(pull_request(head, base)).work == "nothing"
    assert not Path("data").exists()


def test_a_parameter_trains_only_what_depends_on_it(commit: Callable[[str], str]) -> None:
    # given a locked model, and another parameter in a clone that has none of the files
    dvc("repro")
    base = commit("model")
    for gone in ("data", "features", "models", ".dvc/cache"):
        shutil.rmtree(gone)
    Path("params.yaml").write_text("depth: 2\n")
    decided = plan.decide(pull_request(commit("deeper"), base))
    assert (decided.work, decided.stale) == ("train", ["train"])
    assert not reads_data(decided.stale)
    assert reads_data(["features"])


def test_other_data_run_everything_even_where_no_file_is_there(commit: Callable[[str], str]) -> None:
    dvc("repro")
    base = commit("model")
    Path("data/x").write_text("other rows")
    dvc("add", "data")
    head = commit("next month")
    for gone in ("data", "features", "models", ".dvc/cache"):
        shutil.rmtree(gone)
    assert plan.decide(pull_request(head, base)).stale == ["features", "train"]


@pytest.mark.parametrize("name", ["params.yaml", "gates.yaml"])
def test_a_lock_or_gate_that_changed_is_judged_again(commit: Callable[[str], str], name: str) -> None:
    dvc("repro")
    base = commit("model")
    Path(name).write_text("depth: 2\n" if name == "params.yaml" else "floors: {auc: {min: 0.9}}\n")
    dvc("repro")
    assert plan.decide(pull_request(commit("trained at home"), base)).work == "judge"


def test_an_output_beside_the_model_that_changed_is_judged_again(commit: Callable[[str], str]) -> None:
    # given a lock in which somebody recorded other features, and the model as it was
    dvc("repro")
    base = commit("The first model")
    lock = Path("dvc.lock")
    content = files.read_yaml(lock)
    content["stages"]["features"]["outs"][0]["md5"] = content["stages"]["train"]["deps"][0]["md5"] = "0" * 32 + ".dir"
    lock.write_text(files.dump_yaml(content))
    shutil.rmtree("features")  # as in CI
    assert plan.decide(pull_request(commit("The same model"), base)).work == "judge"


def test_a_branch_that_is_merely_behind_offers_no_model(commit: Callable[[str], str]) -> None:
    # given main went on to a new model after the branch left
    dvc("repro")
    commit("model")
    subprocess.run(["git", "checkout", "-qb", "work"], check=True)
    Path("README.md").write_text("two\n")
    head = commit("words")
    subprocess.run(["git", "checkout", "-q", "main"], check=True)
    Path("params.yaml").write_text("depth: 2\n")
    dvc("repro")
    main = commit("newer model")
    subprocess.run(["git", "checkout", "-q", "work"], check=True)
    dvc("checkout")
    # then the branch's old model is not held against it
    assert plan.decide(pull_request(head, main)).work == "nothing"


def test_nothing_is_trained_where_it_must_not_be(commit: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    head = commit("no lock")
    monkeypatch.setattr(github, "is_protected", lambda event: True)
    for event, why in (
        (pull_request(head, None, fork=True), "a fork never trains"),
        (Event("merge_group", head, None), "merge queue"),
        (Event("push", head, None, branch="main"), "main is protected"),
    ):
        with pytest.raises(UserError, match=why):
            plan.decide(event)


@pytest.mark.parametrize(
    ("environment", "refused"),
    [
        ({"RUNNER_ENVIRONMENT": "github-hosted", "GPU_RUNNER": '["self-hosted"]'}, True),  # the report's machine
        ({"RUNNER_ENVIRONMENT": "self-hosted"}, True),  # the training's
        ({"RUNNER_ENVIRONMENT": "self-hosted", "GPU_RUNNER": '["self-hosted"]'}, False),
        ({"RUNNER_ENVIRONMENT": "github-hosted", "DVC_CONFIG_GIVEN": "true"}, False),  # it may name a bucket
        ({}, False),  # a laptop
    ],
)
def test_a_folder_as_remote_is_refused_on_hosted_machines_before_anything_is_tried(
    commit: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], refused: bool
) -> None:
    dvc("remote", "add", "--default", "storage", "../remote")
    commit("first")
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    for name in ("RUNNER_ENVIRONMENT", "GPU_RUNNER", "DVC_CONFIG_GIVEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    told = r"the DVC remote ../remote is a folder, which GitHub's hosted machines cannot reach: give DVC a bucket"
    with pytest.raises(UserError, match=told) if refused else nullcontext():
        plan.run_plan()
    # and a bucket is none
    dvc("remote", "modify", "storage", "url", "s3://bucket/flights")
    plan.run_plan()


def test_a_push_to_an_unprotected_branch_trains(commit: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    head = commit("no lock")
    monkeypatch.setattr(github, "is_protected", lambda event: False)
    assert plan.decide(Event("push", head, None, branch="main")).work == "train"


def test_the_commands_of_a_training_can_be_started() -> None:
    programs = {program for scratch in (False, True) for program, *_ in plan.training_commands(scratch=scratch)}
    assert programs == {"dvc", "mergeworthy"}
    help_ = [sys.executable, "-m", "mergeworthy.cli", "data", "--help"]
    assert "--if-needed" in subprocess.run(help_, check=True, capture_output=True, text=True).stdout
