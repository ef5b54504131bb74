"""Releases move forward, whichever is slower; a revert brings back what ran."""

import pytest
from tests.attempts import refusal
from tests.engine.release.conftest import Repository, release

from mergeworthy.adapters import github
from mergeworthy.errors import UserError
from mergeworthy.release import image, publish
from mergeworthy.release import promote as staging
from mergeworthy.release import promote as status
from mergeworthy.release.promote import BRANCH, promote, stage
from mergeworthy.release.publish import overlay_text, read_overlay


def running(repository: Repository, environment: str) -> str | None:
    """The commit whose model runs there."""
    found = read_overlay(repository.read(environment), environment)
    return found.commit if found else None


def test_a_release_reads_as_it_was_written() -> None:
    one = release("c" * 40)
    assert read_overlay(overlay_text(one, "staging"), "staging") == one


@pytest.mark.parametrize("broken", ["images: [{}]", "images: [1]\ncommonAnnotations: {}", "images: [", "[1]"])
def test_a_broken_overlay_is_one_sentence(broken: str) -> None:
    with pytest.raises(UserError, match=r"^staging is not what a release writes: .*git revert"):
        read_overlay(broken, "staging")


@pytest.mark.attempts("hostile value")
@pytest.mark.parametrize("handed", ["bookworm", "[]", "{}", '{"commit": 1}'])
def test_a_release_that_nobody_handed_over_is_one_sentence(handed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELEASE", handed)
    with refusal(r"^RELEASE is .*, and not what `make publish` hands over"):
        publish.load_release()


def test_staging_twice_commits_once(repository: Repository) -> None:
    one = release(repository.commit("model-1"))
    assert "from now on" in stage(one)
    before = repository.git("ls-remote", "origin", "main")
    assert stage(one) == "staging runs this release already"
    assert repository.git("ls-remote", "origin", "main") == before


def test_a_slower_release_of_an_older_model_changes_nothing(repository: Repository) -> None:
    older, newer = repository.commit("model-1"), repository.commit("model-2")
    stage(release(newer))
    assert "left as it is" in stage(release(older))
    assert running(repository, "staging") == newer


@pytest.mark.parametrize("theirs", ["older", "newer"])
def test_two_releases_at_once_leave_the_newer_model(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, theirs: str
) -> None:
    # given a release that another one overtakes between its fetch and its push
    commits = {"older": repository.commit("model-1"), "newer": repository.commit("model-2")}
    (ours,) = set(commits) - {theirs}
    plain, others = github.fetch_branch, [release(commits[theirs])]

    def overtaken(branch: str, environment: dict[str, str]) -> str | None:
        head = plain(branch, environment)
        if others:
            stage(others.pop())
        return head

    monkeypatch.setattr(staging, "fetch_branch", overtaken)
    # when both have ended / then staging runs the newer model
    stage(release(commits[ours]))
    assert running(repository, "staging") == commits["newer"]


def test_what_is_released_is_the_last_commit_that_changed_the_image(repository: Repository) -> None:
    model = repository.commit("model-1")
    named = image.fingerprint()
    # given a release, and words
    stage(release(model))
    repository.commit("README.md")
    assert (image.image_commit(), image.fingerprint()) == (model, named)
    # when other code goes in, then it is another image of another commit
    other = repository.commit("model-2")
    assert image.image_commit() == other
    assert image.fingerprint() != named
    # when it lies there uncommitted, it is another one too
    named = image.fingerprint()
    (repository.folder / "model-2").write_text("otherwise")
    assert image.fingerprint() != named


def test_promoting_twice_leaves_one_branch(repository: Repository) -> None:
    assert "nothing runs in staging" in promote()
    stage(release(repository.commit("model-1")))
    assert f"open a pull request from {BRANCH}" in promote()
    before = repository.git("ls-remote", "origin", BRANCH)
    assert "carries it already" in promote()
    assert repository.git("ls-remote", "origin", BRANCH) == before
    repository.merge(BRANCH)
    assert promote() == "production runs what staging runs"


def test_a_revert_brings_the_former_model_back_and_status_tells_all(
    repository: Repository, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given two promotions
    models = [repository.commit("model-1")]
    stage(release(models[0], "1"))
    promote()
    repository.merge(BRANCH)
    models.append(repository.commit("model-2"))
    stage(release(models[1], "2"))
    promote()
    merge = repository.merge(BRANCH)
    assert running(repository, "production") == models[1]
    # when the second is reverted, then it is not offered again
    repository.git("revert", "--no-edit", "--mainline", "1", merge)
    repository.git("commit", "-q", "--amend", "--no-edit", "--author=Al\u2028\x85ice <a@example.org>")
    repository.git("push", "-q", "origin", "main")
    assert "revert the revert" in promote()
    # and image, model and data pointer of the first are back together, and git tells who did what
    assert read_overlay(repository.read("production"), "production") == release(models[0], "1")
    commits = [change.release.commit for change in status.history("production") if change.release]
    assert commits == [models[0], models[1], models[0]]
    monkeypatch.setenv("COLUMNS", "200")
    status.show_status()
    shown = capsys.readouterr().out
    now = next(line for line in shown.splitlines() if "production" in line)
    assert models[0][:12] in now
    assert "Al ice" in now
    assert "sha256:1111" in now
