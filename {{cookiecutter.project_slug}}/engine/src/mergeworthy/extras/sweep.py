"""`make sweep`: a search over params.yaml, as sweep.yaml says, without the holdout.

Trials run one after the other, or on a Ray cluster. A search that was stopped resumes where it was: Optuna's study is
kept in `.cache/sweep.db`. The sampler is the tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS 24). Each
finished trial is also a run in MLflow. The result is a table of the best trials and an offered change of params.yaml.

A trial is trained without the two newest partitions and measured on the older of them: the newest is the holdout, which
a sweep never reads. A search space maps keys of params.yaml, by their dotted names, to the values of trials.
"""

import copy
import hashlib
import io
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import optuna
import polars as pl
from mlflow.entities import Metric, Param
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from .. import artifact, files, holdout
from .. import config as settings
from ..adapters.git import commit
from ..adapters.mlflow import answered, connected, reach
from ..config.base import PARAMS, Range, Search, Sweep
from ..errors import UserError
from ..files import digest
from ..partitions import split as split_partitions
from ..project import Compute, registered, team_code
from ..stages import train
from ..text import say
from ..tracking import run_or_nothing

Tree = Mapping[str, Any]
Suggestion = tuple[Trial, dict[str, Any]]

STUDIES = Path(".cache/sweep.db")
NUMBER = "number"  # the attribute of a trial that holds its number in the sweep
FEATURES_PREFIX = "features."  # keys of the stage `features`: a trial trains on the feature files as they are
SHOWN_TRIALS = 5
RUN_PIPELINE = "run `make pipeline`"
MIN_PARTITIONS = 3  # one to train on, one to measure on, and the holdout


def run(*, apply: bool) -> None:
    """Run the remaining trials and print the best; write it into params.yaml if `apply`.

    Raise `UserError` for a key or value that params.yaml cannot hold, and if MLflow does not answer.
    """
    sweep, params = settings.sweep(), files.read_yaml(PARAMS)
    check(sweep.search, params)
    address = settings.infra().tracking.address
    reach(address)
    data = split()
    study = _study(sweep, data)
    remaining = _remaining(study, sweep)
    say(f"{sweep.metric} on {data.measured.stem}: {len(remaining)} of {sweep.trials} trials to go")
    trials = _results(_suggestions(study, sweep, params, remaining), data) if remaining else ()
    for trial, (figures, seconds) in trials:
        record(address, study.study_name, trial.params, figures, seconds)
        study.tell(trial, figures[sweep.metric])
        say(f"trial {len(_completed(study))}/{sweep.trials}: {summary(sweep, figures, trial.params)}")
    show(_completed(study), sweep, params)
    if apply:
        write(study.best_params)


@dataclass(frozen=True)
class Split:
    """Feature files to train on, the one to measure on, and a digest of these and of the team's code."""

    training: list[Path]
    measured: Path
    digest: str


def split() -> Split:
    """Return the feature files without the holdout; raise `UserError` if there are too few partitions."""
    earlier, _ = split_partitions("a sweep", "run `make data UNTIL=… pipeline`", MIN_PARTITIONS)
    *training, measured = [partition.features for partition in earlier]
    for path in [*training, measured]:
        holdout.check_label(files.scan_parquet([path], RUN_PIPELINE, [registered().target]), path)
    train.check_trainable(training, measured)
    return Split(training, measured, digest([], [*training, measured, *team_code()]))


def fit(params: Mapping[str, Any], data: Split) -> tuple[dict[str, float], float]:
    """Train as the stage does; return the metrics that are defined, and the seconds that the training took."""
    compute = settings.infra().compute
    begin = time.monotonic()
    with train.sharded(data.training, compute.memory_gb) as training:
        model = registered().fit(
            registered().dataset(training),
            registered().params.model_validate(params),
            Compute(compute.device, compute.precision, compute.threads),
        )
    seconds = time.monotonic() - begin
    target = registered().target
    rows = files.read_parquet(data.measured, RUN_PIPELINE, [target]).filter(pl.col(target).is_not_null())
    score = artifact.predict(artifact.session(model), rows)
    figures = holdout.figures(holdout.labels(rows, data.measured), score)
    return {name: value for name, value in figures.items() if value is not None}, seconds


def check(search: Search, params: Tree) -> None:
    """Raise `UserError` unless params.yaml may hold every value that a trial could give it."""
    for name, space in search.items():
        if name.startswith(FEATURES_PREFIX):
            raise UserError(
                f"sweep.yaml: search.{name}: the stage `features` reads it, a sweep only trains: leave it out"
            )
        for value in space.extremes(whole=_is_integer(params, name)):
            try:
                registered().params.model_validate(changed(params, {name: value}))
            except ValidationError as error:
                reason = error.errors()[0]["msg"]
                raise UserError(f"sweep.yaml: search.{name}: params.yaml cannot hold {value} there: {reason}") from None


def current(search: Search, params: Tree) -> dict[str, Any]:
    """Return the values that params.yaml holds now."""
    return {name: _value(params, name) for name in search}


def suggest(trial: Trial, search: Search, params: Tree) -> dict[str, Any]:
    """Return the trial's value for each key."""
    values: dict[str, Any] = {}
    for name, space in search.items():
        if not isinstance(space, Range):
            values[name] = trial.suggest_categorical(name, space.choices)
        elif _is_integer(params, name):
            values[name] = trial.suggest_int(name, int(space.low), int(space.high), log=space.log)
        else:
            values[name] = trial.suggest_float(name, space.low, space.high, log=space.log)
    return values


def changed(params: Tree, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of params.yaml's content with other values."""
    result = copy.deepcopy(dict(params))
    assign(result, values)
    return result


def assign(params: MutableMapping[str, Any], values: Mapping[str, Any]) -> None:
    """Set the values in place."""
    for name, value in values.items():
        *path, last = name.split(".")
        block = params
        for key in path:
            block = block[key]
        block[last] = value


def _value(params: Tree, name: str) -> Any:
    value: Any = params
    for key in name.split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise UserError(f"sweep.yaml: search.{name}: {PARAMS} has no such key")
        value = value[key]
    return value


def _is_integer(params: Tree, name: str) -> bool:
    value = _value(params, name)
    return isinstance(value, int) and not isinstance(value, bool)


def _study(sweep: Sweep, data: Split) -> optuna.Study:
    """Return the study of this search, or a new one: only trials on the same rows, code and space can be compared."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    STUDIES.parent.mkdir(exist_ok=True)
    identity = sweep.model_dump_json(exclude={"trials"}) + data.digest
    return optuna.create_study(
        study_name=f"sweep-{hashlib.sha256(identity.encode()).hexdigest()[:8]}",
        storage=f"sqlite:///{STUDIES}",
        direction="maximize" if registered().all_metrics[sweep.metric].greater_is_better else "minimize",
        load_if_exists=True,
    )


def _remaining(study: optuna.Study, sweep: Sweep) -> list[int]:
    """Return the numbers of the trials still to run; trials that a stop left unfinished are repeated."""
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
    return sorted(set(range(sweep.trials)) - {trial.user_attrs[NUMBER] for trial in _completed(study)})


def _suggestions(study: optuna.Study, sweep: Sweep, params: Tree, numbers: list[int]) -> Iterator[Suggestion]:
    """Yield trials with their parameters, the same after a stop as without it; the first one is params.yaml itself."""
    for number in numbers:
        # A constant liar (Ginsbourger et al. 2010) keeps trials that run at once apart from each other.
        study.sampler = optuna.samplers.TPESampler(seed=sweep.seed + number, constant_liar=True)
        if number == 0 and not study.get_trials(states=[TrialState.WAITING]):
            study.enqueue_trial(current(sweep.search, params))
        trial = study.ask()
        trial.set_user_attr(NUMBER, number)
        yield trial, changed(params, suggest(trial, sweep.search, params))


def _results(suggestions: Iterator[Suggestion], data: Split) -> Iterator[tuple[Trial, Any]]:
    """Yield each trial with its figures and seconds, in the order in which they finish."""
    infra = settings.infra()
    if infra.ray:
        from .clusters import run_trials  # takes a second, which a sweep on this machine saves

        yield from run_trials(suggestions, data, infra, infra.ray)
    else:
        yield from ((trial, fit(params, data)) for trial, params in suggestions)


def _completed(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])


def record(uri: str, sweep: str, values: Mapping[str, object], figures: Mapping[str, float], seconds: float) -> None:
    """Record a finished trial as a run of the experiment `<experiment>-sweeps`.

    Raise `TrackingError` if MLflow refuses it; no part of the run is left behind.
    """
    with connected(uri) as client:
        name = f"{settings.infra().tracking.experiment}-sweeps"
        experiment = answered(uri, lambda: mlflow.set_experiment(name)).experiment_id
        with run_or_nothing(client, experiment, sweep, {"sweep": sweep, "commit": commit() or "none"}) as run:
            now = int(time.time() * 1000)
            metrics = [Metric(name, value, now, 0) for name, value in {**figures, "train_seconds": seconds}.items()]
            client.log_batch(run.info.run_id, metrics, [Param(name, str(value)) for name, value in values.items()])


def summary(sweep: Sweep, figures: Mapping[str, float], values: Mapping[str, Any]) -> str:
    """Return one trial in a line."""
    shown = ", ".join(f"{name.rpartition('.')[2]} {_short(value)}" for name, value in values.items())
    return f"{sweep.metric} {figures[sweep.metric]:.4f} with {shown}"


def show(trials: Sequence[FrozenTrial], sweep: Sweep, params: Tree) -> None:
    """Print the best trials, the present params.yaml among them, and the change that is offered."""
    greater_is_better = bool(registered().all_metrics[sweep.metric].greater_is_better)
    ranked = sorted(trials, key=lambda trial: trial.value or 0.0, reverse=greater_is_better)
    now = current(sweep.search, params)
    table = Table(sweep.metric, *(name.rpartition(".")[2] for name in sweep.search), "")
    for trial in [*ranked[:SHOWN_TRIALS], *(trial for trial in ranked[SHOWN_TRIALS:] if trial.params == now)]:
        values = [_short(trial.params[name]) for name in sweep.search]
        table.add_row(f"{trial.value:.4f}", *values, f"{PARAMS} now" if trial.params == now else "")
    Console().print(table)
    best = ranked[0].params
    changes = [f"{name}: {_short(now[name])} → {_short(best[name])}" for name in best if best[name] != now[name]]
    if changes:
        say(f"offered for {PARAMS} (`make sweep APPLY=1` writes it; the holdout was not used for any of this):")
    for line in changes or [f"no trial is better than what {PARAMS} holds"]:
        say(line)


def write(values: Mapping[str, Any]) -> None:
    """Change the values in params.yaml; its comments and order are kept."""
    yaml = YAML()
    yaml.width = 4096  # no line is broken
    content = yaml.load(files.read_text(PARAMS, "restore it from git"))
    assign(content, {name: _rounded(value) for name, value in values.items()})
    text = io.StringIO()
    yaml.dump(content, text)
    files.write_atomic(PARAMS, text.getvalue())
    say(f"{PARAMS} is changed: look at it with `git diff {PARAMS}`, then `make pipeline gate`")


def _rounded(value: Any) -> Any:
    """Return a float rounded to three digits, which is all that a search can distinguish; other values unchanged."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _short(value: Any) -> str:
    return str(_rounded(value))
