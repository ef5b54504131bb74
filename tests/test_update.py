"""`make update` on a project that its team has changed: no conflict, nothing to run but a stage that was raised."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bake import BIN, PRODUCT, export, git, run
from tests.work import attempt, make, python

pytestmark = pytest.mark.dear
STALE = ["-c", "from mergeworthy.adapters.dvc import stale_stages; print(*stale_stages())"]
OURS = {  # what the team changed
    "src/ml/features.py": "\n# ours\n",
    "gates.yaml": "\n# ours\n",
    "deploy/overlays/staging/kustomization.yaml": "\n# ours\n",
    "README.md": "\nOurs.\n",
}
THEIRS = {  # what a later template changed
    "engine/src/mergeworthy/cli.py": "\n# theirs\n",
    "engine/src/mergeworthy/stages/train.py": "\n# theirs\n",
    "engine/src/mergeworthy/more.py": '"""A new module."""\n',
    "engine/README.md": "\nTheirs.\n",
    "docs/drift.md": "\nTheirs.\n",
    "Makefile": "\ntheirs: ## a new verb\n\t@true\n",
}


@dataclass(frozen=True)
class Team:
    """A project that was generated with cruft, and its template."""

    template: Path
    folder: Path

    def stale(self) -> list[str]:
        """Return the stages that would run."""
        code = {"PYTHONPATH": f"{self.folder}/src:{self.folder}/engine/src"}
        done = run([str(self.folder / ".venv/bin/python"), *STALE], self.folder, **code)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    def update(self) -> str:
        """Run the verb; return what it says."""
        return make(self.folder, "update", UV_OFFLINE="1")

    def commit(self) -> None:
        """Commit everything."""
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-q", "-m", "Update")


def change(folder: Path, edits: dict[str, str]) -> None:
    """Add a text to each file, and commit."""
    for name, text in edits.items():
        with (folder / name).open("a") as file:
            file.write(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "Changes")


@pytest.fixture
def team(project: Path, tmp_path: Path) -> Team:
    """A project by cruft, with the lock of one that was trained, which its team then changed and whose lock is true."""
    template = export(tmp_path / "template")
    command = [str(BIN / "cruft"), "create", "--no-input", "--output-dir", str(tmp_path / "out"), str(template)]
    done = run(command, tmp_path, HOME=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (tmp_path / "out").iterdir()
    git(folder, "init", "-q")
    (folder / ".venv").symlink_to(project / ".venv")
    for name in ("pyproject.toml", "engine/pyproject.toml"):
        os.utime(folder / name, (0, 0))
    for name in ("data.dvc", "dvc.lock"):
        shutil.copy(project / name, folder)
    git(folder, "config", "user.name", "Test")
    git(folder, "config", "user.email", "test@example.org")
    change(folder, OURS)
    # a comment in features.py is another file to DVC: what it would write is the same, so the lock may say so
    lock = (folder / "dvc.lock").read_text()
    old, new = (python(folder, "-c", f"from pathlib import Path; from mergeworthy.files import md5; "
                       f"print(md5(Path({str(each)!r})))").strip()
                for each in (project / "src/ml/features.py", folder / "src/ml/features.py"))  # fmt: skip
    size = (folder / "src/ml/features.py").stat().st_size
    assert old in lock
    (folder / "dvc.lock").write_text(re.sub(rf"md5: {old}\n(\s+)size: \d+", rf"md5: {new}\n\g<1>size: {size}", lock))
    made = Team(template, folder)
    made.commit()
    assert made.stale() == []
    return made


def test_an_update_conflicts_with_nothing_and_runs_no_stage_and_a_raised_one_runs_with_what_follows(team: Team) -> None:
    # given a template with changes all over the engine
    product = team.template / PRODUCT
    change(product, THEIRS)
    assert "stages to run: none" in team.update()
    assert team.stale() == []
    assert not list(team.folder.rglob("*.rej"))
    assert all((team.folder / name).read_text().endswith(text) for name, text in {**OURS, **THEIRS}.items())
    assert "<<<<<<<" not in git(team.folder, "diff", "HEAD")
    # once more, before and after the commit: nothing to do
    assert "up to date" in team.update()
    team.commit()
    assert "up to date" in team.update()
    # given a template that raises a version
    versions = product / "engine/src/mergeworthy/stages.yaml"
    versions.write_text(versions.read_text().replace("evaluate: 1", "evaluate: 2"))
    change(product, {})
    assert "stages to run: evaluate:" in team.update()
    assert team.stale() == ["evaluate"]


def test_work_that_is_not_committed_is_refused_in_one_line(team: Team) -> None:
    change(team.template / PRODUCT, THEIRS)
    (team.folder / "README.md").write_text("Not yet committed.\n")
    done = attempt(team.folder, "update", UV_OFFLINE="1")
    assert done.returncode
    assert "1 file(s) are not committed (README.md): commit or stash them first" in done.stderr


def test_a_project_that_cookiecutter_made_is_told_how_to_link_it(team: Team) -> None:
    (team.folder / ".cruft.json").unlink()
    done = attempt(team.folder, "update", UV_OFFLINE="1")
    assert done.returncode
    assert "there is no .cruft.json" in done.stderr
    assert "cruft==2.16.0 link" in done.stderr
