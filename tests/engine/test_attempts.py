"""The table of attempts counts as wrong what a test finds wrong, or does not look at."""

import os
import subprocess
import sys
from pathlib import Path

from tests.engine.product import PACKAGES

TESTS = """
import pytest
from tests.attempts import attempt, refused, warned, works
from mergeworthy.errors import UserError

def fail(error):
    raise error

@pytest.fixture
def broken():
    fail(OSError("no room"))

pytestmark = pytest.mark.attempts("kind")

def test_right():
    works("as it should")
    warned("careful")
    assert attempt("a mistake", lambda: fail(UserError("file: key"))) == "file: key"
    assert attempt("a file", lambda: 7) == 7

@pytest.mark.parametrize("answer", ["two\\nlines", ""])
def test_not_one_line(answer): refused(answer)
def test_crash():
    attempt("good", lambda: 1)
    attempt("bad", lambda: fail(KeyError("x")))
def test_another_answer(): assert attempt("other", lambda: 7) == 8
def test_nothing_noted(): pass
def test_of_a_broken_fixture(broken): works()
def test_not_tried(): pytest.skip("no network")
"""


COMMAND = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-p", "tests.attempts"]
WITHIN = f"""
import subprocess

def test_within():
    assert subprocess.run([*{COMMAND}, "--basetemp=inner/tmp", "inner"]).returncode == 1
"""


def run(folder: Path, *options: str, tests: str = TESTS) -> tuple[int, list[list[str]], list[str]]:
    """Return the exit status, the rows as they are printed, and the last line of the table."""
    (folder / "test_it.py").write_text(tests)
    (folder / "pytest.ini").write_text("[pytest]\n")
    environment = os.environ | {"PYTHONPATH": PACKAGES, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [*COMMAND, "--attempts=all", f"--basetemp={folder / 'tmp'}", "test_it.py", *options]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("kind | ")]
    return done.returncode, rows, next(line for line in lines if line.startswith("all ")).split()


def test_what_is_wrong_is_counted_as_wrong(tmp_path: Path) -> None:
    status, rows, counts = run(tmp_path)
    assert status == 1
    assert counts == ["all", "12", "3", "1", "1", "7"]
    assert {name: answer.split(":")[0] for _, name, outcome, answer in rows if outcome == "wrong"} == {
        "two\\nlines": "AssertionError",
        "": "AssertionError",
        "bad": "KeyError",
        "other": "AssertionError",
        "nothing noted": "Failed",
        "of a broken fixture": "OSError",
        "not tried": "Skipped",
    }
    assert ["kind", "a mistake", "refused", "file: key"] in rows


def test_it_is_the_same_in_several_processes(tmp_path: Path) -> None:
    status, rows, counts = run(tmp_path, "-n", "2", "-k", "right")
    assert (status, len(rows), counts) == (0, 4, ["all", "4", "2", "1", "1", "0"])


def test_what_runs_in_a_pytest_within_is_in_the_same_table(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/test_inner.py").write_text(TESTS)
    assert run(tmp_path, tests=WITHIN)[2] == ["all", "12", "3", "1", "1", "7"]
