"""Both Makefiles: a failure ends the verb under any make, values are text, and the order is kept.

`make .SHELLFLAGS=-c` behaves as GNU make 3.81 does, which macOS ships: it knows no .SHELLFLAGS, so no shell has -e.
"""

import json
import os
import shutil
import stat
import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.attempts import refused, works
from tests.bake import ROOT, run

# Replaces each program that a recipe calls: logs its arguments and variables, and fails if FAILS names one of them.
PROGRAM = f"""#!{sys.executable} -SE
import json, os, sys, time
called = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
line = {{"call": called, "variables": dict(os.environ)}}
with open(os.environ["CALLS"], "a") as log:
    log.write(json.dumps(line) + "\\n")
time.sleep(float(os.environ.get("SLOW", 0)))
with open(os.environ["CALLS"], "a") as log:
    log.write(json.dumps({{"call": ["end", *called]}}) + "\\n")
sys.exit(int(any(word in called for word in os.environ.get("FAILS", "").split())))
"""
PROGRAMS = "python mergeworthy ruff mypy lint-imports pytest uv".split()
MAKES = [pytest.param([], id="make"), pytest.param([".SHELLFLAGS=-c"], id="3.81")]
HOSTILE = ["$(shell touch x) `touch x` $x\"; touch x; 'ü\\", "--help"]


class Folder:
    """A project whose environment is there, with a stand-in for each program that recipes call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        programs = path / ".venv/bin"
        programs.mkdir(parents=True)
        for name in PROGRAMS:
            (programs / name).write_text(PROGRAM)
            (programs / name).chmod(stat.S_IRWXU)
        (path / ".venv/.ready").touch()
        self.before = {*path.iterdir()}

    def make(self, *arguments: str, **env: str) -> CompletedProcess[str]:
        """Run make here as a person would, outside of any other make."""
        path = f"{self.path}/.venv/bin:{os.environ['PATH']}"
        clean = {"CI": "", "MAKEFLAGS": "", "MAKELEVEL": "", "CALLS": str(self.path.parent / "calls"), "PATH": path}
        return run(["make", *arguments], self.path, **(clean | env))

    def calls(self) -> list[list[str]]:
        """Return the calls so far, each also with its end, in order."""
        return [line["call"] for line in self.log()]

    def variables(self) -> list[dict[str, str]]:
        """Return the variables of each call so far."""
        return [line["variables"] for line in self.log() if "variables" in line]

    def log(self) -> list[dict[str, Any]]:
        """Return what the programs noted, those of the folders beside this one too."""
        log = self.path.parent / "calls"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def product(fresh: Path, tmp_path: Path) -> Folder:
    """The generated project."""
    shutil.copytree(fresh, tmp_path / "product")
    return Folder(tmp_path / "product")


@pytest.fixture
def template_folder(tmp_path: Path) -> Folder:
    """The Makefile of the template itself."""
    (tmp_path / "template").mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / "template")
    return Folder(tmp_path / "template")


@pytest.mark.attempts("failure within a verb")
@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize(
    ("verb", "fails", "never"),
    [
        ("ci", "ruff", "pytest"),
        ("ci", "gate", "report"),
        ("ci", "pytest", "plan"),
        ("release", "gate", "publish"),
        ("release", "verify-image", "sign"),
        ("pipeline", "data", "repro"),
        ("train", "train", "push"),
        ("restore", "fetch", "repro"),
        ("check", "ruff", "mypy"),
        ("lint", "check", "format"),
    ],
)
def test_what_fails_ends_the_verb(product: Folder, make: list[str], verb: str, fails: str, never: str) -> None:
    done = product.make(*make, verb, FAILS=fails)
    words = {word for call in product.calls() for word in call}
    assert done.returncode != 0, done.stdout + done.stderr
    assert fails in words
    assert never not in words
    refused(f"exit {done.returncode}, without {never}")


@pytest.mark.parametrize("make", MAKES)
def test_the_templates_own_verbs_fail_if_a_step_fails(template_folder: Folder, make: list[str]) -> None:
    assert template_folder.make(*make, "test").returncode == 0
    assert template_folder.make(*make, "test", FAILS="format").returncode != 0
    assert template_folder.make(*make, "bench", FAILS="scripts.demo").returncode != 0
    assert not any("benchmarks" in call for call in template_folder.calls())


@pytest.mark.parametrize("make", MAKES)
def test_an_environment_that_cannot_be_made_is_not_called_ready(product: Folder, make: list[str]) -> None:
    (product.path / ".venv/.ready").unlink()
    done = product.make(*make, "plan", FAILS="sync")
    assert done.returncode != 0
    assert not (product.path / ".venv/.ready").exists()


@pytest.mark.parametrize("given", [None, "7"])
def test_an_index_that_does_not_answer_is_given_up(product: Folder, template_folder: Folder, given: str | None) -> None:
    for folder in (product, template_folder):
        (folder.path / ".venv/.ready").unlink()
        folder.make("check", **({"UV_HTTP_TIMEOUT": given} if given else {}))
    syncs = [line["variables"]["UV_HTTP_TIMEOUT"] for line in product.log() if line["call"][:2] == ["uv", "sync"]]
    assert syncs == [given or "60"] * 2


def test_many_jobs_keep_the_order(product: Folder) -> None:
    # given four jobs, and programs that take their time
    done = product.make("-j4", "data", "pipeline", "gate", SLOW="0.05")
    assert done.returncode == 0, done.stderr
    # then each has ended before the next begins
    calls = product.calls()
    assert [call[1:] for call in calls[1::2]] == calls[::2]
    assert [call[-1] for call in calls[::2]] == ["data", "--check", "--if-needed", "--allow-missing", "track", "gate"]


VALUES = [
    ("data", "UNTIL", "--until={}"),
    ("data", "ACCEPT", "--accept={}"),
    ("gate", "CHAMPION", "--champion={}"),
    ("drift", "UNTIL", "--until={}"),
    ("replay", "UNTIL", "--until={}"),
    ("replay", "IMAGE", "--image"),
    ("sweep", "APPLY", "--apply"),
    ("serve", "PORT", "{}"),
    ("scan", "IMAGE", "{}"),
    ("verify-image", "IMAGE", "--image={}"),
    ("lint", "FIX", "--fix"),
]


@pytest.mark.attempts("value given to make")
@pytest.mark.parametrize(("verb", "name", "argument"), VALUES)
def test_a_value_reaches_the_program_as_one_argument(product: Folder, verb: str, name: str, argument: str) -> None:
    # given every hostile value, from the environment and from the command line
    for value in HOSTILE:
        for done in (product.make(verb, **{name: value}), product.make(verb, f"{name}={value}")):
            assert done.returncode == 0, done.stderr
        works("one argument, which nothing ran", f"make {verb} {name}={value}")
    # then the program got it whole, and nothing of it was run
    calls = [call for call in product.calls() if call[0] != "end" and argument.format("") in " ".join(call)]
    given = [call for call in calls if any(argument.format(value) in call for value in HOSTILE)]
    assert len(given) == 2 * len(HOSTILE)
    if "{}" in argument:
        assert {word for call in given for word in call} >= {argument.format(value) for value in HOSTILE}
    assert {*product.path.iterdir()} == product.before


@pytest.mark.attempts("value given to make")
def test_any_variable_of_the_command_line_is_text(product: Folder, template_folder: Folder) -> None:
    # given one that no recipe reads, which make exports, and one that passes through a second make
    for folder, verb in ((product, "plan"), (template_folder, "test")):
        done = folder.make(verb, "OTHER=$(shell touch x)", "DEMO=$(shell touch x)", "MAKER=$(shell touch x)")
        assert done.returncode == 0, done.stderr
        assert {variables["OTHER"] for variables in folder.variables()} == {"$(shell touch x)"}
        assert {*folder.path.iterdir()} == folder.before
    template_folder.make("demo", 'DEMO="; touch x; $(shell touch x)')
    assert '"; touch x; $(shell touch x)' in template_folder.calls()[-1]
    works()


@pytest.mark.attempts("value given to make")
def test_groups_are_words_and_never_commands(product: Folder) -> None:
    (product.path / ".venv/.ready").unlink()
    done = product.make("setup", GROUPS_WANTED="data *; touch x $(shell touch x)")
    assert done.returncode == 0, done.stderr
    assert [word for word in product.calls()[0] if "group" in word] == [
        "--no-default-groups",
        *(f"--group={word}" for word in ("data", "*;", "touch", "x", "$(shell", "touch", "x)")),
    ]
    assert {*product.path.iterdir()} == product.before
    works()


def test_verbs_do_not_depend_on_locale_or_on_what_is_active(product: Folder) -> None:
    # given common settings of a shell: another encoding, an active environment, another place for uv's environment
    settings = {
        "LC_ALL": "de_DE.ISO-8859-1",
        "PYTHONIOENCODING": "ascii",
        "PYTHONHOME": "/nowhere",
        "UV_PROJECT_ENVIRONMENT": "/nowhere/env",
        "VIRTUAL_ENV": "/nowhere/env",
        "CONDA_PREFIX": "/nowhere/conda",
    }
    (product.path / ".venv/.ready").unlink()
    done = product.make("plan", **settings)
    assert done.returncode == 0, done.stderr
    # then each program gets UTF-8, and this folder's environment alone
    for variables in product.variables():
        assert variables["PYTHONUTF8"] == "1"
        assert variables["UV_PROJECT_ENVIRONMENT"] == str(product.path / ".venv")
        assert not {"PYTHONIOENCODING", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX"} & variables.keys()
