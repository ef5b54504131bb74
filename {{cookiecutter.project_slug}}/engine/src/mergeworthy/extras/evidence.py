"""`make evidence`: which tests of the ML Test Score, and which parts of MLOps level 2, this project passes.

A row names the verb that shows it, and the functions and files that do it. `page` looks for each of them: a row whose
evidence is gone becomes a "no" by itself.

Sources: E. Breck, S. Cai, E. Nielsen, M. Salib and D. Sculley, "The ML Test Score: A Rubric for ML Production Readiness
and Technical Debt Reduction", IEEE Big Data 2017; Google Cloud Architecture Center, "MLOps: Continuous delivery and
automation pipelines in machine learning", level 2.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import UserError
from ..text import say, table

PAGE = Path("docs/evidence.md")
PACKAGE = Path(__file__).parents[1]
INTRO = """\
# Evidence

`make evidence` writes this page from what is there: it looks for every verb, function and file that a row names, and a
row whose evidence is gone becomes a "no". The verb in a row is the command that shows it.
"""


@dataclass(frozen=True)
class Row:
    """One requirement; `evidence` are verbs, functions of the engine and files.

    `because` says why it is not met: for want of any evidence, or of one that is named.
    """

    requirement: str
    evidence: tuple[str, ...] = ()
    says: str = ""
    because: str = ""


SCORE: Mapping[str, Sequence[Row]] = {
    "Data": (
        Row(
            "Expectations of the data are in a schema",
            ("make data", "src/ml/schema.py", "mergeworthy.data.contract.validate"),
            "no partition is kept that breaks it",
        ),
        Row(
            "Every feature is of use",
            because="no run leaves out one feature at a time; the gate only names inputs that predict too well",
        ),
        Row(
            "No feature costs too much",
            because="time and size are limited for the whole model (`make gate`), not for each feature",
        ),
        Row(
            "Features keep rules that are above them",
            ("make check", "make test", "mergeworthy.testing.check_project", "pyproject.toml: importlinter"),
            "no input depends on the future, and `src/ml` imports only what is allowed",
        ),
        Row(
            "Privacy is controlled",
            because="who may read the DVC remote is set there; the engine only keeps private columns out of messages",
        ),
        Row(
            "New features are added quickly",
            ("make pipeline", "src/ml/features.py", "dvc.yaml: features"),
            "one function; only the stages that depend on it run again",
        ),
        Row(
            "Code of features is tested",
            ("make test", "tests/test_features.py"),
            "with the data contract in `tests/test_schema.py`",
        ),
    ),
    "Model": (
        Row(
            "A model's code and parameters are reviewed",
            ("make github", ".github/settings.yaml: approvals", ".github/CODEOWNERS"),
            "`CHECK=1` shows if the rule is in force",
        ),
        Row(
            "Offline and online metrics agree",
            because="what a prediction is worth to the business is not known here; `make drift` knows metrics alone",
        ),
        Row(
            "Hyper-parameters are tuned",
            ("make sweep", "sweep.yaml", "mergeworthy.extras.sweep.run"),
            "without the holdout",
        ),
        Row(
            "The price of a stale model is known",
            ("make replay", "mergeworthy.extras.backtest.measure"),
            "against retraining never, and every time",
        ),
        Row(
            "A simpler model is not better",
            because="the gate compares with the trivial baseline, and no simpler model is trained beside it",
        ),
        Row(
            "Quality holds on slices",
            ("make gate", "gates.yaml: slices", "mergeworthy.gate.comparison.judge_slices"),
            "each against the champion",
        ),
        Row(
            "Inclusion is considered",
            because="which groups matter is the team's to say: name their column under `slices` in `gates.yaml`",
        ),
    ),
    "Infrastructure": (
        Row(
            "Training can be repeated",
            ("make test", "mergeworthy.testing.check_project", "dvc.yaml: train"),
            "the same training twice gives the same bytes",
        ),
        Row("A model's code is unit-tested", ("make test", "tests/test_model.py")),
        Row(
            "The whole pipeline is tested",
            ("make ci", "make act", ".github/workflows/ci.yaml: make plan"),
            "on every push",
        ),
        Row(
            "Quality is judged before a model serves",
            ("make gate", ".github/workflows/release.yaml: make gate", "mergeworthy.release.verify.verify"),
            "the image, too",
        ),
        Row(
            "One prediction can be debugged step by step",
            because="no verb prints the values between input and output of one example",
        ),
        Row(
            "A model is tried on a part of the requests",
            ("deploy/canary/rollout.yaml: setWeight", "deploy/overlays/production/kustomization.yaml: ../../canary"),
            because="it is off until production's overlay includes `deploy/canary`, which takes Argo Rollouts",
        ),
        Row(
            "A model can be rolled back",
            ("make status", "deploy/overlays/production/kustomization.yaml"),
            "by `git revert`",
        ),
    ),
    "Monitoring": (
        Row(
            "A change of what it depends on is noticed",
            ("make update", ".github/dependabot.yml: updates"),
            "as a pull request with a verdict",
        ),
        Row(
            "Invariants of the data hold in training and service",
            ("make data", "mergeworthy.data.contract.validate", "mergeworthy.serving.schema.request"),
        ),
        Row(
            "Training and service do not differ",
            ("make drift", "make test", "mergeworthy.drift.check.disagreement"),
            "the prediction log against the source, and the service against the features",
        ),
        Row(
            "Models are not too stale",
            ("make drift", "mergeworthy.drift.decision.age_rule", ".github/workflows/drift.yaml: schedule"),
        ),
        Row(
            "Numbers are stable",
            ("make gate", "mergeworthy.gate.checks.sanity"),
            "NaN, infinity and a degenerate model are refused",
        ),
        Row(
            "Speed, memory and size do not regress",
            ("make verify-image", "mergeworthy.release.verify.limits", "deploy/monitoring/alerts.yaml"),
        ),
        Row(
            "Quality of predictions does not regress",
            ("make drift", "mergeworthy.drift.decision.performance_rules"),
            "on new labelled data",
        ),
    ),
}

LEVEL_2: Sequence[Row] = (
    Row(
        "Development and experiments",
        ("make sweep", "make mlflow", "mergeworthy.extras.sweep.run"),
        "every run is recorded",
    ),
    Row(
        "Continuous integration of the pipeline",
        ("make ci", ".github/workflows/ci.yaml: make check"),
        "lint, types, tests, plan, training, gate",
    ),
    Row(
        "Continuous delivery of the pipeline",
        ("make pipeline", "dvc.yaml: stages"),
        "a merge is the deployment: the same `dvc.yaml` runs in CI",
    ),
    Row(
        "Automated triggers",
        ("make retrain", ".github/workflows/drift.yaml: schedule"),
        "on a schedule, new data and drift",
    ),
    Row(
        "Continuous delivery of the model",
        ("make release", ".github/workflows/release.yaml: make stage", "make promote"),
    ),
    Row("Monitoring", ("make drift", "deploy/monitoring/alerts.yaml", "deploy/monitoring/dashboard.json")),
    Row("Source control", ("make status", ".github/CODEOWNERS", "data.dvc"), "code, parameters, data and what runs"),
    Row("Test and build services", (".github/workflows/ci.yaml", ".github/workflows/train.yaml", "make image")),
    Row("Deployment services", ("make stage", "deploy/argocd.yaml", "deploy/base/deployment.yaml")),
    Row(
        "Model registry",
        ("make register", "mergeworthy.release.publish.run_register"),
        "MLflow mirrors it; the record is git",
    ),
    Row("Feature store", because="features are files of a stage; the service takes the newest history from the image"),
    Row("Metadata store", ("make track", "mergeworthy.adapters.dvc.lineage"), "lineage of every run, model and image"),
    Row(
        "Pipeline orchestrator",
        ("make trainjob", "make pipeline", "dvc.yaml: stages"),
        "DVC; a training as a Kubernetes job",
    ),
)


def run(*, check: bool = False) -> None:
    """Write docs/evidence.md; with `check`, only raise `UserError` if its content is another."""
    content = page()
    if check:
        if not PAGE.exists() or PAGE.read_text() != content:
            raise UserError(f"{PAGE} is not what the project holds: run `make evidence` and commit it")
        say(f"{PAGE} is up to date")
        return
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(content)
    say(f"{PAGE} is written")


def page() -> str:
    """Return the page, after a look for all evidence."""
    parts = [INTRO, "## ML Test Score\n", f"The 28 tests of Breck et al. (2017). {_summary()}\n"]
    for section, rows in SCORE.items():
        parts += [f"### {section}\n", _rows(rows)]
    parts += ["## MLOps level 2\n", "Google's six stages and seven components.\n", _rows(LEVEL_2)]
    return "\n".join(parts)


def _summary() -> str:
    passed = {section: sum(not _reason(row) for row in rows) for section, rows in SCORE.items()}
    counts = ", ".join(f"{section.lower()} {count}" for section, count in passed.items())
    least = min(passed.values())
    score = f"The paper's score is the smallest of the four: {least}."
    return f"{sum(passed.values())} are run by a verb: {counts}, of 7 each. {score}"


def _rows(rows: Sequence[Row]) -> str:
    cells = []
    for number, row in enumerate(rows, 1):
        reason = _reason(row)
        cells.append([str(number), row.requirement, f"no, because {reason}" if reason else _shown(row)])
    return f"{table(['', 'Requirement', 'Shown by'], cells)}\n"


def _shown(row: Row) -> str:
    names = ", ".join(f"`{name}`" for name in row.evidence)
    return f"{names}: {row.says}" if row.says else names


def _reason(row: Row) -> str:
    """Return why a requirement is not met; empty if it is."""
    gone = [name for name in row.evidence if not exists(name)]
    if row.because and (gone or not row.evidence):
        return row.because
    return f"{', '.join(f'`{name}`' for name in gone)} is not there" if gone else ""


def exists(name: str) -> bool:
    """Return if a verb (`make NAME`), a function (`mergeworthy.a.b`) or a file (`path`, `path: text`) is there."""
    if name.startswith("make "):
        return name.removeprefix("make ") in _verbs()
    if name.startswith("mergeworthy."):
        *module, function = name.split(".")[1:]
        return function in set(_functions(PACKAGE.joinpath(*module).with_suffix(".py")))
    path, _, text = name.partition(": ")
    return Path(path).is_file() and text in Path(path).read_text()


@cache
def _verbs() -> frozenset[str]:
    makefile = Path("Makefile")
    return (
        frozenset(re.findall(r"^([a-z][a-z-]*):", makefile.read_text(), re.MULTILINE))
        if makefile.exists()
        else frozenset()
    )


def _functions(path: Path) -> Iterator[str]:
    if path.is_file():
        yield from (node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef))
