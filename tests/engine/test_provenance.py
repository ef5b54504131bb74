"""A model that nobody saw trained: the report says so, and gates.yaml decides whether CI makes it anew."""

import base64
import os
import subprocess
from pathlib import Path

import pytest
from dvc.cli import main
from tests.engine.test_plan import PIPELINE, pull_request

from mergeworthy.adapters import actions, github
from mergeworthy.adapters.actions import Event, current
from mergeworthy.adapters.git import BOT
from mergeworthy.errors import UserError
from mergeworthy.files import LOCK, MODEL
from mergeworthy.gate import checks
from mergeworthy.workflow import plan

CI = "provenance: {trained_by: ci}\n"
HANDMADE = "by hand"


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def dvc(*words: str) -> None:
    assert main([*words, "--quiet"]) == 0


def commit(message: str) -> str:
    git("add", "-A")
    git("commit", "-qm", message)
    return git("rev-parse", "HEAD")


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose branch `work` holds a model that Ann put in the place of the trained one by `dvc commit`."""
    folder = tmp_path_factory.mktemp("provenance")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_NO_ANALYTICS", "1")
        patch.chdir(folder)
        git("init", "-q", "--bare", "origin.git")
        git("-C", "origin.git", "config", "uploadpack.allowAnySHA1InWant", "true")
        git("clone", "-q", "origin.git", "clone")
        patch.chdir(folder / "clone")
        for name, value in {"user.name": "Ann Other", "user.email": "ann@example.org"}.items():
            git("config", name, value)
        dvc("init")
        Path("data").mkdir()
        Path("data/x").write_text("rows")
        dvc("add", "data")
        Path("dvc.yaml").write_text(PIPELINE)
        Path("params.yaml").write_text("depth: 1\n")
        Path("gates.yaml").write_text("floors: {}\n")
        dvc("repro")
        git("checkout", "-qb", "main")
        commit("The champion")
        git("push", "-q", "origin", "main")
        git("checkout", "-qb", "work")
        Path("params.yaml").write_text("depth: 2\n")
        MODEL.unlink()
        MODEL.write_text(HANDMADE)
        dvc("commit", "--force", "train")
        commit("A better model")
        git("push", "-q", "origin", "work")
    return folder


@pytest.fixture
def clone(locked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its copy, as CI's run 77 of a pull request sees it."""
    subprocess.run(["cp", "-a", f"{locked}/.", str(tmp_path)], check=True)
    monkeypatch.chdir(tmp_path / "clone")
    git("remote", "set-url", "origin", str(tmp_path / "origin.git"))
    head = git("rev-parse", "HEAD")
    environment = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "o/r", "GITHUB_RUN_ID": "77", "PULL_REQUEST": "1"}
    for name, value in {**environment, "COMMIT": head, "BRANCH": "work", "GH_TOKEN": "t"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LAPTOP", raising=False)
    monkeypatch.setattr(github, "commit", on_github)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    return tmp_path / "clone"


def on_github(repository: str, parent: str, tree: str, path: str, content: str, message: str) -> str:
    """Do what GitHub does when a job asks for a commit: in the repository that is `origin` here, as its bot."""
    origin = git("remote", "get-url", "origin")
    index = os.environ | BOT | {"GIT_DIR": origin, "GIT_INDEX_FILE": f"{origin}/tests-index"}

    def there(*words: str, text: str | None = None) -> str:
        done = subprocess.run(["git", *words], env=index, input=text, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    blob = there("hash-object", "-w", "--stdin", text=content)
    there("read-tree", tree)
    there("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
    return there("commit-tree", there("write-tree"), "-p", parent, "-m", message)


def policy(monkeypatch: pytest.MonkeyPatch) -> str:
    """Commit the policy that CI has to train."""
    Path("gates.yaml").write_text(CI)
    head = commit("CI trains")
    git("push", "-q", "origin", "work")
    monkeypatch.setenv("COMMIT", head)
    return head


def handed(clone: Path) -> str:
    """What the job `train` hands on."""
    actions.hand_over()
    return (clone.parent / "output").read_text().strip().removeprefix("lock=")


def test_a_persons_model_is_enough_unless_gates_yaml_says_otherwise(clone: Path) -> None:
    found = actions.origin(git("rev-parse", "main"))
    assert (found.kind, found.who, found.commit) == ("person", "Ann Other", git("rev-parse", "HEAD"))
    assert plan.decide(current()).work == "judge"
    check = checks.provenance()
    assert (check.name, check.result) == ("provenance", "pass")
    assert check.why.startswith("Ann Other committed dvc.lock (")


def test_ci_trains_a_persons_model_anew_where_that_is_wanted(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = policy(monkeypatch)
    decided = plan.decide(current())
    assert decided.work == "train"
    assert "Ann Other committed dvc.lock" in decided.reason
    assert checks.provenance().result == "block"
    # when the job trains, nothing of what Ann made is taken, neither from the lock nor from the run cache
    *_, repro = plan.training_commands(scratch=actions.from_scratch(current()))
    dvc(*repro[1:])
    assert MODEL.read_text() != HANDMADE
    monkeypatch.setenv(actions.TRAINED_LOCK, handed(clone))
    assert checks.provenance().why == "CI made it from scratch: https://github.com/o/r/actions/runs/77."
    # then its lock is committed with a record of the run, which later runs and other clones read
    made = plan.push(current())
    assert made not in (None, head)
    monkeypatch.delenv(actions.TRAINED_LOCK)
    monkeypatch.setenv("COMMIT", str(made))
    git("checkout", "-q", str(made))
    assert actions.origin().run == "https://github.com/o/r/actions/runs/77"
    assert plan.decide(current()).work == "judge"
    assert checks.provenance().result == "pass"


def test_the_same_result_is_recorded_too(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a lock that a person committed, of a training that CI repeats byte by byte
    dvc("repro", "--force", "train")
    commit("Honestly trained")
    head = policy(monkeypatch)
    before = LOCK.read_text()
    assert plan.decide(current()).work == "train"
    dvc("repro", "--force")
    assert LOCK.read_text() == before
    monkeypatch.setenv(actions.TRAINED_LOCK, handed(clone))
    # then a commit says so, once
    made = plan.push(current())
    assert made != head
    assert git("diff", "--stat", head, str(made)) == ""
    monkeypatch.setenv("COMMIT", str(made))
    git("checkout", "-q", str(made))
    assert plan.push(current()) == made
    monkeypatch.delenv(actions.TRAINED_LOCK)
    assert plan.decide(current()).work == "judge"


def test_a_training_that_the_run_cache_may_have_saved_is_not_from_scratch(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given CI trained while a person's model was enough, and the policy changes after it
    Path("params.yaml").write_text("depth: 3\n")
    monkeypatch.setenv("COMMIT", commit("Deeper"))
    git("push", "-q", "origin", "work")
    dvc("repro")
    monkeypatch.setenv(actions.TRAINED_LOCK, handed(clone))
    assert checks.provenance().why.startswith("CI made it, or had it in the run cache: ")
    made = plan.push(current())
    git("checkout", "-q", "-B", "work", str(made))
    monkeypatch.delenv(actions.TRAINED_LOCK)
    policy(monkeypatch)
    assert plan.decide(current()).work == "train"


def test_what_main_holds_is_not_asked_for_again(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given main's own lock under a new policy
    git("checkout", "-q", "main")
    git("checkout", "-q", "-b", "words")
    dvc("checkout")
    Path("gates.yaml").write_text(CI)
    monkeypatch.setenv("COMMIT", commit("CI trains"))
    assert plan.decide(current()).work == "judge"
    assert checks.provenance().why == "Model and figures are main's own, unchanged."


def test_where_nothing_may_be_trained_it_says_so(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = policy(monkeypatch)
    base = git("rev-parse", "main")
    with pytest.raises(UserError, match=r"Ann Other committed dvc.lock .* the merge queue trains nothing"):
        plan.decide(Event("merge_group", head, base))
    with pytest.raises(UserError, match="a fork's model is not judged here"):
        plan.decide(pull_request(head, base, fork=True))


@pytest.mark.parametrize("given", ["no base64", base64.b64encode(b"not gzip").decode()])
def test_a_lock_that_cannot_be_taken_over_is_refused(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(actions.TRAINED_LOCK, given)
    with pytest.raises(UserError, match="TRAINED_LOCK is not what"):
        actions.take_over()
    assert not LOCK.exists()


def test_the_job_that_judges_takes_the_lock_of_the_job_that_trained(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = LOCK.read_text()
    monkeypatch.setenv(actions.TRAINED_LOCK, handed(clone))
    LOCK.write_text("schema: '2.0'\n")
    actions.take_over()
    assert LOCK.read_text() == text
