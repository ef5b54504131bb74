"""A person's settings of git and of the shell change nothing that a verb says or writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.attempts import works
from tests.engine.gate.project import GOOD, Project

GIT = """
[color]
    ui = always
    diff = always
    branch = always
    status = always
[core]
    pager = false
    quotePath = true
    autocrlf = true
    editor = false
    abbrev = 4
    fsmonitor = true
    untrackedCache = true
    attributesFile = {home}/attributes
    excludesFile = {home}/excludes
    hooksPath = {home}/hooks
[diff]
    noprefix = true
    mnemonicPrefix = true
    external = false
    renames = copies
    relative = true
    context = 0
    algorithm = patience
    wordRegex = .
    orderFile = {home}/order
    submodule = log
[log]
    showSignature = true
    decorate = full
    date = relative
    abbrevCommit = true
    follow = true
    mailmap = true
[format]
    pretty = oneline
[status]
    short = true
    branch = true
    showUntrackedFiles = no
    relativePaths = false
[commit]
    gpgSign = true
    template = {home}/template
    verbose = true
[tag]
    gpgSign = true
    sort = -version:refname
[branch]
    sort = -committerdate
[column]
    ui = always
[merge]
    ff = only
[pull]
    rebase = true
[push]
    default = nothing
    followTags = true
[fetch]
    prune = true
    parallel = 0
[init]
    defaultBranch = trunk
[advice]
    detachedHead = true
[i18n]
    logOutputEncoding = ISO-8859-1
[pager]
    log = true
    show = true
    diff = true
[alias]
    log = log --oneline
[user]
    useConfigOnly = true
"""
SHELL = {
    "GIT_PAGER": "false",
    "PAGER": "false",
    "GIT_EXTERNAL_DIFF": "false",
    "GIT_DIFF_OPTS": "--unified=0",
    "GIT_EDITOR": "false",
    "EDITOR": "false",
    "GIT_LITERAL_PATHSPECS": "0",
    "GIT_TRACE": "0",
    "LANG": "tr_TR.UTF-8",
    "LC_ALL": "C",
    "LANGUAGE": "de",
    "TZ": "Asia/Kolkata",
    "COLUMNS": "20",
    "LINES": "3",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "FORCE_COLOR": "1",
    "CLICOLOR_FORCE": "1",
    "CDPATH": "/usr",
    "GREP_OPTIONS": "--color=always",
    "POSIXLY_CORRECT": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "7",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDEVMODE": "0",
    "POLARS_FMT_MAX_COLS": "1",
    "POLARS_MAX_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "DVC_NO_ANALYTICS": "0",
    "SOURCE_DATE_EPOCH": "0",
}
WRITTEN = ("reports/verdict.md", "reports/report.md")
MEASURED_ANEW = "p95 ms"


def run(project: Project, umask: int = 0o022, **environment: str) -> dict[str, object]:
    """Judge and report; return what was written, without what is measured anew."""
    for verb in ("gate", "report"):
        done = subprocess.run(
            [sys.executable, "-m", "mergeworthy.cli", verb],
            cwd=project.root,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | environment,
            umask=umask,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert "warning" not in done.stderr.lower(), done.stderr
    verdict = json.loads((project.root / "reports/verdict.json").read_text())
    verdict["checks"] = [check for check in verdict["checks"] if check["name"] != MEASURED_ANEW]
    texts = {name: (project.root / name).read_text().splitlines() for name in WRITTEN}
    return verdict | {name: [line for line in lines if MEASURED_ANEW not in line] for name, lines in texts.items()}


@pytest.fixture
def usual(project: Project) -> dict[str, object]:
    """Return what is written on a machine without settings."""
    project.ship(**GOOD, noise=0.02)
    project.commit("Étude: a name with ü and a blank")
    return run(project)


@pytest.mark.attempts("settings of a machine")
def test_settings_of_git_change_nothing(project: Project, usual: dict[str, object], tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    for hook in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change"):
        (home / "hooks" / hook).write_text("#!/bin/sh\necho hook: refused >&2\nexit 1\n")
        (home / "hooks" / hook).chmod(0o755)
    (home / "attributes").write_text("*.yaml binary\n*.py -diff\n")
    (home / "excludes").write_text("*.md\n")
    (home / "order").write_text("*.yaml\n")
    (home / "template").write_text("template\n")
    (home / "gitconfig").write_text(GIT.format(home=home))
    assert run(project, GIT_CONFIG_GLOBAL=str(home / "gitconfig")) == usual
    works(f"{GIT.count(' = ')} settings of git")


@pytest.mark.attempts("settings of a machine")
def test_settings_of_the_shell_change_nothing(project: Project, usual: dict[str, object]) -> None:
    assert run(project, umask=0o077, **SHELL) == usual
    works(f"{len(SHELL)} variables, and a umask of 077")


@pytest.mark.attempts("settings of a machine")
def test_variables_of_another_repositorys_hook_change_nothing(
    project: Project, usual: dict[str, object], tmp_path: Path
) -> None:
    # given a verb that is called from a hook of another repository, for which git sets variables
    other = tmp_path / "other"
    subprocess.run(["git", "init", "--quiet", other], check=True)
    paths = {"INDEX_FILE": "index", "DIR": "", "WORK_TREE": "..", "OBJECT_DIRECTORY": "objects", "COMMON_DIR": ""}
    variables = {f"GIT_{name}": str(other / ".git" / path) for name, path in paths.items()}
    # when the gate runs, then it finds the champion of its own repository
    assert run(project, **variables) == usual
    works(", ".join(variables))
