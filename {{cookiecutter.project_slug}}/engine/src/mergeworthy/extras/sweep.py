"""`make sweep`: a search over params.yaml, as sweep.yaml says, without the holdout."""

import copy
import hashlib
import time
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import optuna
from mlflow.entities import Metric, Param
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from .. import config as settings
from .. import files
from ..adapters.git import commit
from ..adapters.mlflow import answered, connected, reach
from ..config.base import PARAMS, Range, Search, Sweep
from ..errors import UserError
from ..project import registered
from ..text import say
from ..tracking_runs import whole
from . import clusters
from .sweep_trial import Split, fit, split

# DOC extras.sweep.space: Keys of params.yaml, by their dotted names, and the values that a trial gives them.

Tree = Mapping[str, Any]
STAGE = "features."  # what its stage reads: a trial trains on the feature files as they are


def check(search: Search, params: Tree) -> None:
    """Raise `UserError` unless params.yaml may hold every value that a trial could give it."""
    for name, where in search.items():
        if name.startswith(STAGE):
            raise UserError(
                f"sweep.yaml: search.{name}: the stage `features` reads it, a sweep only trains: leave it out"
            )
        for value in where.extremes(whole=_whole(params, name)):
            try:
                registered().params.model_validate(changed(params, {name: value}))
            except ValidationError as error:
                said = error.errors()[0]["msg"]
                raise UserError(f"sweep.yaml: search.{name}: params.yaml cannot hold {value} there: {said}") from None


def current(search: Search, params: Tree) -> dict[str, Any]:
    """What params.yaml holds now."""
    return {name: _at(params, name) for name in search}


def suggest(trial: Trial, search: Search, params: Tree) -> dict[str, Any]:
    """A value for each key."""
    chosen: dict[str, Any] = {}
    for name, where in search.items():
        if not isinstance(where, Range):
            chosen[name] = trial.suggest_categorical(name, where.choices)
        elif _whole(params, name):
            chosen[name] = trial.suggest_int(name, int(where.low), int(where.high), log=where.log)
        else:
            chosen[name] = trial.suggest_float(name, where.low, where.high, log=where.log)
    return chosen


def changed(params: Tree, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Give params.yaml's content with other values."""
    result = copy.deepcopy(dict(params))
    assign(result, chosen)
    return result


def assign(params: MutableMapping[str, Any], chosen: Mapping[str, Any]) -> None:
    """Put other values in place."""
    for name, value in chosen.items():
        *path, last = name.split(".")
        place = params
        for key in path:
            place = place[key]
        place[last] = value


def _at(params: Tree, name: str) -> Any:
    place: Any = params
    for key in name.split("."):
        if not isinstance(place, Mapping) or key not in place:
            raise UserError(f"sweep.yaml: search.{name}: {PARAMS} has no such key")
        place = place[key]
    return place


def _whole(params: Tree, name: str) -> bool:
    value = _at(params, name)
    return isinstance(value, int) and not isinstance(value, bool)


# DOC extras.sweep.record: A finished trial in MLflow.


def record(uri: str, sweep: str, chosen: Mapping[str, object], figures: Mapping[str, float], seconds: float) -> None:
    """Mirror it as a run of the experiment `<experiment>-sweeps`; raise `TrackingError`, leaving none."""
    with connected(uri) as client:
        name = f"{settings.infra().tracking.experiment}-sweeps"
        number = answered(uri, lambda: mlflow.set_experiment(name)).experiment_id
        with whole(client, number, sweep, {"sweep": sweep, "commit": commit() or "none"}) as run:
            now = int(time.time() * 1000)
            metrics = [Metric(name, value, now, 0) for name, value in {**figures, "train_seconds": seconds}.items()]
            client.log_batch(run.info.run_id, metrics, [Param(name, str(value)) for name, value in chosen.items()])


# DOC extras.sweep.offer: What a sweep found, as a table and as a change of params.yaml.

SHOWN = 5


def told(sweep: Sweep, figures: Mapping[str, float], chosen: Mapping[str, Any]) -> str:
    """One trial in a line."""
    values = ", ".join(f"{name.rpartition('.')[2]} {_short(value)}" for name, value in chosen.items())
    return f"{sweep.metric} {figures[sweep.metric]:.4f} with {values}"


def show(trials: Sequence[FrozenTrial], sweep: Sweep, before: Tree) -> None:
    """Print the best trials, what params.yaml holds now among them, and the change that is offered."""
    better_first = bool(registered().all_metrics[sweep.metric].greater_is_better)
    ranked = sorted(trials, key=lambda trial: trial.value or 0.0, reverse=better_first)
    now = current(sweep.search, before)
    table = Table(sweep.metric, *(name.rpartition(".")[2] for name in sweep.search), "")
    for trial in [*ranked[:SHOWN], *(trial for trial in ranked[SHOWN:] if trial.params == now)]:
        values = [_short(trial.params[name]) for name in sweep.search]
        table.add_row(f"{trial.value:.4f}", *values, f"{PARAMS} now" if trial.params == now else "")
    Console().print(table)
    best = ranked[0].params
    differing = [f"{name}: {_short(now[name])} → {_short(best[name])}" for name in best if best[name] != now[name]]
    if differing:
        say(f"offered for {PARAMS} (`make sweep APPLY=1` writes it; the holdout has not seen any of this):")
    for line in differing or [f"nothing tried is better than what {PARAMS} holds"]:
        say(line)


def write(best: Mapping[str, Any]) -> None:
    """Change the values in params.yaml; its comments and order stay."""
    yaml = YAML()
    yaml.width = 4096  # no line is broken
    content = yaml.load(files.read_text(PARAMS, "restore it from git"))
    assign(content, {name: _rounded(value) for name, value in best.items()})
    new = PARAMS.with_suffix(".yaml.new")
    with new.open("w") as file:
        yaml.dump(content, file)
    new.replace(PARAMS)
    say(f"{PARAMS} is changed: look at it with `git diff {PARAMS}`, then `make pipeline gate`")


def _rounded(value: Any) -> Any:
    """Three digits: a search knows no more."""
    return float(f"{value:.3g}") if isinstance(value, float) else value


def _short(value: Any) -> str:
    return str(_rounded(value))


# DOC extras.sweep.search: The search: asks for values, has them tried one after the other or on a cluster, keeps what
# came of them. The sampler is the tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS 24), as Optuna has
# it.

Asked = tuple[Trial, dict[str, Any]]
NUMBER = "number"
STUDIES = Path(".cache/sweep.db")


def run(*, apply: bool) -> None:
    """Try what is left to try, show the best, and write it into params.yaml if `apply`.

    Raises `UserError` for a key or value that params.yaml cannot hold, and where MLflow does not answer.
    """
    sweep, before = settings.sweep(), files.read_yaml(PARAMS)
    check(sweep.search, before)
    address = settings.infra().tracking.address
    reach(address)
    data = split()
    study = _study(sweep, data)
    left = _left(study, sweep)
    say(f"{sweep.metric} on {data.measured.stem}: {len(left)} of {sweep.trials} trials to go")
    for trial, (figures, model_seconds) in _tried(_asked(study, sweep, before, left), data) if left else ():
        record(address, study.study_name, trial.params, figures, model_seconds)
        study.tell(trial, figures[sweep.metric])
        say(f"trial {len(_complete(study))}/{sweep.trials}: {told(sweep, figures, trial.params)}")
    show(_complete(study), sweep, before)
    if apply:
        write(study.best_params)


def _study(sweep: Sweep, data: Split) -> optuna.Study:
    """The search that is going on, or a new one: only trials on the same rows, code and space can be compared."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    STUDIES.parent.mkdir(exist_ok=True)
    same = sweep.model_dump_json(exclude={"trials"}) + data.digest
    return optuna.create_study(
        study_name=f"sweep-{hashlib.sha256(same.encode()).hexdigest()[:8]}",
        storage=f"sqlite:///{STUDIES}",
        direction="maximize" if registered().all_metrics[sweep.metric].greater_is_better else "minimize",
        load_if_exists=True,
    )


def _left(study: optuna.Study, sweep: Sweep) -> list[int]:
    """Numbers of the trials that are still to be made; those that a stop left unfinished are made again."""
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
    return sorted(set(range(sweep.trials)) - {trial.user_attrs[NUMBER] for trial in _complete(study)})


def _asked(study: optuna.Study, sweep: Sweep, before: Tree, left: list[int]) -> Iterator[Asked]:
    """Trials with their parameters, the same after a stop as without it; the first one is params.yaml as it stands."""
    for number in left:
        # A constant liar (Ginsbourger et al. 2010): of trials that run at once none looks where another does.
        study.sampler = optuna.samplers.TPESampler(seed=sweep.seed + number, constant_liar=True)
        if number == 0 and not study.get_trials(states=[TrialState.WAITING]):
            study.enqueue_trial(current(sweep.search, before))
        trial = study.ask()
        trial.set_user_attr(NUMBER, number)
        yield trial, changed(before, suggest(trial, sweep.search, before))


def _tried(asked: Iterator[Asked], data: Split) -> Iterator[tuple[Trial, Any]]:
    """Each trial with its figures and seconds, in the order in which they are done."""
    infra = settings.infra()
    if infra.ray:
        yield from clusters.run_trials(asked, data, infra, infra.ray)
    else:
        yield from ((trial, fit(params, data)) for trial, params in asked)


def _complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
