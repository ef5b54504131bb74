"""Bad answers are refused: every problem at once, a sentence each, no traceback, and nothing is left behind."""

import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from tests.attempts import refused, works
from tests.bake import PRODUCT, ROOT, Problems, cookiecutter, run

GOOD = {
    "project_name": "Flight Delays",
    "project_slug": "flight-delays",
    "description": "Late or not",
    "owner": "octo-org",
    "reviewers": "octo-org/judges",
    "dvc_remote": "s3://bucket/path",
    "drift_schedule": "23 5 * * 1",
    "sample": "flights",
}
BAD = {
    "project_name": ["", " ", "two\nlines", "bell\x07", "{{ braces }}", "x" * 201, "\u202eback"],
    "description": ["", "tab\tinside", "{% if %}", "y" * 201],
    "project_slug": [
        "torch", "mlflow", "dvc", "polars", "scikit-learn", "import-linter", "tests", "src", "mergeworthy", "engine",
        "ml", "json", "asyncio", "", "Flights", "2013-flights", "-a", "a-", "a--b", "a_b", "a.b", "a/b", "café",
        "two words", "x" * 51,
    ],
    "owner": ["", "-octo", "octo-", "a--b", "acme/team", "@octo", "o" * 40, "octo cat", "a\n"],
    "reviewers": ["", "a/b/c", "@octo", "a/", "a b", "one, two"],
    "dvc_remote": [
        "../flight-delays", "../flight-delays/data", "../x/../flight-delays/y",
        "", "remote", "./remote", "../", "/", "~", "ftp://host/x", "http://host/x", "s3://", "S3://b", "C:\\data",
        "/with#hash", "/with,comma", "/with space", "s3://bucket/a\nb",
    ],
    "drift_schedule": [
        "", "weekly", "@daily", "0 5 * * 1", "23 5 31 2,4 *", "* 5 * * 1", "*/15 5 * * 1", "60 5 * * 1", "23 24 * * 1",
        "23 5 0 * 1",
        "23 5 * 13 1", "23 5 * * 7", "23 5 * *", "23 5 * * 1 2", "23 5 * * MON", "23  5 * * 1", "a 5 * * 1",
        "23/0 5 * * 1", "30-20 5 * * 1", "23, 5 * * 1", "-1 5 * * 1", "２３ 5 * * 1",
    ],
    "sample": ["", "Flights", "bikes", "flights,demand"],
}  # fmt: skip
FINE = {
    "project_name": ["x" * 200, 'Zoë\'s "best" & <worst> \\ 100 % – 日本 👩‍💻', "'''", '"""', "\\", "---", "# a", "1."],
    "project_slug": ["a", "flight-delays-2", "torch-flights", "x" * 50],
    "owner": ["o", "octo-cat", "OctoCat", "octo_acme", "o" * 39],
    "reviewers": ["octo-cat", "acme/ml-judges", "acme/judges_2"],
    "dvc_remote": ["../data", "../../data", "~/data", "/srv/dvc", "s3://b", "gs://b/p-q", "azure://container/path"],
    "sample": ["flights", "demand"],
    "drift_schedule": ["7 * * * *", "59 23 31 12 6", "5-55/10 */6 1,15 1-6 1-5", "17 4 31 2 0", "17 4 29 2 *"],
}


@pytest.mark.attempts("answer to a prompt")
@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD.items() for value in values])
def test_bad_answers_get_one_sentence_each(problems: Problems, key: str, value: str) -> None:
    sentences = problems(GOOD | {key: value})
    assert sentences
    assert all(line.startswith(f"{key}: ") and line.endswith(".") for line in sentences), sentences
    for line in sentences:
        refused(line, f"{key}: {value!r}")


@pytest.mark.attempts("answer to a prompt")
@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in FINE.items() for value in values])
def test_unusual_but_good_answers_pass(problems: Problems, key: str, value: str) -> None:
    assert problems(GOOD | {key: value}) == []
    works(name=f"{key}: {value!r}")


def test_the_defaults_pass_and_the_hour_is_explained(problems: Problems) -> None:
    assert problems(GOOD) == []
    assert "drops scheduled jobs" in problems(GOOD | {"drift_schedule": "0 5 * * 1"})[0]


def test_every_dependency_of_the_project_is_a_taken_name(problems: Problems) -> None:
    # given what the generated project installs
    names = set()
    for file in ("pyproject.toml", "engine/pyproject.toml"):
        settings = tomllib.loads((ROOT / PRODUCT / file).read_text())
        groups = settings.get("dependency-groups", {}) | settings["project"]["optional-dependencies"]
        lines = [*settings["project"]["dependencies"], *(d for g in groups.values() for d in g if isinstance(d, str))]
        names |= {re.split(r"[=<>[{]", line)[0].strip() for line in lines}
    assert names > {"mergeworthy", "torch", "ray"}
    # then no project can be called like one of them
    assert {name for name in names if not problems(GOOD | {"project_slug": name})} == set()


def test_a_refusal_lists_all_and_leaves_nothing(template: Path, tmp_path: Path) -> None:
    # given three bad answers / when the real command runs
    result = cookiecutter(template, tmp_path, project_slug="torch", owner="@octo", drift_schedule="0 5 * * 1")
    # then
    assert result.returncode != 0
    for key in ("project_slug", "owner", "drift_schedule"):
        assert f"  - {key}: " in result.stderr
    assert "Traceback" not in result.stderr  # cookiecutter itself logs one on stdout whenever a hook refuses
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]


@pytest.mark.attempts("answer to a prompt")
@pytest.mark.parametrize("name", ["'''", '"""', "\\", "\\'", '"', 'a"""; raise SystemExit("in")', "emoji 👩‍💻 \\u0041"])
def test_no_answer_breaks_out_of_the_hook(template: Path, tmp_path: Path, name: str) -> None:
    # when an answer looks like the end of the hook's own string, beside one that is to be refused
    result = cookiecutter(template, tmp_path, project_name=name, project_slug="fine", owner="@octo")
    # then only the refusal is printed
    assert result.stderr.count("  - ") == 1, result.stderr
    assert "  - owner: " in result.stderr
    works("it is text", f"project_name: {name!r}")


@pytest.mark.attempts("old program")
def test_a_cookiecutter_that_is_too_old_is_refused(template: Path, tmp_path: Path) -> None:
    # given the version that old distributions install, which leaves the template's own keys unrendered
    uv = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    old = [uv, "run", "--quiet", "--no-project", "--python", sys.executable, "--exclude-newer", "2026-11-20"]
    old += ["--with", "cookiecutter==1.7.3", "--with", "click==8.1.8", "cookiecutter"]
    # when
    options = ["--no-input", "--output-dir", str(tmp_path / "out")]
    done = run([*old, *options, str(template)], tmp_path, HOME=str(tmp_path), UV_CACHE_DIR=cache(uv))
    # then
    assert done.returncode != 0
    sentence = "cookiecutter: this version is too old, the template needs 2.1 or later"
    assert sentence in done.stdout + done.stderr
    refused(sentence)
    assert not [*(tmp_path / "out").glob("*")]


def cache(uv: str) -> str:
    """Return the folder in which uv keeps packages, independent of HOME."""
    return run([uv, "cache", "dir"], ROOT).stdout.strip()
