"""What the engine expects of every project, checked on the team's own code: `CHECKS` names it, `check_project` does it.

    @pytest.mark.parametrize("check", CHECKS)
    def test_the_project_keeps_its_promises(check: str) -> None:
        check_project(check)

The rows are the oldest of the newest partition in `data/`, or made from the contract if there is none.
"""

import ast
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import SkipTest

import numpy as np
import onnxruntime as ort
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel

from . import artifact, holdout
from . import project as team
from .config.base import params as read_params
from .config.base import restrict
from .data.contract import example_tables, requested
from .errors import UserError
from .files import DVC_YAML, read_parquet, read_toml, read_yaml
from .partitions import accepted
from .project import PYPROJECT, Compute, Project, registered
from .serving.schema import arrays
from .serving.scorer import EmbeddedStore, Scorer
from .stages import features

ROWS, TRAINING_ROWS, REQUEST_ROWS = 3_000, 2_000, 200
CUTS = (0.35, 0.6, 0.85)  # shares of the rows that are earlier than the moments at which leaks are looked for
TOLERANCE = 1e-5  # of a feature, relative, and of a score
FIX = "run `make data`"

Tables = dict[str, pl.DataFrame]


def check_project(*checks: str, params: BaseModel | None = None) -> None:
    """Raise `AssertionError`, in one sentence, if the project fails one of `checks`; without names all are made.

    `params` are those of params.yaml unless given. Raise `unittest.SkipTest`, which pytest reports as skipped, if a
    check cannot be made, after all others have been.
    """
    __tracebackhide__ = True
    if unknown := [name for name in checks if name not in _CHECKS]:
        raise ValueError(f"there is no check {unknown[0]!r}: the checks are {', '.join(CHECKS)}")
    skipped = None
    for name in checks or CHECKS:
        try:
            _CHECKS[name](_subject(params))
        except SkipTest as reason:
            skipped = reason
        except UserError as error:
            raise AssertionError(str(error)) from error.__cause__
    if skipped:
        raise skipped


@dataclass
class _Subject:
    """The project with its parameters, and what is made of them once."""

    project: Project
    params: BaseModel

    @cached_property
    def tables(self) -> Tables:
        """A few rows of every table, the main one in the order of time."""
        schemas, main = self.project.schemas, self.project.main
        if not accepted():
            try:
                return example_tables(schemas, ROWS)
            except UserError as error:
                raise SkipTest(f"data/ is empty, and {error}") from None
        newest = accepted()[-1]
        tables = {name: read_parquet(newest.table(name), FIX) for name in schemas}
        if self.project.time:
            tables[main] = tables[main].sort(self.project.time, maintain_order=True)
        tables[main] = tables[main].head(ROWS)
        return tables

    @cached_property
    def rows(self) -> pl.DataFrame:
        """The feature rows."""
        return self.features(self.tables)

    def features(self, tables: Tables) -> pl.DataFrame:
        """Return the feature rows of `tables`; raise `UserError` if they lack a column of the key."""
        lazy = {name: table.lazy() for name, table in tables.items()}
        lazy_rows = self.project.build_features(lazy, restrict(self.params, "features"))
        with team.running(self.project.features):
            rows = lazy_rows.collect()
        if missing := [name for name in self.project.key if name not in rows.columns]:
            raise UserError(
                f"{self.function} must return the key of {self.project.main} ({', '.join(self.project.key)}), "
                f"and returns no column {missing[0]}"
            )
        return rows

    @property
    def function(self) -> str:
        """Name of the function that makes features."""
        return team.full_name(self.project.features)

    @cached_property
    def model(self) -> bytes:
        """The ONNX file of a training on few rows."""
        return self.fit()

    @cached_property
    def session(self) -> ort.InferenceSession:
        """The model, loaded."""
        try:
            return artifact.session(self.model)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"train returns no ONNX model that can be run: {team.words(error)}") from error

    def fit(self) -> bytes:
        """Train on few rows."""
        rows = self.rows.filter(pl.col(self.project.target).is_not_null()).head(TRAINING_ROWS)
        if rows[self.project.target].n_unique() < 2:
            raise SkipTest(f"{self.project.target} has no two values in {rows.height:,} rows: nothing can be trained")
        return self.project.fit(self.project.dataset([rows.lazy()]), restrict(self.params, "train"), Compute())


_subjects: dict[str, _Subject] = {}


def _subject(params: BaseModel | None) -> _Subject:
    chosen = params or read_params()
    return _subjects.setdefault(f"{Path.cwd()} {chosen.model_dump_json()}", _Subject(registered(), chosen))


def _features(subject: _Subject) -> None:
    """The features have key, time and label, each key once, and the label is the one of the task."""
    project, rows = subject.project, subject.rows
    time = (project.schema.metadata or {}).get("time")
    if time != project.time:
        raise UserError(
            f"Project(time={project.time!r}): the contract of {project.main} has time {time!r}: let both agree"
        )
    holdout.check_label(rows.lazy(), subject.function)
    key, target = project.key, project.target
    if twice := rows.height - rows.unique(key).height:
        raise UserError(f"{subject.function} returns {twice:,} rows more than one for each {', '.join(key)}")
    with team.running(project.task.label):
        truth = subject.tables[project.main].select(*key, project.task.label(subject.params).alias("truth"))
    cast = project.task.cast
    truth = truth.with_columns(cast(pl.col("truth")))
    both = rows.select(*key, cast(pl.col(target))).join(truth, on=key, how="right", nulls_equal=True)
    if wrong := both.filter(pl.col(target).ne_missing(pl.col("truth"))).height:
        raise UserError(
            f"{subject.function}: {target} is not what {team.full_name(project.task.label)} says in {wrong:,} of "
            f"{both.height:,} rows of {project.main}, or such rows are missing"
        )


def _future(subject: _Subject) -> None:
    """Rows do not change if later rows are removed, of any table with a time."""
    time, main = _time(subject), subject.project.main
    for moment in _moments(subject):
        kept = {}
        for name, table in subject.tables.items():
            about = subject.project.schemas[name].metadata or {}
            column = None if about.get("known") == "before" else about.get("time")
            kept[name] = table.filter(pl.col(column) <= moment) if column else table
        then = subject.features(kept)
        changed = _changed(subject, then, pl.col(time) <= moment)
        if not changed:
            continue
        blamed = next(
            (
                name
                for name, table in kept.items()
                if _changed(subject, subject.features({**subject.tables, name: table}), pl.col(time) <= moment)
            ),
            main,
        )
        ahead = (
            f'; if {blamed} is known ahead of its {time}, its schema says so: metadata known="before"'
            if blamed != main
            else ""
        )
        raise UserError(
            f"{subject.function} looks into the future: {changed} if rows of {blamed} later than {moment} are removed: "
            f"a row may use only what is known before its own {time}{ahead}"
        )


def _event(subject: _Subject) -> None:
    """Only the label changes with what a row's own event tells."""
    project = subject.project
    table = subject.tables[project.main]
    after = [name for name in project.schema.columns if name not in requested(project.schema)]
    if not after:
        raise SkipTest(f'the contract of {project.main} has no column that is known="after" the event')

    def changed(names: list[str], moment: Any) -> str | None:
        now = pl.lit(True) if moment is None else pl.col(project.time or "") >= moment
        others = table.with_columns(_others(table[name]) for name in names)
        mixed = table.with_columns(pl.when(now).then(others[name]).otherwise(table[name]).alias(name) for name in names)
        until = pl.lit(True) if moment is None else pl.col(project.time or "") <= moment
        return _changed(subject, subject.features({**subject.tables, project.main: mixed}), until)

    for moment in _moments(subject) if project.time else [None]:
        if change := changed(after, moment):
            blamed = next((name for name in after if changed([name], moment)), ", ".join(after))
            raise UserError(
                f"{subject.function} uses {blamed} of the row that is to be scored: {change} if it has another value: "
                f'the contract says known="after", so only the label, and features of later rows, may depend on it'
            )


def _same_bytes(subject: _Subject) -> None:
    """Two trainings on the same rows give the same file."""
    if subject.fit() != subject.model:
        raise UserError(
            "train returns another ONNX file for the same rows and parameters: seed every generator with a parameter, "
            "and write no time or path into the file"
        )


def _scores(subject: _Subject) -> None:
    """The model gives each row scores that are valid for the task, whatever is scored with it."""
    _inputs(subject)
    task = subject.project.task
    rows = subject.rows.head(TRAINING_ROWS)
    scores = _predict(subject, rows)
    if (invalid := task.invalid(scores.astype(np.float64))).any():
        raise UserError(f"the model gives a row the scores {scores[invalid][0].tolist()}: expected {task.validity}")
    order = np.random.default_rng(0).permutation(rows.height)
    alone = [0, rows.height // 2, rows.height - 1]
    for how, expected, scored in (
        ("in another order", scores[order], _predict(subject, rows[order.tolist()])),
        ("alone", scores[alone], np.concatenate([_predict(subject, rows[place]) for place in alone])),
    ):
        if not np.allclose(expected, scored, rtol=TOLERANCE, atol=TOLERANCE):
            most = np.abs(expected - scored).max()
            raise UserError(
                f"the model scores a row {how} otherwise than in a batch (by up to {most:.2g}): a score depends on its "
                "own row alone"
            )


def _inputs(subject: _Subject) -> None:
    """The model takes the project's inputs, by name, and not the label."""
    project = subject.project
    inputs = artifact.inputs(subject.session)
    categories, numbers = project.inputs(subject.rows.schema)
    for name in inputs:
        if name == project.target:
            raise UserError(f"the model reads {name}, which is the label: leave it out of its inputs")
        if name in project.not_inputs:
            raise UserError(f"the model reads {name}, which Project(not_inputs=…) leaves out")
        if name not in subject.rows.columns:
            raise UserError(
                f"the model has the input {name}, which is no column of the features: an ONNX input is called as its "
                f"column, and {subject.function} has {', '.join([*categories, *numbers][:8])}, …"
            )
    if not inputs:
        raise UserError("the model has no input: an ONNX input is called as its column")


def _service(subject: _Subject) -> None:
    """The service makes of a request what training made of the same row."""
    project, time = subject.project, (subject.project.schema.metadata or {}).get("time")
    table, key = subject.tables[project.main], project.key
    requests = table.gather_every(max(1, table.height // REQUEST_ROWS)).head(REQUEST_ROWS).drop_nulls(key)
    rows = requests.select(key).join(subject.rows, on=key, how="left", maintain_order="left", nulls_equal=True)
    with tempfile.TemporaryDirectory() as folder:
        lazy = {name: each.lazy() for name, each in subject.tables.items()}
        span = (
            table.select(pl.col(time).min().alias("first"), pl.col(time).max().alias("last")).row(0) if time else None
        )
        features.write_history(lazy, span, restrict(subject.params, "features"), Path(folder))
        store = EmbeddedStore(Path(folder), time)
        columns = requests.select(list(requested(project.schema))).to_dict(as_series=False)
        known = arrays(project.schema, columns)
        _compare(subject, rows, known | store.lookup(known))
        served = Scorer(subject.session, store, project.schema)(columns)
    if not np.allclose(served, _predict(subject, rows), rtol=TOLERANCE, atol=TOLERANCE):
        raise UserError("the service gives other scores than the same model gives for the same features")


def _compare(subject: _Subject, rows: pl.DataFrame, known: Mapping[str, NDArray[Any]]) -> None:
    """Raise `UserError` naming the first input that the service computes otherwise than the feature rows have it."""
    project = subject.project
    derived = project.derive_arrays(known, rows.height)
    online_code = team.full_name(project.online.derive) if project.online else "Project(online=None)"
    if extra := [name for name in derived if name not in rows.columns]:
        raise UserError(
            f"{online_code} returns {extra[0]}, which is no column of the features: {subject.function} must have it"
        )
    _inputs(subject)
    columns = {**known, **derived}
    for name, (dtype, kind) in artifact.inputs(subject.session).items():
        if name not in columns:
            raise UserError(
                f"the service cannot give the input {name}: it is no column of {project.main} that is known before the "
                f"event, no history has it and {online_code} does not return it"
            )
        offline = artifact.values(rows[name], dtype)
        served = columns[name]
        if kind is np.object_:
            same = np.array([(value or "") == other for value, other in zip(served, offline, strict=True)])
        else:
            same = np.isclose(served.astype(kind), offline, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
        if not same.all():
            raise UserError(
                f"the service gives another {name} than the features have in {(~same).sum():,} of {len(same):,} rows: "
                f"{online_code}, or the history, must compute it as {subject.function} does"
            )


def _stages(subject: _Subject) -> None:  # noqa: ARG001 - every check is called alike
    """Every stage in dvc.yaml depends on the team's files that it uses."""
    check_stages()


_CHECKS: dict[str, Callable[[_Subject], None]] = {
    "features": _features,
    "future": _future,
    "event": _event,
    "bytes": _same_bytes,
    "inputs": _inputs,
    "scores": _scores,
    "service": _service,
    "stages": _stages,
}
CHECKS = tuple(_CHECKS)


def _time(subject: _Subject) -> str:
    if subject.project.time is None:
        raise SkipTest("Project(time=None): no row is later than another")
    return subject.project.time


def _moments(subject: _Subject) -> list[Any]:
    times = subject.tables[subject.project.main][_time(subject)].sort()
    return list(dict.fromkeys(times[int(share * len(times))] for share in CUTS))


def _changed(subject: _Subject, then: pl.DataFrame, rows: pl.Expr) -> str | None:
    """Return in a few words what differs between the features and `then`, among `rows`; None if nothing does."""
    key, target = subject.project.key, subject.project.target
    before = subject.rows.filter(rows)
    both = before.join(then, on=key, how="left", nulls_equal=True, suffix=" then", maintain_order="left", coalesce=True)
    if lost := before.join(then, on=key, how="anti", nulls_equal=True).height:
        return f"{lost:,} of {before.height:,} rows are lost"
    for name in before.columns:
        if name in key or name == target:
            continue
        one, other = both[name], both[f"{name} then"]
        same = one.eq_missing(other)
        if one.dtype.is_float():
            same |= ((one - other).abs() <= TOLERANCE * (1 + one.abs())).fill_null(value=False)
        if not same.all():
            return f"the feature {name} changes in {(~same).sum():,} of {before.height:,} rows"
    return None


def _others(values: pl.Series) -> pl.Series:
    """Return another value of the same column for each row, if it has another."""
    distinct = values.unique().sort()  # null is one of them
    places = pl.DataFrame({"value": values}).join(
        pl.DataFrame({"value": distinct}).with_row_index("place"),
        on="value",
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )["place"]
    steps = np.random.default_rng(0).integers(1, max(len(distinct), 2), len(values))
    return distinct.gather((places.to_numpy() + steps) % len(distinct)).alias(values.name)


def _predict(subject: _Subject, rows: pl.DataFrame) -> NDArray[np.float32]:
    try:
        return artifact.predict(subject.session, rows)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the model cannot score the feature rows: {team.words(error)}") from error


SOURCE = Path("src")
USES = {  # what a stage uses of the registration beside what importing it runs
    "validate": ("tables",),
    "features": (),
    "train": ("train",),
    "evaluate": ("tables",),
    "reference": (),
}


def check_stages() -> None:
    """Raise `UserError` naming the first stage and the file of the team's that its `deps` lack, or a file not there."""
    for name, stage in read_yaml(DVC_YAML)["stages"].items():
        uses = USES.get(str(stage.get("cmd", "")).removeprefix("python -m mergeworthy.stages."))
        if uses is None:
            continue  # a stage of the team's own
        deps = [Path(dep) for dep in stage.get("deps", [])]
        for file in used(uses):
            if not any(dep == file or dep in file.parents for dep in deps):
                raise UserError(
                    f"{DVC_YAML}: the stage {name} uses {file.as_posix()}: add it to its deps, or a change of it would "
                    "not run the stage again"
                )
        if gone := [dep for dep in deps if SOURCE in dep.parents and not dep.exists()]:
            raise UserError(f"{DVC_YAML}: the stage {name} depends on {gone[0].as_posix()}, which does not exist")


def used(arguments: tuple[str, ...]) -> list[Path]:
    """Return the team's files that are run for the registration, and for those of its `arguments` given by name."""
    root = read_toml(PYPROJECT)["tool"]["mergeworthy"]["project"].partition(":")[0]
    references = [getattr(registered(), argument) for argument in arguments]
    waiting = [root, *(each.partition(":")[0] for each in references if isinstance(each, str))]
    files: dict[str, Path] = {}
    while waiting:
        module = waiting.pop()
        file = _file(module)
        if module in files or file is None:
            continue
        files[module] = file
        waiting += [module.rpartition(".")[0], *_imports(module, file)]
    return sorted(files.values())


def _file(module: str) -> Path | None:
    path = SOURCE.joinpath(*module.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if module and file.is_file()), None)


def _imports(module: str, file: Path) -> Iterator[str]:
    """Yield every name that a file imports, in a function too, and what it may import from there."""
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
