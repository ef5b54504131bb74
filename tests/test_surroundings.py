"""Where a project lies, and what stands around it: another repository, a proxy."""

import shutil
from pathlib import Path

import pytest

from tests.bake import git, outside, run


def test_a_project_inside_another_repository_is_refused_at_setup(fresh: Path, tmp_path: Path) -> None:
    # given a monorepo with a project in a folder of it / when its environment is to be made
    folder = tmp_path / "monorepo/models/flights"
    folder.parent.mkdir(parents=True)
    git(tmp_path / "monorepo", "init", "-q")
    shutil.copytree(fresh, folder)
    done = run(["make", "setup"], folder, **outside())
    # then a sentence says why not, and nothing was made
    assert done.returncode != 0
    assert f"is a folder inside the git repository {tmp_path / 'monorepo'}" in done.stderr
    assert {path.name for path in folder.iterdir()} == {path.name for path in fresh.iterdir()}
    # and a repository of its own is one, wherever it lies
    git(folder, "init", "-q")
    assert run(["make", "top"], folder, **outside()).returncode == 0


@pytest.mark.parametrize("given", [{}, {"NO_PROXY": "a,$(shell touch bad)"}, {"no_proxy": "a", "NO_PROXY": "b"}])
def test_no_proxy_stands_between_a_verb_and_this_machine(fresh: Path, tmp_path: Path, given: dict[str, str]) -> None:
    shutil.copy(fresh / "Makefile", tmp_path)
    (tmp_path / "infra.yaml").touch()
    (tmp_path / "show.mk").write_text("show:\n\t@printenv no_proxy NO_PROXY\n")
    environment = {"NO_PROXY": "", "no_proxy": "", **given}
    done = run(["make", "-f", "Makefile", "-f", "show.mk", "show"], tmp_path, **outside(), **environment)
    kept = environment["no_proxy"] or environment["NO_PROXY"]
    assert done.stdout.splitlines() == [f"{kept}{',' if kept else ''}localhost,127.0.0.1,::1"] * 2, done.stderr
    assert not (tmp_path / "bad").exists()
