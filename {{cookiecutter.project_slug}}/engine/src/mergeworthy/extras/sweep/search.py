"""The search: asks for values, has them tried one after the other or on a cluster, keeps what came of them.

The sampler is the tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS 24), as Optuna has it.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from ... import config as settings
from ... import files
from ...config import PARAMS, Sweep
from ...project import registered
from ...text import say
from ...tracking.reach import reach
from .. import ray
from . import offer, space
from .record import record
from .trial import Split, fit, split

Asked = tuple[Trial, dict[str, Any]]
NUMBER = "number"
STUDIES = Path(".cache/sweep.db")


def run(*, apply: bool) -> None:
    """Try what is left to try, show the best, and write it into params.yaml if `apply`.

    Raises `UserError` for a key or value that params.yaml cannot hold, and where MLflow does not answer.
    """
    sweep, before = settings.sweep(), files.read_yaml(PARAMS)
    space.check(sweep.search, before)
    address = settings.infra().tracking.address
    reach(address)
    data = split()
    study = _study(sweep, data)
    left = _left(study, sweep)
    say(f"{sweep.metric} on {data.measured.stem}: {len(left)} of {sweep.trials} trials to go")
    for trial, (figures, model_seconds) in _tried(_asked(study, sweep, before, left), data) if left else ():
        record(address, study.study_name, trial.params, figures, model_seconds)
        study.tell(trial, figures[sweep.metric])
        say(f"trial {len(_complete(study))}/{sweep.trials}: {offer.told(sweep, figures, trial.params)}")
    offer.show(_complete(study), sweep, before)
    if apply:
        offer.write(study.best_params)


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


def _asked(study: optuna.Study, sweep: Sweep, before: space.Tree, left: list[int]) -> Iterator[Asked]:
    """Trials with their parameters, the same after a stop as without it; the first one is params.yaml as it stands."""
    for number in left:
        # A constant liar (Ginsbourger et al. 2010): of trials that run at once none looks where another does.
        study.sampler = optuna.samplers.TPESampler(seed=sweep.seed + number, constant_liar=True)
        if number == 0 and not study.get_trials(states=[TrialState.WAITING]):
            study.enqueue_trial(space.current(sweep.search, before))
        trial = study.ask()
        trial.set_user_attr(NUMBER, number)
        yield trial, space.changed(before, space.suggest(trial, sweep.search, before))


def _tried(asked: Iterator[Asked], data: Split) -> Iterator[tuple[Trial, Any]]:
    """Each trial with its figures and seconds, in the order in which they are done."""
    infra = settings.infra()
    if infra.ray:
        yield from ray.tried(asked, data, infra, infra.ray)
    else:
        yield from ((trial, fit(params, data)) for trial, params in asked)


def _complete(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
